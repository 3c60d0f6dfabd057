"""LoTUS: makes outputs on the forget set as uncertain as those on unseen samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot, softmax

from unlearnbench import (
    Access,
    Count,
    Network,
    NonNegative,
    Positive,
    Problem,
    Recipe,
    Share,
    Size,
    concat,
    descend,
    method,
)


@method(
    title="LoTUS",
    access=Access(forget="labels", retain="images"),
    reference="Spartalis et al., LoTUS: Large-Scale Machine Unlearning with a Taste of Uncertainty, CVPR 2025",
)
def lotus(
    problem: Problem,
    *,
    unseen: Share = 0.9,
    alpha: NonNegative = 8.0,
    fraction: Share = 0.3,
    lr: Positive = 1e-4,
    weight_decay: NonNegative = 5e-4,
    epochs: Count = 10,
    batch: Size = 128,
) -> Network:
    """Distils from the original: drawn labels on a `fraction` of the retain set, softened outputs on the forget set.

    The temperature exp(alpha (accuracy on the forget set - `unseen`)) is that of an epoch, and unlearning ends when the
    accuracy is a point below `unseen`: the accuracy of the original on unseen samples, or 0 for class removal. The
    released code measures it once on validation samples; here it is given, so that none are needed. Labels are read for
    this accuracy alone.
    """
    student = problem.network().train()
    both = concat(problem.retain.sample(int(fraction * len(problem.retain))), problem.forget)
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    for _ in range(epochs):
        excess = accuracy(problem, student) - unseen
        if excess <= -0.01:
            break
        temperature = math.exp(alpha * excess)
        for samples in both.batches(batch):
            noisy = problem.original.head(problem.features(problem.original, samples))
            noisy = noisy + gumbel(problem, noisy)
            is_forgotten = (samples.source == 1)[:, None]
            drawn = one_hot(noisy.argmax(1), problem.num_classes).to(noisy.dtype)
            target = torch.where(is_forgotten, softmax(noisy / temperature, dim=1), drawn)
            descend(optimizer, -(target * log_softmax(student(samples.images), dim=1)).sum(1).mean())
    return student


@lotus.cost
def cost(forget: float, recipe: Recipe, *, epochs: int, fraction: float) -> float:
    """Epochs of the student, at most, and their accuracies; and outputs of the original."""
    used = forget + fraction * (1 - forget)
    return epochs * (used + forget / 3) + used * recipe.frozen_cost(epochs)


def accuracy(problem: Problem, network: Network) -> float:
    """The share of the forget set that a network gets right."""
    predicted = problem.logits(network, problem.forget).argmax(1)
    return float((predicted == problem.forget.labels).float().mean())


def gumbel(problem: Problem, like: Tensor) -> Tensor:
    """Gumbel noise of the shape of a tensor: the likeliest class of logits with it is a draw from their softmax."""
    uniform = torch.rand(like.shape, generator=problem.generator).clamp_min(1e-30).to(like.device)
    return -(-uniform.log()).log()
