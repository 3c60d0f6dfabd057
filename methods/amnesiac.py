"""Amnesiac: trains on, with wrong labels for the forget set."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Size, concat, descend, method


@method(
    title="Amnesiac",
    access=Access(forget="labels", retain="labels"),
    reference="Graves et al., Amnesiac Machine Learning, AAAI 2021, section 3 (unlearning by relabelling)",
)
def amnesiac(problem: Problem, *, lr: Positive = 1e-4, epochs: Count = 3, batch: Size = 128) -> Network:
    """Draws a wrong label for each forgotten sample, once, and trains on both sets together with Adam.

    Their other method, which takes back the recorded updates of batches, needs a training that records them. Settings
    are those of the code of bad teaching (Chundawat et al., 2023). RL also draws true labels, and anew in each epoch.
    """
    network = problem.network()
    shift = torch.randint(1, problem.num_classes, (len(problem.forget),), generator=problem.generator)
    wrong = (problem.forget.labels + shift.to(problem.device)) % problem.num_classes
    labels = torch.cat([problem.retain.labels, wrong])
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    for both in concat(problem.retain, problem.forget).batches(batch, epochs):
        descend(optimizer, cross_entropy(network(both.images), labels[both.rows]))
    return network


@amnesiac.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on everything."""
    return epochs
