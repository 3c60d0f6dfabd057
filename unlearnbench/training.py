"""The one training loop and the one prediction loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.recipe import Recipe
from unlearnbench.samples import Samples

EVALUATION_BATCH = 256
"""Images per forward pass where nothing is learned: large, yet small enough for a core's cache."""


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """A fresh optimiser, as the recipe wants it."""
    parameters, lr, decay = network.parameters(), recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, weight_decay=decay, momentum=recipe.momentum, fused=True)
    return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, fused=True)


def fit(
    network: nn.Module, samples: Samples, recipe: Recipe, epochs: int | None = None, state: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Trains a network in place.

    Args:
        network: What to train; left in train mode.
        samples: Images and labels; their generator sets the order.
        recipe: Optimiser, batch size and number of epochs.
        epochs: Instead of the recipe's.
        state: The optimiser's state to go on from.

    Returns:
        The optimiser's state at the end.

    Raises:
        AccessError: If the samples have no labels.
    """
    optimizer = optimizer_of(recipe, network)
    if state is not None:
        optimizer.load_state_dict(state)
    network.train()
    with computing(recipe, samples.index.device):
        for batch in samples.batches(recipe.batch, recipe.epochs if epochs is None else epochs):
            loss = nn.functional.cross_entropy(network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return optimizer.state_dict()


def computing(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """A block in which networks compute in the recipe's precision, forward and backward.

    In bf16 only matrices are multiplied; weights, losses and optimisers stay in fp32, and so does all that is measured.
    """
    if recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)  # weights change here: copies would age


@torch.no_grad()
def predict(function: Callable[[Tensor], Tensor], pixels: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies a function of images, such as a network, to many of them.

    Args:
        function: Maps float32 [B, C, H, W] in [0, 1] to [B, ...]. A module is put into eval mode and back.
        pixels: uint8 [n, C, H, W].
        prepare: Makes images of pixels, e.g. `Pipeline.plain`.

    Returns:
        float32 [n, ...] on the device of `pixels`.
    """
    with in_eval_mode(function):
        return torch.cat([function(prepare(part)).float() for part in pixels.split(EVALUATION_BATCH)])


@contextmanager
def in_eval_mode(function: object) -> Iterator[None]:
    """Puts a module into eval mode; each of its parts gets its own mode back afterwards."""
    modules = list(function.modules()) if isinstance(function, nn.Module) else []
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
