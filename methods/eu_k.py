"""EU-k: trains the last layers from scratch, on the retain set."""

from __future__ import annotations

from unlearnbench import Access, Network, Problem, Recipe, Size, method
from unlearnbench.methods.cf_k import last_layers


@method(
    title="EU-k",
    access=Access(retain="labels"),
    reference="Goel et al., Towards Adversarial Evaluations for Inexact Machine Unlearning, 2022, section 4",
)
def eu_k(problem: Problem, *, layers: Size = 3) -> Network:
    """Draws the last `layers` layers anew, and trains them by the recipe of the original; the others are frozen.

    Layers are counted as in `cf-k`. Statistics of normalisation become those of the retain set.
    """
    network, fresh = problem.network().requires_grad_(False), problem.fresh_network("eu-k")
    for layer, new in zip(last_layers(network, layers), last_layers(fresh, layers), strict=True):
        layer.requires_grad_(True).load_state_dict(new.state_dict())
    problem.fit(problem.retain, network, stream="eu-k")
    return network


@eu_k.cost
def cost(forget: float, recipe: Recipe) -> float:
    """Training on the retain set, at most: frozen layers in front need no backward pass."""
    return recipe.epochs * (1 - forget)
