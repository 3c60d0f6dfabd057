"""NegGrad: gradient ascent on the forget set."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="NegGrad",
    access=Access(forget="labels"),
    reference="Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020",
)
def neggrad(
    problem: Problem,
    *,
    lr: Positive = 1e-4,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 5,
    batch: Size = 32,
) -> Network:
    """Ascends the cross-entropy on the forget set; does not use the retain set.

    Which form and which hyperparameters the LAF paper used is not known; this is the plain one. Batches have 32 images,
    as in all training here; others take 256, which makes an eighth of the steps.
    """
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for forget in problem.forget.batches(batch, epochs):
        descend(optimizer, -cross_entropy(network(forget.images), forget.labels))
    return network


@neggrad.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the forget set."""
    return epochs * forget
