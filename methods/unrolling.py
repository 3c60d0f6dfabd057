"""Unrolling SGD (Thudi et al., EuroS&P 2022): adds back what the forgotten items took away, to first order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Batch, Network, Problem, method

PAPER = "Thudi et al., Unrolling SGD: Understanding Factors Influencing Machine Unlearning, EuroS&P 2022"


@method(
    title="Unrolling",
    access=Access(forget="labels"),
    reference=f"{PAPER}, section 4 (single-gradient unlearning)",
    cost=lambda forget, recipe, **_: forget,
)
def unrolling(problem: Problem, *, sigma: float = 2e-3, batch: int = 32) -> Network:
    """One step against training: w + sigma * the sum over forgotten batches of the gradient of their loss at w.

    The theory wants the gradients at the weights from which training started and plain SGD; a network that was trained
    with Adam for many epochs offers neither, so they are taken at its final weights, and sigma stands for the learning
    rate times the number of epochs. What the LAF paper did is not known.
    """
    network = problem.network().eval()
    for forget in problem.forget.batches(batch):
        cross_entropy(network(forget.images), forget.labels).backward()  # gradients add up
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(sigma * gradient_of(weights))
    return network


@method(
    title="Unrolling (forget first)",
    role="variant",
    access=Access(forget="labels", retain="labels"),
    reference=f"{PAPER}, section 6 (the points to be forgotten come first)",
    cost=lambda forget, recipe, *, epochs, **_: forget + epochs * (1 - forget),
)
def unrolling_first(
    problem: Problem, *, lr: float = 1e-2, epochs: int = 1, multiple: float = 1.0, batch: int = 32
) -> Network:
    """Goes on training with plain SGD, forgotten items first, then adds back their gradients, as they were taken.

    The expansion is exact for what comes first, which is why the forgotten items do. With no epoch over the remaining
    items and `multiple=1` nothing changes.
    """
    network = problem.network().eval()
    taken = [torch.zeros_like(weights) for weights in network.parameters()]
    for forget in problem.forget.batches(batch):
        descend(network, forget, lr)
        for total, weights in zip(taken, network.parameters(), strict=True):
            total += lr * gradient_of(weights)
    for retain in problem.retain.batches(batch, epochs):
        descend(network, retain, lr)
    with torch.no_grad():
        for total, weights in zip(taken, network.parameters(), strict=True):
            weights.add_(multiple * total)
    return network


def descend(network: Network, batch: Batch, lr: float) -> None:
    """One step of plain SGD."""
    network.zero_grad()
    cross_entropy(network(batch.images), batch.labels).backward()
    with torch.no_grad():
        for weights in network.parameters():
            weights.sub_(lr * gradient_of(weights))


def gradient_of(weights: Tensor) -> Tensor:
    """The gradient that the last backward pass left."""
    assert weights.grad is not None
    return weights.grad
