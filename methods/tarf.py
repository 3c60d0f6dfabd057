"""TARF: target-aware forgetting (Zhu et al., ICLR 2026): annealed ascent, and descent that leaves out what it finds."""

from __future__ import annotations

from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method

Annealing = Literal["to the end", "formula"]
Identify = Literal["none", "classes", "samples"]
By = Literal["accuracy", "loss"]
PAPER = "Zhu et al., Decoupling the Class Label and the Target Concept in Machine Unlearning, ICLR 2026"


@method(
    title="TARF",
    access=Access(forget="labels", retain="labels", hidden="size"),
    reference=PAPER,
)
def tarf(
    problem: Problem,
    *,
    k: NonNegative = 0.04,
    t1: Count = 1,
    t_end: Count = 2,
    annealing: Annealing = "to the end",
    identify: Identify = "none",
    by: By = "accuracy",
    share: Share = 0.0,
    wrong_by: int = 0,
    found: Literal["drop", "ascend"] = "drop",
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """Ascends on the forget set for `t1` epochs, identifies hidden samples, and descends on the other retained ones.

    The paper's text was not at hand: this follows its slides, reviews and table. Ascent ends after `t_end` epochs;
    beside it, each forgotten batch has a retained one. Its strength k(t) is k (T - t) / T, or with
    `annealing="formula"` the printed k max(0, (T - t - t_end) / T), which is not zero at t_end.

    `identify` is "classes" (target mismatch): the classes of the retain set whose accuracy falls most, or `by="loss"`
    whose loss changes most; or "samples" (data mismatch): the samples whose loss changes most. It is told how many
    there are: `wrong_by` is added to the number of classes, and a `share` above 0 replaces that of the samples. What
    was found is dropped, or with `found="ascend"` ascended, too.
    """
    network, told = problem.network(), problem.hidden_size
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    hidden = torch.zeros(len(problem.retain), dtype=torch.bool, device=problem.device)
    for t in range(epochs):
        ascent = strength(k, t, epochs, t_end, annealing)
        if t == t1 and identify != "none":
            number = told.classes + wrong_by if identify == "classes" else round(share * len(hidden)) or told.samples
            hidden = identified(problem, network, identify, by, number)
            problem.report_hidden(hidden)
        forgotten = problem.forget.batches(batch) if ascent else ()
        retained = problem.retain.batches(batch) if t >= t1 else ()
        for forget, retain in zip_longest(forgotten, retained):
            loss = torch.zeros((), device=problem.device)
            if forget is not None:
                loss = loss - ascent * cross_entropy(network(forget.images), forget.labels)
            if retain is not None:
                weight = torch.where(hidden[retain.rows], -ascent if found == "ascend" else 0.0, 1.0)
                each = cross_entropy(network(retain.images), retain.labels, reduction="none")
                loss = loss + (weight * each).mean()
            descend(optimizer, loss)
    return network


@tarf.cost
def cost(
    forget: float, recipe: Recipe, *, epochs: int, t1: int, t_end: int, annealing: Annealing, identify: Identify
) -> float:
    """Ascent, descent, and where something is identified the outputs of both networks on the retain set."""
    ascending = min(epochs, t_end) if annealing == "to the end" else max(0, epochs - t_end)
    scoring = 0.0 if identify == "none" else 2 / 3 * (1 - forget)
    return ascending * forget + max(0, epochs - t1) * (1 - forget) + scoring


def strength(k: float, t: int, epochs: int, t_end: int, annealing: Annealing) -> float:
    """k(t), the weight of ascent in epoch t."""
    if annealing == "formula":
        return k * max(0.0, (epochs - t - t_end) / epochs)
    return k * (epochs - t) / epochs if t < t_end else 0.0


def identified(problem: Problem, network: Network, what: Identify, by: By, number: int) -> Tensor:
    """Which retained samples ascent on the forget set has changed most, bool [n].

    Args:
        problem: With the retain set.
        network: After ascent; left as it is.
        what: "classes" or "samples".
        by: "accuracy" or "loss": what ranks classes.
        number: How many classes or samples.
    """
    labels = problem.retain.labels
    before, after = (problem.logits(each, problem.retain) for each in (problem.original, network))
    change = (cross_entropy(after, labels, reduction="none") - cross_entropy(before, labels, reduction="none")).abs()
    chosen = torch.zeros_like(labels, dtype=torch.bool)
    if what == "samples":
        chosen[change.argsort(descending=True, stable=True)[:number]] = True
        return chosen
    right = [(logits.argmax(1) == labels).float() for logits in (before, after)]
    score = right[0] - right[1] if by == "accuracy" else change
    classes = labels.unique()
    means = torch.stack([score[labels == label].mean() for label in classes])
    worst = classes[means.argsort(descending=True, stable=True)[: max(0, number)]]
    return torch.isin(labels, worst)
