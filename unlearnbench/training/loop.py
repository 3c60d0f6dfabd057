"""The training loop and the prediction loop of the suite."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Samples, side_by_side
from unlearnbench.training.steps import descend

EVALUATION_BATCH = 256
"""Images per forward pass in evaluation: large, yet small enough for a core's cache."""


def optimizer_of(recipe: Recipe, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """A new optimiser of the recipe's kind."""
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, weight_decay=decay, momentum=recipe.momentum, fused=True)
    return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, fused=True)


def fit(
    network: nn.Module, samples: Samples, recipe: Recipe, epochs: int | None = None, state: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Trains a network in place.

    Args:
        network: Is left in train mode.
        samples: Images and labels; their generator determines the order.
        recipe: Optimiser, batch size and number of epochs.
        epochs: Instead of the recipe's.
        state: The optimiser's state to continue from.

    Returns:
        The optimiser's state at the end.

    Raises:
        AccessError: If the samples have no labels.
    """
    optimizer = optimizer_of(recipe, network.parameters())
    if state is not None:
        resume(optimizer, state)
    network.train()
    with computing(recipe, samples.index.device):
        for batch in samples.batches(recipe.batch, recipe.epochs if epochs is None else epochs):
            descend(optimizer, nn.functional.cross_entropy(network(batch.images), batch.labels))
    return optimizer.state_dict()


def resume(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Sets the state of a new optimiser.

    Fused optimisers iterate over memory, not over indices, so the state of a weight must have the weight's memory
    layout. States from files do not have it, and the optimiser would silently compute something else.
    """
    optimizer.load_state_dict(state)
    for weights, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor):  # copies, so that `state` can be used again
                kept[name] = torch.empty_like(weights).copy_(value) if value.shape == weights.shape else value.clone()


def fit_together(
    networks: Sequence[nn.Module], samples: Sequence[Samples], recipe: Recipe, epochs: int | None = None
) -> list[dict[str, Any]]:
    """Trains several networks of one shape in place, in the same steps; the result is that of `fit` up to rounding.

    A step of a single small network leaves a GPU mostly idle.

    Args:
        networks: Must meet `can_be_stacked`; are left in train mode.
        samples: Images and labels, for each network its own; those of one training set and one length are combined.
        recipe: Optimiser, batch size and number of epochs.
        epochs: Instead of the recipe's.

    Returns:
        The optimiser's state at the end, for each network.
    """
    states: dict[int, dict[str, Any]] = {}
    alike: dict[tuple[int, int], list[int]] = {}  # mostly one group; halves may differ by a sample
    for number, part in enumerate(samples):
        alike.setdefault((len(part), id(part._stored)), []).append(number)
    for numbers in alike.values():
        group, parts = [networks[number] for number in numbers], [samples[number] for number in numbers]
        if len(numbers) > 1:
            states |= zip(numbers, fit_stacked(group, parts, recipe, epochs), strict=True)
        else:
            states[numbers[0]] = fit(group[0], parts[0], recipe, epochs)
    return [states[number] for number in range(len(networks))]


def fit_stacked(
    networks: Sequence[nn.Module], samples: Sequence[Samples], recipe: Recipe, epochs: int | None = None
) -> list[dict[str, Any]]:
    """As `fit_together`, for samples of one length: one network whose weights have an additional first dimension."""
    for network in networks:
        network.train()
    stack, parameters, buffers = stacked(networks)
    optimizer = optimizer_of(recipe, parameters.values())
    with computing(recipe, samples[0].index.device):
        for images, labels in side_by_side(samples, recipe.batch, recipe.epochs if epochs is None else epochs):
            logits = stack(parameters, buffers, images)
            total = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            descend(optimizer, total / labels.shape[1])  # the sum of the networks' mean losses: gradients stay apart
    trained = parameters | buffers
    with torch.no_grad():
        for number, network in enumerate(networks):
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.copy_(trained[name][number])
    return [share_of(optimizer.state_dict(), number) for number in range(len(networks))]


def share_of(state: dict[str, Any], number: int) -> dict[str, Any]:
    """The optimiser's state of one of the stacked networks, for `fit` to continue from."""

    def share(value: Any) -> Any:
        return (value[number] if value.dim() else value).clone() if isinstance(value, Tensor) else value

    parameters = {index: {name: share(value) for name, value in kept.items()} for index, kept in state["state"].items()}
    return {**state, "state": parameters}


Stack = Callable[[dict[str, Tensor], dict[str, Tensor], Tensor], Tensor]
"""Logits [K, B, classes] of K networks with these parameters and buffers on images [K, B, C, H, W]."""


def stacked(networks: Sequence[nn.Module]) -> tuple[Stack, dict[str, Tensor], dict[str, Tensor]]:
    """Several networks of one shape as one function in train mode; copies of their parameters and buffers, [K, ...]."""
    parameters, buffers = torch.func.stack_module_state([plain(network) for network in networks])
    shape = plain(networks[0]).train()

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(shape, (parameters, buffers), (images,))
        return logits

    return torch.vmap(one), parameters, buffers


def plain(network: nn.Module) -> nn.Module:
    """A copy in torch's default memory layout, which is the fastest for `vmap`."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def can_be_stacked(network: nn.Module, samples: Samples, recipe: Recipe) -> bool:
    """True if networks like this can be stacked: they must not draw random numbers or branch on values."""
    if not len(samples):
        return False
    images = samples.subset(samples.index.new_zeros(2)).images
    try:
        stack, parameters, buffers = stacked([network, network])
        with computing(recipe, images.device):
            stack(parameters, buffers, torch.stack([images, images])).sum().backward()
    except Exception:  # anything that torch.vmap or the network raises
        return False
    return True


def computing(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """A block in which networks compute in the recipe's precision, forward and backward.

    Only matrix products are in bf16; weights, losses, optimisers and everything that is measured stay in fp32.
    """
    if recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(
        device.type, torch.bfloat16, cache_enabled=False
    )  # a cached copy would miss changes of the weights


@torch.no_grad()
def predict(function: Callable[[Tensor], Tensor], pixels: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies a function of images, such as a network, to many of them.

    Args:
        function: Maps float32 [B, C, H, W] in [0, 1] to [B, ...]. A module is in eval mode meanwhile.
        pixels: uint8 [n, C, H, W].
        prepare: Makes images of pixels, e.g. `Pipeline.plain`.

    Returns:
        float32 [n, ...] on the device of `pixels`.
    """
    with in_eval_mode(function):
        return torch.cat([function(prepare(part)).float() for part in pixels.split(EVALUATION_BATCH)])


@contextmanager
def in_eval_mode(function: object) -> Iterator[None]:
    """Puts a module into eval mode in a block, and restores the mode of each of its parts."""
    modules = list(function.modules()) if isinstance(function, nn.Module) else []
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
