"""A method."""

import torch

from halving.parts import HALF
from unlearnbench import Access, Network, Problem, Recipe, method


@method(title="Halve", access=Access(), reference="Nobody, Halving, Nowhere 2000")
def halve(problem: Problem, *, share: float = HALF) -> Network:
    """Shrinks the head, which changes no prediction and makes all less certain."""
    network = problem.network()
    with torch.no_grad():
        for weights in network.head.parameters():
            weights.mul_(share)
    return network


@halve.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Nothing."""
    return 0.0
