"""CF-k: trains the last layers on, on the retain set, in the hope that they forget the rest."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="CF-k",
    access=Access(retain="labels"),
    reference="Goel et al., Towards Adversarial Evaluations for Inexact Machine Unlearning, 2022, section 4",
)
def cf_k(
    problem: Problem,
    *,
    layers: Size = 3,
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    epochs: Count = 10,
    batch: Size = 128,
) -> Network:
    """Trains the last `layers` linear or convolutional layers, and what follows them, with SGD; the others are frozen.

    Later code counts the blocks of a residual network in place of layers, and keeps the last linear layer frozen; here
    it is the first of those that are trained. Frozen normalisation keeps its statistics.
    """
    network = problem.network().eval().requires_grad_(False)
    for layer in last_layers(network, layers):
        layer.train().requires_grad_(True)
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=lr, momentum=momentum, fused=True)
    for retain in problem.retain.batches(batch, epochs):
        descend(optimizer, cross_entropy(network(retain.images), retain.labels))
    return network


@cf_k.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the retain set, at most: frozen layers in front need no backward pass."""
    return epochs * (1 - forget)


def last_layers(network: nn.Module, number: int) -> list[nn.Module]:
    """The last parts of a network that have weights, in order: this many layers, and the normalisation behind each."""
    parts = [part for part in network.modules() if any(True for _ in part.parameters(recurse=False))]
    layers = [place for place, part in enumerate(parts) if any(w.ndim > 1 for w in part.parameters(recurse=False))]
    return parts[layers[-number] if number < len(layers) else 0 :]
