"""SSD: selective synaptic dampening shrinks the weights that matter to the forget set far more than to everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Batch, Network, NonNegative, Positive, Problem, Recipe, Samples, Size, method

Importance = dict[str, Tensor]
"""How much each weight matters to some samples, by the names of a network's tensors."""


@method(
    title="SSD",
    access=Access(prepare="labels", forget="labels"),
    reference="Foster et al., Fast Machine Unlearning Without Retraining, AAAI 2024, Algorithm 1",
)
def ssd(problem: Problem, *, alpha: Positive = 10.0, dampening: NonNegative = 1.0, batch: Size = 64) -> Network:
    """Multiplies a weight by min(lambda I / I_f, 1) if its importance I_f to the forget set exceeds alpha I.

    lambda is `dampening`. The importance I, to the whole training set, is computed before anyone asks to be forgotten,
    and nothing of the retain set is needed later. As in the released code it is the mean over batches of the squared
    gradient of a batch's mean loss, in eval mode, where the paper has single samples; so it depends on their size.
    """
    network = problem.network().eval()
    forgotten = importance(network, problem.forget, batch, mean_loss, power=2)
    return dampened(network, problem.prepared, forgotten, alpha, dampening)


@ssd.prepare
def prepare(problem: Problem, *, batch: Size = 64) -> Importance:
    """Computes the importance of each weight to the whole training set."""
    return importance(problem.network().eval(), problem.train, batch, mean_loss, power=2)


@ssd.cost
def cost(forget: float, recipe: Recipe) -> float:
    """The gradients on the forget set."""
    return forget


@ssd.prepare_cost
def prepare_cost(recipe: Recipe) -> float:
    """The gradients on the training set."""
    return 1.0


def mean_loss(network: Network, batch: Batch) -> Tensor:
    """The mean cross-entropy of a batch."""
    return cross_entropy(network(batch.images), batch.labels)


def importance(
    network: Network, samples: Samples, batch: int, loss: Callable[[Network, Batch], Tensor], power: int
) -> Importance:
    """The mean over batches of the absolute gradient of a loss, to a power, for each weight."""
    batches = list(samples.batches(batch))
    totals = {name: torch.zeros_like(weights) for name, weights in network.named_parameters()}
    for part in batches:
        gradients = torch.autograd.grad(loss(network, part), list(network.parameters()))
        for total, gradient in zip(totals.values(), gradients, strict=True):
            total += gradient.abs() ** power
    return {name: total / len(batches) for name, total in totals.items()}


@torch.no_grad()
def dampened(
    network: Network, everything: Mapping[str, Tensor], forgotten: Importance, alpha: float, dampening: float
) -> Network:
    """The network with smaller weights where their importance to the forget set exceeds alpha times that of all."""
    for name, weights in network.named_parameters():
        factor = (dampening * everything[name] / forgotten[name]).clamp(max=1)
        weights.copy_(torch.where(forgotten[name] > alpha * everything[name], factor * weights, weights))
    return network
