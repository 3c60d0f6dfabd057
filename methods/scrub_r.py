"""SCRUB+R: SCRUB, rewound to the epoch in which the forget set looks like samples that nobody trained on."""

from __future__ import annotations

import copy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Samples, Share, Size, method
from unlearnbench.methods.scrub import PAPER, trajectory
from unlearnbench.methods.scrub import cost as scrub_cost


@method(
    title="SCRUB+R",
    role="variant",
    like="scrub",
    access=Access(forget="labels", retain="labels", validation="labels"),
    reference=f"{PAPER}, section 3.2 (rewinding)",
)
def scrub_r(
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
    """SCRUB, rewound to the epoch whose error on the forget set is nearest to the last one's error on unseen samples.

    The unseen samples are held out of the training set, have the classes of the forgotten ones, and are labelled as
    they are. `supervision` is as in SCRUB.
    """
    del supervision  # the size of `problem.retain`
    students = [
        copy.deepcopy(student).eval()
        for student in trajectory(
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
    ]
    reference = error(problem, students[-1], problem.validation)
    return min(students, key=lambda student: abs(error(problem, student, problem.forget) - reference))


@scrub_r.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, max_epochs: int, supervision: float | None) -> float:
    """SCRUB, and the errors: of each epoch on the forget set, and of the last one on unseen samples."""
    errors = forget * (epochs + recipe.held_out / (1 - recipe.held_out)) / 3
    return scrub_cost(forget, recipe, epochs=epochs, max_epochs=max_epochs, supervision=supervision) + errors


def error(problem: Problem, student: Network, samples: Samples) -> float:
    """The share of samples that a network gets wrong."""
    student.requires_grad_(False)
    predicted = student.head(problem.features(student, samples)).argmax(1)
    return float((predicted != samples.labels).float().mean())
