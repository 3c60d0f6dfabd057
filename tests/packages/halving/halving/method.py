"""A method."""

import torch

from halving.parts import HALF
from unlearnbench import Access, Network, Problem, method


@method(title="Halve", access=Access(), reference="Nobody, Halving, Nowhere 2000", cost=lambda forget, recipe, **_: 0.0)
def halve(problem: Problem, *, share: float = HALF) -> Network:
    """Shrinks the head, which leaves the answers and takes the certainty."""
    network = problem.network()
    with torch.no_grad():
        for weights in network.head.parameters():
            weights.mul_(share)
    return network
