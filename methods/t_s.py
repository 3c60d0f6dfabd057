"""T-S, bad teaching: a student of the original on the retain set, and of an untrained network on the forget set."""

from __future__ import annotations

import torch

from unlearnbench import (
    Access,
    Count,
    Network,
    Positive,
    Problem,
    Recipe,
    Share,
    Size,
    concat,
    descend,
    divergence,
    method,
)


@method(
    title="T-S",
    access=Access(forget="images", retain="images"),
    reference="Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023, Eq. 5",
)
def t_s(
    problem: Problem,
    *,
    fraction: Share = 0.3,
    temperature: Positive = 1.0,
    lr: Positive = 1e-4,
    epochs: Count = 1,
    batch: Size = 128,
) -> Network:
    """Distils from two teachers on the forget set and a `fraction` of the retain set; reads no label.

    The loss is the Kullback-Leibler divergence as it is defined; the released code divides it by the number of classes,
    too, which Adam does not notice. Batches of 128, half of its.
    """
    student = problem.network()
    good = problem.original
    bad = problem.fresh_network("incompetent teacher").requires_grad_(False).eval()
    retain = problem.retain.sample(int(fraction * len(problem.retain)))
    optimizer = torch.optim.Adam(student.parameters(), lr=lr, fused=True)
    for samples in concat(retain, problem.forget).batches(batch, epochs):
        of_good, of_bad = (teacher.head(problem.features(teacher, samples)) for teacher in (good, bad))
        is_forgotten = (samples.source == 1)[:, None]
        target = torch.where(is_forgotten, of_bad, of_good)
        descend(optimizer, divergence(target, student(samples.images), temperature))
    return student


@t_s.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, fraction: float) -> float:
    """Steps of the student, and forward passes of both teachers: once only if images are not augmented."""
    return (epochs + recipe.frozen_cost(2 * epochs, once=2)) * (forget + fraction * (1 - forget))
