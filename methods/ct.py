"""CT, convolution transpose: turns the kernels of convolutions over, and fine-tunes on the retain set."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench import (
    Access,
    Count,
    Network,
    NonNegative,
    NotApplicableError,
    Positive,
    Problem,
    Recipe,
    Share,
    Size,
    descend,
    method,
)


@method(
    title="CT",
    access=Access(retain="labels"),
    reference="Cadet et al., Deep Unlearn, 2024: the fifth entry of the NeurIPS 2023 unlearning challenge",
)
def ct(
    problem: Problem,
    *,
    lr: Positive = 1e-3,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 3,
    batch: Size = 64,
) -> Network:
    """Swaps height and width of square kernels, then trains on the retain set with a rate that falls as a cosine."""
    network = problem.network()
    transpose(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
        for retain in problem.retain.batches(batch):
            descend(optimizer, cross_entropy(network(retain.images), retain.labels))
    return network


@ct.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """Epochs on the retain set."""
    return epochs * (1 - forget)


@torch.no_grad()
def transpose(network: nn.Module) -> None:
    """Swaps height and width of the kernels of convolutions.

    Raises:
        NotApplicableError: If there is none with a square kernel of more than one pixel.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    square = [layer for layer in convolutions if layer.kernel_size[0] == layer.kernel_size[1] > 1]
    if not square:
        raise NotApplicableError("it transposes kernels of convolutions, and this network has none of several pixels")
    for layer in square:
        layer.weight.copy_(layer.weight.transpose(2, 3).clone())
