"""The one training loop and the one prediction loop."""

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
"""Images per forward pass where nothing is learned: large, yet small enough for a core's cache."""


def optimizer_of(recipe: Recipe, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """A fresh optimiser, as the recipe wants it."""
    lr, decay = recipe.lr, recipe.weight_decay
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
    optimizer = optimizer_of(recipe, network.parameters())
    if state is not None:
        resume(optimizer, state)
    network.train()
    with computing(recipe, samples.index.device):
        for batch in samples.batches(recipe.batch, recipe.epochs if epochs is None else epochs):
            descend(optimizer, nn.functional.cross_entropy(network(batch.images), batch.labels))
    return optimizer.state_dict()


def resume(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Has a fresh optimiser go on from a state.

    Fused optimisers go through memory, not through indices, so what they keep of a weight must lie as the weight does;
    out of a file it does not, and then they would silently compute something else.
    """
    optimizer.load_state_dict(state)
    for weights, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor):  # copies, for whoever goes on from this state again
                kept[name] = torch.empty_like(weights).copy_(value) if value.shape == weights.shape else value.clone()


def fit_together(
    networks: Sequence[nn.Module], samples: Sequence[Samples], recipe: Recipe, epochs: int | None = None
) -> list[dict[str, Any]]:
    """Trains several networks of one shape in place, each as `fit` would but for rounding, all in the same steps.

    A step of a small network leaves a GPU mostly idle.

    Args:
        networks: What to train, if `can_be_stacked`; left in train mode.
        samples: Images and labels, for each network its own; those of one training set and one length go together.
        recipe: Optimiser, batch size and number of epochs.
        epochs: Instead of the recipe's.

    Returns:
        The optimiser's state at the end, for each network.
    """
    states: dict[int, dict[str, Any]] = {}
    alike: dict[tuple[int, int], list[int]] = {}  # most often all are; halves may differ by an item
    for place, part in enumerate(samples):
        alike.setdefault((len(part), id(part._stored)), []).append(place)
    for places in alike.values():
        some, parts = [networks[place] for place in places], [samples[place] for place in places]
        if len(places) > 1:
            states |= zip(places, fit_stacked(some, parts, recipe, epochs), strict=True)
        else:
            states[places[0]] = fit(some[0], parts[0], recipe, epochs)
    return [states[place] for place in range(len(networks))]


def fit_stacked(
    networks: Sequence[nn.Module], samples: Sequence[Samples], recipe: Recipe, epochs: int | None = None
) -> list[dict[str, Any]]:
    """As `fit_together`, for samples of one length: the networks are one whose weights have one more dimension."""
    for network in networks:
        network.train()
    stack, parameters, buffers = stacked(networks)
    optimizer = optimizer_of(recipe, parameters.values())
    with computing(recipe, samples[0].index.device):
        for images, labels in side_by_side(samples, recipe.batch, recipe.epochs if epochs is None else epochs):
            logits = stack(parameters, buffers, images)
            total = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            descend(optimizer, total / labels.shape[1])  # the sum of the networks' mean losses: gradients stay apart
    learned = parameters | buffers
    with torch.no_grad():
        for place, network in enumerate(networks):
            for name, own in (*network.named_parameters(), *network.named_buffers()):
                own.copy_(learned[name][place])
    return [share_of(optimizer.state_dict(), place) for place in range(len(networks))]


def share_of(state: dict[str, Any], place: int) -> dict[str, Any]:
    """Out of the state of an optimiser of stacked networks, that for `fit` to go on with one of them."""

    def own(value: Any) -> Any:
        return (value[place] if value.dim() else value).clone() if isinstance(value, Tensor) else value

    parameters = {number: {k: own(value) for k, value in kept.items()} for number, kept in state["state"].items()}
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
    """A copy in torch's usual memory layout, which is what `vmap` knows best; the other one is for single networks."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def can_be_stacked(network: nn.Module, samples: Samples, recipe: Recipe) -> bool:
    """Whether networks like this can be one function: not if they draw torch's random numbers or look at values."""
    if not len(samples):
        return False
    images = samples.subset(samples.index.new_zeros(2)).images
    try:
        stack, parameters, buffers = stacked([network, network])
        with computing(recipe, images.device):
            stack(parameters, buffers, torch.stack([images, images])).sum().backward()
    except Exception:  # whatever torch.vmap cannot do, or a network does not expect
        return False
    return True


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
