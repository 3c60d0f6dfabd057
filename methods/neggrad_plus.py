"""NegGrad+: gradient ascent on the forget set together with descent on the retain set."""

from __future__ import annotations

from itertools import chain, repeat

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="NegGrad+",
    role="variant",
    access=Access(forget="labels", retain="labels"),
    reference="Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023 (SCRUB), section 5",
)
def neggrad_plus(
    problem: Problem,
    *,
    beta: Share = 0.95,
    lr: Positive = 1e-4,
    epochs: Count = 5,
    batch: Size = 32,
    supervision: Share | None = None,
) -> Network:
    """Descends beta * CE(retained) - (1 - beta) * CE(forgotten); an epoch is a pass over the retain set.

    Of the two forms in the released code this is the one without a penalty on the distance to the original. It uses
    Adam, as all training here, instead of SGD, and five epochs instead of ten. Each pass shuffles the forget set.
    `supervision` is the share of the retain set that is labelled, and used; None: all of it.
    """
    del supervision  # the size of `problem.retain`
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    forgotten = chain.from_iterable(problem.forget.batches(batch) for _ in repeat(None))
    for retain, forget in zip(problem.retain.batches(batch, epochs), forgotten, strict=False):
        retain_loss = cross_entropy(network(retain.images), retain.labels)
        forget_loss = cross_entropy(network(forget.images), forget.labels)
        descend(optimizer, beta * retain_loss - (1 - beta) * forget_loss)
    return network


@neggrad_plus.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, supervision: float | None) -> float:
    """Epochs on the retain set, or its labelled share, with as many forgotten samples."""
    return 2 * epochs * (1 - forget) * (1 if supervision is None else supervision)
