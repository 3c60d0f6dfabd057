"""Unrolling SGD (Thudi et al., EuroS&P 2022): adds back, to first order, what the forgotten samples changed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Batch, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, method

PAPER = "Thudi et al., Unrolling SGD: Understanding Factors Influencing Machine Unlearning, EuroS&P 2022"


@method(
    title="Unrolling",
    access=Access(forget="labels"),
    reference=f"{PAPER}, section 4 (single-gradient unlearning)",
)
def unrolling(problem: Problem, *, sigma: NonNegative = 2e-3, batch: Size = 32) -> Network:
    """One step against training: w + sigma * the sum over forgotten batches of the gradient of their loss at w.

    The theory assumes plain SGD and takes the gradients at the weights from which training started. A network that was
    trained with Adam for many epochs meets neither assumption, so the gradients are taken at its final weights, and
    sigma stands for the learning rate times the number of epochs. What the LAF paper did is not known.
    """
    network = problem.network().eval()
    for forget in problem.forget.batches(batch):
        cross_entropy(network(forget.images), forget.labels).backward()  # gradients add up
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(sigma * gradient_of(weights))
    return network


@unrolling.cost
def unrolling_cost(forget: float, recipe: Recipe) -> float:
    """One pass over the forget set."""
    return forget


@method(
    title="Unrolling (forget first)",
    role="variant",
    access=Access(forget="labels", retain="labels"),
    reference=f"{PAPER}, section 6 (the points to be forgotten come first)",
)
def unrolling_first(
    problem: Problem,
    *,
    lr: Positive = 1e-2,
    epochs: Count = 1,
    multiple: NonNegative = 1.0,
    batch: Size = 32,
    supervision: Share | None = None,
) -> Network:
    """Continues training with plain SGD, forget set first, then adds back the steps on the forget set.

    The expansion is exact for the first samples, which is why the forget set comes first. Without an epoch on the
    retain set and with `multiple=1` nothing changes. `supervision` is the share of the retain set that is labelled, and
    used; None: all of it.
    """
    del supervision  # the size of `problem.retain`
    network = problem.network().eval()
    steps = [torch.zeros_like(weights) for weights in network.parameters()]
    for forget in problem.forget.batches(batch):
        sgd_step(network, forget, lr)
        for total, weights in zip(steps, network.parameters(), strict=True):
            total += lr * gradient_of(weights)
    for retain in problem.retain.batches(batch, epochs):
        sgd_step(network, retain, lr)
    with torch.no_grad():
        for total, weights in zip(steps, network.parameters(), strict=True):
            weights.add_(multiple * total)
    return network


@unrolling_first.cost
def unrolling_first_cost(forget: float, recipe: Recipe, *, epochs: int, supervision: float | None) -> float:
    """One pass over the forget set, and epochs on the retain set or its labelled share."""
    return forget + epochs * (1 - forget) * (1 if supervision is None else supervision)


def sgd_step(network: Network, batch: Batch, lr: float) -> None:
    """One step of plain SGD, after which the gradients are still there."""
    network.zero_grad()
    cross_entropy(network(batch.images), batch.labels).backward()
    with torch.no_grad():
        for weights in network.parameters():
            weights.sub_(lr * gradient_of(weights))


def gradient_of(weights: Tensor) -> Tensor:
    """The gradient from the last backward pass."""
    assert weights.grad is not None
    return weights.grad
