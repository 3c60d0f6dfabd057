"""Boundary unlearning, Expanding: moves forgotten images into an additional class, which is then removed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, Positive, Problem, Recipe, Share, Size, descend, method


@method(
    title="Boundary Expand",
    role="variant",
    access=Access(forget="images"),
    reference="Chen et al., Boundary Unlearning, CVPR 2023, section 3.3 (Boundary Expanding)",
)
def boundary_expand(
    problem: Problem, *, lr: Positive = 1e-5, momentum: Share = 0.9, epochs: Count = 10, batch: Size = 64
) -> Network:
    """Trains forgotten images into an additional class, which is then removed.

    A later port of the released code leaves the additional class in the network; here, as in the paper, it is removed.
    """
    network = problem.network()
    narrow = network.get_submodule(network.last_layer)
    assert isinstance(narrow, nn.Linear)
    wide = nn.Linear(narrow.in_features, problem.num_classes + 1).to(problem.device)
    with torch.no_grad():
        wide.weight[:-1], wide.bias[:-1] = narrow.weight, narrow.bias
    replace_last_layer(network, wide)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, fused=True)
    for forget in problem.forget.batches(batch, epochs):
        target = torch.full_like(forget.index, problem.num_classes)
        descend(optimizer, cross_entropy(network(forget.images), target))
    with torch.no_grad():
        narrow.weight.copy_(wide.weight[:-1])
        narrow.bias.copy_(wide.bias[:-1])
    replace_last_layer(network, narrow)
    return network


@boundary_expand.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the forget set."""
    return epochs * forget


def replace_last_layer(network: Network, layer: nn.Module) -> None:
    """Replaces the last layer of a network."""
    parent, _, name = network.last_layer.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)
