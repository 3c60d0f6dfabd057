"""SCRUB: a student that stays near the original on the retain set and departs from it on the forget set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import (
    Access,
    Batch,
    Count,
    Network,
    NonNegative,
    Positive,
    Problem,
    Recipe,
    Share,
    Size,
    descend,
    divergence,
    method,
)

PAPER = "Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023"


@method(
    title="SCRUB",
    access=Access(forget="images", retain="labels"),
    reference=f"{PAPER}, Algorithm 1",
)
def scrub(
    problem: Problem,
    *,
    lr: Positive = 5e-4,
    weight_decay: NonNegative = 5e-4,
    alpha: NonNegative = 0.5,
    gamma: NonNegative = 1.0,
    temperature: Positive = 4.0,
    max_epochs: Count = 2,
    epochs: Count = 5,
    batch: Size = 32,
    forget_batch: Size = 512,
    supervision: Share | None = None,
) -> Network:
    """Alternates epochs that maximise the divergence on the forget set with epochs that minimise the retain loss.

    Large batches of forgotten samples are part of the method: the ascent has no bound, and its number of steps decides.
    The released notebooks differ; this has the temperature, alpha and gamma of one and the epochs of another, a weight
    decay of 5e-4, and no decay of the learning rate, which they have after three epochs or later. Adam, as in the
    paper's experiments on networks without BatchNorm: where the student still equals the teacher the divergence has no
    slope, and plain SGD stays there. `supervision` is the share of the retain set that is labelled, and used; None: all
    of it.
    """
    del supervision  # the size of `problem.retain`
    *_, student = trajectory(
        problem,
        lr=lr,
        weight_decay=weight_decay,
        alpha=alpha,
        gamma=gamma,
        temperature=temperature,
        max_epochs=max_epochs,
        epochs=epochs,
        batch=batch,
        forget_batch=forget_batch,
    )
    return student


@scrub.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, max_epochs: int, supervision: float | None) -> float:
    """The student's passes, and the teacher's forward passes, which are computed once if images are not augmented."""
    retain = (1 - forget) * (1 if supervision is None else supervision)
    student = min(max_epochs, epochs) * forget + epochs * retain
    return student + recipe.frozen_cost(student)


def trajectory(
    problem: Problem,
    *,
    lr: float,
    weight_decay: float,
    alpha: float,
    gamma: float,
    temperature: float,
    max_epochs: int,
    epochs: int,
    batch: int,
    forget_batch: int,
) -> Iterator[Network]:
    """The student, in train mode, after each epoch: ascent on the forget set (in the first ones), then descent."""

    def teacher(samples: Batch) -> Tensor:
        logits: Tensor = problem.original.head(problem.features(problem.original, samples))
        return logits

    def distance(target: Tensor, logits: Tensor) -> Tensor:
        return temperature**2 * divergence(target, logits, temperature)

    student = problem.network()
    optimizer = torch.optim.Adam(student.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    for epoch in range(epochs):
        if epoch < max_epochs:
            for forget in problem.forget.batches(forget_batch):
                descend(optimizer, -distance(teacher(forget), student(forget.images)))
        for retain in problem.retain.batches(batch):
            logits = student(retain.images)
            distillation = distance(teacher(retain), logits)
            descend(optimizer, gamma * cross_entropy(logits, retain.labels) + alpha * distillation)
        yield student
