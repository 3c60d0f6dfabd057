"""How soon an unlearned network knows again what it has forgotten: what is merely hidden comes back at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from unlearnbench.training.recipe import Recipe
    from unlearnbench.training.samples import Samples

ITEMS = 20
"""How many forgotten items are learned again."""
STEPS = 50
"""How many steps are taken."""
OTHERS = 1000
"""How many of the other forgotten items are asked about, at most."""
BACK = 0.95
"""The share of the original's accuracy at which a network counts as knowing them again."""


def curves(
    network: Callable[[Tensor], Tensor], original: Callable[[Tensor], Tensor], forget: Samples, recipe: Recipe
) -> dict[str, Tensor]:
    """Trains a network on a few forgotten items and asks it about others after each step.

    All steps have the same batch, the recipe's optimiser and rate, and statistics of batch normalisation that stay.

    Args:
        network: The unlearned network; left as it is.
        original: The network before.
        forget: The forgotten items with the labels that they were trained on; at least two.
        recipe: How networks are trained.

    Returns:
        "after": float32 [STEPS + 1], the accuracy on the others after 0, 1, ... steps; "original": float32 [], that of
        the original; "items" and "others": int64 [], how many there are of both.

    Raises:
        TypeError: If the network has no weights to train.
    """
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from unlearnbench.training import loop

    if not isinstance(network, nn.Module) or not list(network.parameters()):
        raise TypeError("what the method returns has no weights that could learn again")
    mixed = forget.sample(ITEMS + OTHERS)
    few = min(ITEMS, len(mixed) // 2)
    position = torch.arange(len(mixed), device=mixed.index.device)
    again, others = mixed.subset(position < few), mixed.subset(position >= few)

    def accuracy(answers: Callable[[Tensor], Tensor]) -> Tensor:
        logits = loop.predict(answers, others.pixels, others.pipeline.plain)
        return (logits.argmax(1) == others.labels).float().mean().cpu()

    student = copy.deepcopy(network).requires_grad_(True).eval()
    optimizer = loop.optimizer_of(recipe, student.parameters())
    images, labels, after = again.images, again.labels, [accuracy(student)]
    for _ in range(STEPS):
        loss = cross_entropy(student(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after.append(accuracy(student))
    counts = {"items": torch.tensor(len(again)), "others": torch.tensor(len(others))}
    return {"after": torch.stack(after), "original": accuracy(original), **counts}


def found_in(made: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a record has of `curves`.

    Returns:
        "steps" until the network knows `BACK` of what the original knew of the others (None: not within "limit"), and
        accuracies in [0, 1]: "original", "before", "after" all steps.
    """
    after, level = made["after"].double(), BACK * float(made["original"].double())
    back = (after >= level - 1e-6).nonzero()  # the accuracies were float32
    return {
        "steps": int(back[0, 0]) if len(back) else None,
        "limit": len(after) - 1,
        "original": float(made["original"].double()),
        "before": float(after[0]),
        "after": float(after[-1]),
        "items": int(made["items"]),
        "others": int(made["others"]),
    }
