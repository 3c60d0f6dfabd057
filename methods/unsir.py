"""UNSIR: impairs the network with noise that is labelled as the forgotten class, and then repairs it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import (
    Access,
    Count,
    Network,
    NonNegative,
    Positive,
    Problem,
    Recipe,
    Samples,
    Share,
    Size,
    descend,
    method,
)


@method(
    title="UNSIR",
    access=Access(forget="classes", retain="labels"),
    reference="Tarun et al., Fast Yet Effective Machine Unlearning, TNNLS 2023, section III",
)
def unsir(
    problem: Problem,
    *,
    share: Share = 0.2,
    noise: NonNegative = 0.03,
    mix: NonNegative = 0.6,
    steps: Count = 40,
    penalty: NonNegative = 0.1,
    lr_noise: Positive = 0.1,
    lr_impair: Positive = 0.02,
    lr_repair: Positive = 0.01,
    batch: Size = 256,
) -> Network:
    """Trains an epoch on retained images and noise labelled as a forgotten class, and one on retained images alone.

    It never sees a forgotten image, and can only remove whole classes. Their numbers for CIFAR-10 are shares here: a
    `share` of 0.2 of the retain set is their 1,000 images of a class, `noise` of 0.03 images for each of these are
    their 256, and `mix` of 0.6 in each step are their 20 copies. Their code keeps three images of noise by mistake, and
    labels all of it as class 0; this does what their paper says. Noise has the scale of pixels in [0, 1].
    """
    retain = problem.retain.sample(round(share * len(problem.retain)))
    count = max(1, round(noise * len(retain)))
    labels = problem.forgotten_classes[torch.arange(count) % len(problem.forgotten_classes)]
    noises = error_maximising(problem, retain, labels, steps, penalty, lr_noise)
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr_impair, fused=True)
    for kept in retain.batches(batch):
        drawn = torch.randint(count, (round(mix * len(kept)),), generator=problem.generator).to(problem.device)
        images, targets = torch.cat([kept.images, noises[drawn]]), torch.cat([kept.labels, labels[drawn]])
        descend(optimizer, cross_entropy(network(images), targets))
    optimizer = torch.optim.Adam(network.parameters(), lr=lr_repair, fused=True)
    for kept in retain.batches(batch):
        descend(optimizer, cross_entropy(network(kept.images), kept.labels))
    return network


@unsir.cost
def cost(forget: float, recipe: Recipe, *, share: float, noise: float, mix: float, steps: int) -> float:
    """Learning the noise, an epoch with it, and an epoch without."""
    return share * (1 - forget) * (noise * steps + 1 + mix + 1)


def error_maximising(problem: Problem, like: Samples, labels: Tensor, steps: int, penalty: float, lr: float) -> Tensor:
    """Noise, float32 [n, C, H, W], on which the original errs as much as it can about its labels, but of small norm.

    Args:
        problem: With the original.
        like: Samples with images of this shape.
        labels: int64 [n].
        steps: Of Adam.
        penalty: The weight of the mean squared norm.
        lr: Learning rate.
    """
    shape = like.subset(like.index.new_zeros(1)).images.shape[1:]
    noises = torch.randn(len(labels), *shape, generator=problem.generator).to(problem.device).requires_grad_(True)
    optimizer = torch.optim.Adam([noises], lr=lr, fused=True)
    for _ in range(steps):
        norm = noises.square().sum((1, 2, 3)).mean()
        descend(optimizer, penalty * norm - cross_entropy(problem.original(noises), labels))
    return noises.detach()
