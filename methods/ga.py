"""GA: gradient ascent on the forget set, with the settings of Unlearn-Sparse."""

from __future__ import annotations

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, method
from unlearnbench.methods.neggrad import neggrad


@method(
    title="GA",
    access=Access(forget="labels"),
    reference="Thudi et al., Unrolling SGD, EuroS&P 2022; as in Unlearn-Sparse (GA.py)",
)
def ga(
    problem: Problem,
    *,
    lr: Positive = 1e-4,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 5,
    batch: Size = 256,
) -> Network:
    """NegGrad with batches of 256 images, as TARF's table has it."""
    options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "epochs": epochs, "batch": batch}
    network: Network = neggrad.function(problem, **options)
    return network


@ga.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the forget set."""
    return epochs * forget
