"""A method: a function that takes a problem and returns a network that has forgotten."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Count, Network, NonNegative, Positive, Problem, Recipe, Size, descend, method

contract = 2  # the version of unlearnbench's contract that this was written for


@method(
    title="My plugin",  # the name in tables
    # What it may see of the forget set and of the retain set: None, "images" or "labels". The suite enforces this and
    # prints it, and `unlearnbench check` fails if it is more than the method uses.
    access=Access(forget="labels", retain="labels"),
    reference="Your paper, or where the idea comes from",
)
def my_plugin(
    problem: Problem, *, lr: Positive = 1e-4, weight: NonNegative = 0.1, epochs: Count = 1, batch: Size = 32
) -> Network:
    """Descends the loss on the retain set and ascends, with a smaller weight, that on the forget set.

    Hyperparameters are keyword arguments with defaults; presets and `-p my-plugin.lr=1e-3` change them. Their
    type hints say which values are allowed, and others are refused before anything is computed.
    """
    network = problem.network()  # a copy of the original, in train mode, to be changed
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    for retain in problem.retain.batches(batch, epochs):  # shuffled anew in each epoch
        forget = next(problem.forget.batches(batch))
        loss = cross_entropy(network(retain.images), retain.labels)
        if len(forget):
            loss = loss - weight * cross_entropy(network(forget.images), forget.labels).clamp(max=10)
        descend(optimizer, loss)  # zero_grad(), backward() and step()
    return network


@my_plugin.cost
def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
    """In passes over the training set, where the share `forget` of it is forgotten."""
    return epochs * 2 * (1 - forget)
