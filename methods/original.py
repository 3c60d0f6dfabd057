"""The control that does nothing: attack and accuracies where nothing was forgotten."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, method


@method(title="Original", access=Access(), role="control", cost=lambda forget, recipe: 0.0)
def original(problem: Problem) -> Network:
    """Returns the original network as it is."""
    return problem.network()
