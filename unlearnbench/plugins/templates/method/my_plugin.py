"""A method: a function that is handed a problem and returns a network that has forgotten."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Network, Problem, method

contract = 1  # of unlearnbench's plugins, for which this was written


@method(
    title="My plugin",  # the name in tables
    # What it may see: None, "images" or "labels" of the items to be forgotten and of the others. The suite
    # enforces this, prints it, and `unlearnbench check` fails if it is more than the method uses.
    access=Access(forget="labels", retain="labels"),
    reference="Your paper, or where the idea comes from",
    # What it costs, in passes over the training set, if the share `forget` of it must go.
    cost=lambda forget, recipe, *, epochs, **_: epochs * (1 + forget),
)
def my_plugin(problem: Problem, *, lr: float = 1e-4, weight: float = 0.1, epochs: int = 1, batch: int = 32) -> Network:
    """Learns what remains, and unlearns, with a smaller weight, what must go.

    Options are keyword arguments with defaults; presets and `-p my-plugin.lr=1e-3` change them.
    """
    network = problem.network()  # a copy of the original, in train mode, to be changed
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    for retain in problem.retain.batches(batch, epochs):  # shuffled anew in each epoch
        forget = next(problem.forget.batches(batch))
        loss = cross_entropy(network(retain.images), retain.labels)
        if len(forget):
            loss = loss - weight * cross_entropy(network(forget.images), forget.labels).clamp(max=10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network
