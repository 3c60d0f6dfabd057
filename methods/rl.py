"""RL: random labels for the forget set, true ones for the retain set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="RL",
    access=Access(forget="images", retain="labels"),
    reference="Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020; as in Unlearn-Saliency (RL.py)",
)
def rl(
    problem: Problem,
    *,
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """Each epoch trains on the forget set with random labels, then on the retain set.

    As in the released code for CIFAR-10, labels are drawn for every batch anew, uniformly from all classes, so that
    some are the true ones. For CIFAR-100 it draws them once an epoch and mixes both sets; this is the same everywhere.
    """
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for images, labels in relabelled(problem, batch, epochs):
        descend(optimizer, cross_entropy(network(images), labels))
    return network


@rl.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on everything."""
    return epochs


def relabelled(problem: Problem, batch: int, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of an epoch: batches of the forget set with random labels, then of the retain set."""
    for _ in range(epochs):
        for forget in problem.forget.batches(batch):
            drawn = torch.randint(problem.num_classes, (len(forget),), generator=problem.generator)
            yield forget.images, drawn.to(problem.device, non_blocking=True)
        for retain in problem.retain.batches(batch):
            yield retain.images, retain.labels
