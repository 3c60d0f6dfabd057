"""Retrain: the reference for every method, and a second Retrain that shows how much chance accounts for."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, Recipe, method


@method(
    title="Retrain",
    access=Access(retain="labels", hidden="status"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, section 4.1",
)
def retrain(problem: Problem) -> Network:
    """Trains a new network, from other random weights than the original's, on the retain set without hidden samples."""
    network, _ = problem.fit(problem.retain.subset(~problem.hidden), stream="retrain")
    return network


@method(title="Retrain again", access=Access(retain="labels", hidden="status"), role="control")
def retrain_2(problem: Problem) -> Network:
    """Retrain with other random numbers: a method that is closer to Retrain than this is so by chance."""
    network, _ = problem.fit(problem.retain.subset(~problem.hidden), stream="retrain-2")
    return network


@retrain.cost
@retrain_2.cost
def cost(forget: float, recipe: Recipe) -> float:
    """The recipe's epochs on the retain set."""
    return recipe.epochs * (1 - forget)
