"""NegGrad+: gradient ascent on the forget set, held back by descent on what remains."""

from __future__ import annotations

from itertools import chain, repeat

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Network, Problem, method


@method(
    title="NegGrad+",
    role="variant",
    access=Access(forget="labels", retain="labels"),
    reference="Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023 (SCRUB), section 5",
    cost=lambda forget, recipe, *, epochs, **_: 2 * epochs * (1 - forget),
)
def neggrad_plus(
    problem: Problem, *, beta: float = 0.95, lr: float = 1e-4, epochs: int = 5, batch: int = 32
) -> Network:
    """Descends beta * CE(retained) - (1 - beta) * CE(forgotten); an epoch is a pass over what remains.

    Of the two forms in the released code this is the one without a penalty on the distance to the original, with Adam
    instead of SGD as all networks here are trained with. Forgotten items are shuffled in every pass over them. Five
    epochs, where the original has ten.
    """
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    forgotten = chain.from_iterable(problem.forget.batches(batch) for _ in repeat(None))
    for retain, forget in zip(problem.retain.batches(batch, epochs), forgotten, strict=False):
        keep = cross_entropy(network(retain.images), retain.labels)
        lose = cross_entropy(network(forget.images), forget.labels)
        optimizer.zero_grad()
        (beta * keep - (1 - beta) * lose).backward()
        optimizer.step()
    return network
