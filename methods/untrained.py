"""The control that knows nothing: a network with random weights, which the score ZRF compares methods with."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, Recipe, method


@method(title="Untrained", access=Access(), role="control")
def untrained(problem: Problem) -> Network:
    """Returns a network that was never trained, with other random weights for each seed."""
    return problem.fresh_network()


@untrained.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Nothing."""
    return 0.0
