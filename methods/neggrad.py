"""NegGrad: gradient ascent on the forget set."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Network, Problem, method


@method(
    title="NegGrad",
    access=Access(forget="labels"),
    reference="Golatkar et al., Eternal Sunshine of the Spotless Net, CVPR 2020",
    cost=lambda forget, recipe, *, epochs, **_: epochs * forget,
)
def neggrad(
    problem: Problem,
    *,
    lr: float = 1e-4,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    epochs: int = 5,
    batch: int = 32,
) -> Network:
    """Ascends the cross-entropy of the forgotten items; sees nothing of what remains.

    Which form and which hyperparameters the LAF paper used is not known; this is the plain one, in
    batches of 32 as all networks here are trained, where others take 256, which makes eight times as many steps.
    """
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for forget in problem.forget.batches(batch, epochs):
        loss = -cross_entropy(network(forget.images), forget.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network
