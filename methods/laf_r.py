"""LAF+R: LAF, then a supervised repair with as many labelled retained samples as were forgotten."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="LAF+R",
    access=Access(retain="sample-labels"),
    start="laf",
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Algorithm 1, lines 7-8",
)
def laf_r(
    problem: Problem,
    *,
    repair: Literal["head", "all"] = "head",
    lr: Positive = 1e-4,
    epochs: Count = 1,
    batch: Size = 32,
    supervision: Share | None = None,
) -> Network:
    """Trains the head (`repair="head"`, as in the released code) or everything (`"all"`, as in the paper's conclusion).

    The learning rate of the paper is not known; the default is the one that its networks are trained with. The network
    stays in eval mode, as in LAF. `supervision` is the labelled share of the retain set; None: as many samples as are
    forgotten.
    """
    del supervision  # the size of `problem.labelled`
    network = problem.network().eval()
    repaired = network.head if repair == "head" else network
    optimizer = torch.optim.Adam(repaired.parameters(), lr=lr, fused=True)
    for labelled in problem.labelled.batches(batch, epochs):
        descend(optimizer, cross_entropy(network(labelled.images), labelled.labels))
    return network


@laf_r.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, supervision: float | None) -> float:
    """Epochs on the labelled samples."""
    return epochs * (forget if supervision is None else supervision * (1 - forget))
