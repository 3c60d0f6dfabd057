"""SCRUB+R: SCRUB, rewound to the epoch in which the forgotten items look like items that nobody trained on."""

from __future__ import annotations

import copy
from functools import wraps
from typing import Any

from unlearnbench import Access, Network, Problem, Samples, method
from unlearnbench.methods.scrub import PAPER, cost_of, trajectory


@method(
    title="SCRUB+R",
    role="variant",
    like="scrub",
    access=Access(forget="labels", retain="labels", validation="labels"),
    reference=f"{PAPER}, section 3.2 (rewinding)",
    cost=lambda forget, recipe, *, epochs, max_epochs, **_: (
        cost_of(forget, recipe, epochs, max_epochs) + forget * (epochs + recipe.held_out / (1 - recipe.held_out)) / 3
    ),
)
@wraps(trajectory, assigned=())
def scrub_r(problem: Problem, **hyperparameters: Any) -> Network:
    """SCRUB, rewound to the epoch whose error on what must go is nearest to the last one's on items nobody trained on.

    These are held out of the training set, have the classes of the forgotten items, and are labelled as they are.
    """
    students = [copy.deepcopy(student).eval() for student in trajectory(problem, **hyperparameters)]
    wanted = error(problem, students[-1], problem.validation)
    return min(students, key=lambda student: abs(error(problem, student, problem.forget) - wanted))


def error(problem: Problem, student: Network, samples: Samples) -> float:
    """The share of samples that a network gets wrong."""
    student.requires_grad_(False)
    answers = student.head(problem.features(student, samples)).argmax(1)
    return float((answers != samples.labels).float().mean())
