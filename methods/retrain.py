"""Retrain: the gold standard that every method is measured against, and a second one that says how far chance goes."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, method


@method(
    title="Retrain",
    access=Access(retain="labels"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, section 4.1",
)
def retrain(problem: Problem) -> Network:
    """Trains a new network, from other random weights than the original's, on what remains."""
    network, _ = problem.fit(problem.retain, stream="retrain")
    return network


@method(title="Retrain again", access=Access(retain="labels"), role="control")
def retrain_2(problem: Problem) -> Network:
    """Retrain once more with other random numbers: no method can be closer to Retrain than this for a reason."""
    network, _ = problem.fit(problem.retain, stream="retrain-2")
    return network
