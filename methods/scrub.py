"""SCRUB: a student that obeys the original on what remains and contradicts it on what must go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from unlearnbench import Access, Batch, Network, Problem, method

PAPER = "Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023"


def trajectory(
    problem: Problem,
    *,
    lr: float = 5e-4,
    weight_decay: float = 5e-4,
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 4.0,
    max_epochs: int = 2,
    epochs: int = 5,
    batch: int = 32,
    forget_batch: int = 512,
) -> Iterator[Network]:
    """The student, in train mode, after each epoch: ascent on what must go (in the first ones), then descent."""

    def teacher(items: Batch) -> Tensor:
        answers: Tensor = problem.original.head(problem.features(problem.original, items))
        return answers

    student = problem.network()
    optimizer = torch.optim.Adam(student.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    for epoch in range(epochs):
        if epoch < max_epochs:
            for forget in problem.forget.batches(forget_batch):
                step(optimizer, -divergence(teacher(forget), student(forget.images), temperature))
        for retain in problem.retain.batches(batch):
            answers = student(retain.images)
            obedience = divergence(teacher(retain), answers, temperature)
            step(optimizer, gamma * cross_entropy(answers, retain.labels) + alpha * obedience)
        yield student


def cost_of(forget: float, recipe: Any, epochs: int, max_epochs: int) -> float:
    """The student's passes, and the teacher's answers: once, but for augmented images."""
    student = min(max_epochs, epochs) * forget + epochs * (1 - forget)
    total: float = student + recipe.frozen_cost(student)
    return total


@method(
    title="SCRUB",
    access=Access(forget="images", retain="labels"),
    reference=f"{PAPER}, Algorithm 1",
    cost=lambda forget, recipe, *, epochs, max_epochs, **_: cost_of(forget, recipe, epochs, max_epochs),
)
@wraps(trajectory, assigned=())  # it takes the hyperparameters of what it wraps; without this line it would have none
def scrub(problem: Problem, **hyperparameters: Any) -> Network:
    """Alternates epochs that maximise the divergence on the forgotten items with epochs that minimise the rest.

    Large batches of forgotten items are part of the method: the ascent has no bound, and its number of steps decides.
    The released notebooks differ; this has the temperature, alpha and gamma of one and the epochs of another, a weight
    decay of 5e-4, and no decay of the learning rate, which they have after three epochs or later. Adam, as in the
    paper's experiments on networks without BatchNorm: where the student still equals the teacher the divergence has no
    slope, and plain SGD stays there.
    """
    *_, student = trajectory(problem, **hyperparameters)
    return student


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of logits [B, classes] at a temperature, times its square, averaged over the batch."""
    learned, taught = log_softmax(student / temperature, dim=1), softmax(teacher / temperature, dim=1)
    return temperature**2 * kl_div(learned, taught, reduction="batchmean")


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
