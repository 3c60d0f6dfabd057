"""Retrain: the gold standard that every method is measured against."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, method


@method(
    title="Retrain",
    access=Access(remain="labels"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, section 4.1",
)
def retrain(problem: Problem) -> Network:
    """Trains a new network, from other random weights than the original's, on what remains."""
    network, _ = problem.fit(problem.remain, stream="retrain")
    return network
