"""T-S, bad teaching: a student of the original for what remains, and of an untrained network for what must go."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax, softmax

from unlearnbench import Access, Network, Problem, concat, method


@method(
    title="T-S",
    access=Access(forget="images", retain="images"),
    reference="Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023, Eq. 5",
    # A step of the student on each item, and both teachers' answers: once, but for augmented images.
    cost=lambda forget, recipe, *, epochs, fraction, **_: (
        (epochs + recipe.frozen_cost(2 * epochs, once=2)) * (forget + fraction * (1 - forget))
    ),
)
def t_s(
    problem: Problem,
    *,
    fraction: float = 0.3,
    temperature: float = 1.0,
    lr: float = 1e-4,
    epochs: int = 1,
    batch: int = 128,
) -> Network:
    """Distils from two teachers on the forgotten items and a `fraction` of the others; reads no label.

    The loss is the Kullback-Leibler divergence as it is defined; the released code divides it by the number of classes,
    too, which Adam does not notice. Batches of 128, half of its.
    """
    student = problem.network()
    good = problem.original
    bad = problem.fresh_network("incompetent teacher").requires_grad_(False).eval()
    kept = problem.retain.sample(int(fraction * len(problem.retain)))
    optimizer = torch.optim.Adam(student.parameters(), lr=lr, fused=True)
    for items in concat(kept, problem.forget).batches(batch, epochs):
        right, wrong = (teacher.head(problem.features(teacher, items)) for teacher in (good, bad))
        taught = torch.where((items.source == 1)[:, None], wrong, right)
        learned = log_softmax(student(items.images) / temperature, dim=1)
        optimizer.zero_grad()
        kl_div(learned, softmax(taught / temperature, dim=1), reduction="batchmean").backward()
        optimizer.step()
    return student
