"""Fanchuan: uniform outputs on the forget set, then rounds of contrast with retained outputs, and of repair."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch.nn.functional import cross_entropy, log_softmax

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
    descend,
    divergence,
    method,
)


@method(
    title="Fanchuan",
    access=Access(forget="images", retain="labels"),
    reference="The winner of the NeurIPS 2023 unlearning challenge: Triantafillou et al., 2024; Cadet et al., 2024",
)
def fanchuan(
    problem: Problem,
    *,
    lr: Positive = 5e-3,
    lr_forget: Positive = 3e-4,
    lr_retain: Positive = 4e-3,
    momentum: Share = 0.9,
    weight_decay: NonNegative = 1e-2,
    temperature: Positive = 1.15,
    epochs: Count = 8,
    batch: Size = 256,
) -> Network:
    """Takes one pass towards uniform outputs on the forget set, then each epoch a forget round and a retain round.

    The forget round makes the logits of a forgotten sample equally similar to those of all retained samples of a batch;
    its rate falls as a cosine from `lr_forget` to 1e-6. The retain round trains with cross-entropy. There is no paper:
    this follows the entry as Deep Unlearn released it, whose rate for the retain round is 1e-3 for 64 images.
    """
    network = problem.network()
    sgd = partial(torch.optim.SGD, list(network.parameters()), momentum=momentum, fused=True)
    optimizer = sgd(lr=lr)
    for forget in problem.forget.batches(batch):
        logits = network(forget.images)
        descend(optimizer, divergence(torch.zeros_like(logits), logits))
    contrast, repair = sgd(lr=lr_forget), sgd(lr=lr_retain, weight_decay=weight_decay)
    step, steps = 0, epochs * max(1, math.ceil(len(problem.forget) / batch))
    for _ in range(epochs):
        for forget, retain in zip(problem.forget.batches(batch), problem.retain.batches(batch), strict=False):
            for group in contrast.param_groups:
                group["lr"] = 1e-6 + (lr_forget - 1e-6) * (1 + math.cos(math.pi * step / steps)) / 2
            forgotten = network(forget.images)
            with torch.no_grad():
                retained = network(retain.images)
            descend(contrast, -log_softmax(forgotten @ retained.T / temperature, dim=1).mean())
            step += 1
        for retain in problem.retain.batches(batch):
            descend(repair, cross_entropy(network(retain.images), retain.labels))
    return network


@fanchuan.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """A pass over the forget set, and in each epoch one over everything and outputs of as many retained samples."""
    return forget + epochs * (1 + min(forget, 1 - forget) / 3)
