"""A control for TARF: identifies hidden samples as TARF does, and then only fine-tunes the original on the others."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method
from unlearnbench.methods.tarf import Annealing, By, Identify, identified, strength


@method(
    title="Identify, then FT",
    role="control",
    access=Access(forget="labels", retain="labels", hidden="size"),
    like="tarf",
)
def identify_then_ft(
    problem: Problem,
    *,
    k: NonNegative = 0.04,
    t1: Count = 1,
    t_end: Count = 2,
    annealing: Annealing = "to the end",
    identify: Identify = "samples",
    by: By = "accuracy",
    share: Share = 0.0,
    wrong_by: int = 0,
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """FT on the retain set without the samples that TARF would identify after `t1` epochs of ascent.

    What TARF does better than this comes from its ascent, and not from identification.
    """
    sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    retain, told = problem.retain, problem.hidden_size
    if identify != "none":
        probe = problem.network()
        ascent = sgd(probe.parameters())
        for t in range(t1):
            for forget in problem.forget.batches(batch):
                loss = cross_entropy(probe(forget.images), forget.labels)
                descend(ascent, -strength(k, t, epochs, t_end, annealing) * loss)
        number = told.classes + wrong_by if identify == "classes" else round(share * len(retain)) or told.samples
        hidden = identified(problem, probe, identify, by, number)
        problem.report_hidden(hidden)
        retain = retain.subset(~hidden)
    network = problem.network()
    optimizer = sgd(network.parameters())
    for kept in retain.batches(batch, epochs):
        descend(optimizer, cross_entropy(network(kept.images), kept.labels))
    return network


@identify_then_ft.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, t1: int, identify: str) -> float:
    """Epochs on the retain set; and where something is identified, the ascent and the outputs of both networks."""
    found = 0.0 if identify == "none" else t1 * forget + 2 / 3 * (1 - forget)
    return found + epochs * (1 - forget)
