"""FT: fine-tuning on the retain set, in the hope that the network forgets the rest."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="FT",
    access=Access(retain="labels"),
    reference="Warnecke et al., Machine Unlearning of Features and Labels, NDSS 2023; as in Unlearn-Sparse (FT.py)",
)
def ft(
    problem: Problem,
    *,
    lr: Positive = 0.01,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """Trains on the retain set with SGD and a constant rate; does not use the forget set."""
    network = problem.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for retain in problem.retain.batches(batch, epochs):
        descend(optimizer, cross_entropy(network(retain.images), retain.labels))
    return network


@ft.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the retain set."""
    return epochs * (1 - forget)
