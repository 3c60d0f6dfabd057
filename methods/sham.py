"""The control that changes the weights by as much as LAF, but at random."""

from __future__ import annotations

import torch

from unlearnbench import Access, Network, Problem, Recipe, method


@method(title="Sham", access=Access(), role="control", start="laf")
def sham(problem: Problem) -> Network:
    """Adds Gaussian noise to each tensor of the original's weights, as large as LAF's change of it.

    A method must achieve more than a random change of this size.
    """
    network, before = problem.network(), list(problem.original.parameters())
    lengths = [torch.linalg.vector_norm(new - old) for new, old in zip(network.parameters(), before, strict=True)]
    network.load_state_dict(problem.original.state_dict())
    with torch.no_grad():
        for weights, length in zip(network.parameters(), lengths, strict=True):
            noise = torch.randn(weights.shape, generator=problem.generator)
            weights.add_(length / weights.numel() ** 0.5 * noise.to(weights.device))
    return network


@sham.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Nothing."""
    return 0.0
