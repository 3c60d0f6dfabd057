"""The control that changes the weights as much as LAF does, but at random."""

from __future__ import annotations

import torch

from unlearnbench import Access, Network, Problem, method


@method(title="Sham", access=Access(), role="control", start="laf", cost=lambda forget, recipe: 0.0)
def sham(problem: Problem) -> Network:
    """Adds Gaussian noise to each tensor of the original's weights, as large as LAF's change of it.

    Whatever a method achieves must be more than what any blow of this size does.
    """
    network = problem.network()
    with torch.no_grad():
        for changed, before in zip(network.parameters(), problem.original.parameters(), strict=True):
            size = (changed - before).square().mean().sqrt()
            noise = torch.randn(before.shape, generator=problem.generator)
            changed.copy_(before + size * noise.to(before.device))
    return network
