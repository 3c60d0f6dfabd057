"""SalUn: random labels, but only the weights that matter most to the loss on the forget set are changed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Share, Size, method
from unlearnbench.methods.rl import relabelled


@method(
    title="SalUn",
    access=Access(forget="labels", retain="labels"),
    reference="Fan et al., SalUn, ICLR 2024, section 4 (generate_mask.py, RL.py)",
)
def salun(
    problem: Problem,
    *,
    share: Share = 0.5,
    strict: bool = True,
    lr: Positive = 0.013,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 256,
) -> Network:
    """RL on the `share` of all weights whose gradients on the forget set are the largest.

    The published numbers come from code that masked gradients only, so that weight decay still changed the other
    weights; `strict=False` does that. With `strict=True`, as in the code since February 2026, they stay as they were.
    """
    network = problem.network()
    masks = saliency(problem, network, share, batch)
    before = [weights.detach().clone() for weights in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    for images, labels in relabelled(problem, batch, epochs):
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        for weights, mask in zip(network.parameters(), masks, strict=True):
            assert weights.grad is not None
            weights.grad.mul_(mask)
        optimizer.step()
        if strict:
            with torch.no_grad():
                for weights, mask, old in zip(network.parameters(), masks, before, strict=True):
                    weights.copy_(torch.where(mask, weights, old))
    return network


@salun.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """The mask, and epochs on everything."""
    return forget + epochs


def saliency(problem: Problem, network: Network, share: float, batch: int) -> list[Tensor]:
    """For each tensor of weights, bool: whether a weight is among the `share` with the largest gradients of all.

    The gradients are those of the loss on the forget set, in eval mode, summed over batches.
    """
    network.eval()
    for forget in problem.forget.batches(batch):
        cross_entropy(network(forget.images), forget.labels).backward()
    sizes = [weights.grad.abs() for weights in network.parameters() if weights.grad is not None]
    network.zero_grad()
    network.train()
    everything = torch.cat([size.flatten() for size in sizes])
    chosen = torch.zeros_like(everything, dtype=torch.bool)
    chosen[everything.argsort(descending=True, stable=True)[: int(share * len(everything))]] = True
    parts = chosen.split([size.numel() for size in sizes])
    return [part.view_as(size) for part, size in zip(parts, sizes, strict=True)]
