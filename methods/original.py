"""The control that does nothing: attack and accuracies where nothing was forgotten."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, Recipe, method


@method(title="Original", access=Access(), role="control")
def original(problem: Problem) -> Network:
    """Returns the original network as it is."""
    return problem.network()


@original.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Nothing."""
    return 0.0
