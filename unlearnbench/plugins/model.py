"""The contract of models: functions that build networks, split into an extractor and a head where that is possible."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.errors import UserError
from unlearnbench.plugins.contract import fail, naming, require
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.runtime import seeds
from unlearnbench.training import loop

PARTS = ("features", "head", "last_layer")
"""What a network has only if it is split."""


class NotSplitError(UserError, AttributeError):
    """A method needs the extractor, the head or the last layer of a network that is not split."""


class Network(nn.Module):
    """A classifier of images, split into an extractor and a head.

    Args:
        features: The extractor: float32 [B, C, H, W] in [0, 1] -> embeddings [B, D]. It normalises pixels itself.
        head: The classifier: embeddings [B, D] -> logits [B, classes].
        last_layer: The name of the last linear layer, as in `named_modules`.

    Attributes:
        made_of: For a network that was made of a module by `wrapped`: the name of the last linear layer in that module,
            "" if the module could not be split. None for other networks.
    """

    made_of: str | None = None

    def __init__(self, features: nn.Module, head: nn.Module, last_layer: str) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.last_layer = last_layer

    @classmethod
    def whole(cls, module: nn.Module) -> Network:
        """A network of a module that cannot be split: it has no `features`, `head` and `last_layer`."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network.module, network.made_of = module, ""
        return network

    @property
    def is_split(self) -> bool:
        """Whether it has an extractor and a head."""
        return self.made_of != ""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        logits: Tensor = self.head(self.features(images)) if self.is_split else self.module(images)
        return logits

    def __getattr__(self, name: str) -> Any:
        if name in PARTS and not self.is_split:
            raise NotSplitError(
                f"this network has no {name}: no linear layer of its module gives the logits. Leave out methods that "
                "need an extractor, a head or the last layer, or return Network(features, head, last_layer)"
            )
        return super().__getattr__(name)

    def names(self) -> dict[str, str]:
        """The name of each weight and buffer in the module that the network was made of, by its name here."""
        return {name: self._name_in_module(name) for name in self.state_dict()}

    def _name_in_module(self, name: str) -> str:
        part, _, rest = name.partition(".")
        if self.made_of is None:
            return name
        return f"{self.made_of}.{rest}" if part == "head" else rest


class Model(Plugin):
    """A function of image shape (C, H, W) and number of classes that builds a network."""

    kind = "model"

    def build(self, shape: tuple[int, int, int], num_classes: int, **options: Any) -> Network:
        """Builds a network; its initial weights are drawn from torch's global generator.

        Any module is a network: see `wrapped`.

        Raises:
            BrokenContractError: If the function returns anything else.
        """
        network: nn.Module = self.function(shape, num_classes, **options)
        kind = type(network)
        require(
            isinstance(network, nn.Module) and (kind is Network or not isinstance(network, Network)),
            f"it returns {kind.__name__}: return an nn.Module, or Network(features, head, last_layer), not a subclass",
        )
        return network if isinstance(network, Network) else wrapped(network, shape)


def model(*, title: str, reference: str = "") -> Callable[[Callable[..., nn.Module]], Model]:
    """Makes a function `(shape, num_classes, **options) -> Network`, or any module, a model of the suite."""
    return lambda function: Model(function, title=title, reference=reference)


def wrapped(module: nn.Module, shape: tuple[int, int, int]) -> Network:
    """Makes a network of any module, split at the linear layer whose outputs are the logits.

    That layer becomes the head, an `nn.Identity` takes its place, and the module is the extractor. A module without
    such a layer, for example one that ends in a convolution, is not split: see `Network.whole`.

    Args:
        module: Any classifier of images in [0, 1]; it is changed.
        shape: Channels, height and width of the images.
    """
    name = last_linear(module, shape)
    if not name:
        return Network.whole(module)
    head = module.get_submodule(name)
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, nn.Identity())
    network = Network(module, head, last_layer="head")
    network.made_of = name
    return network


@contextmanager
def made_of(network: Network) -> Iterator[nn.Module]:
    """In a block, the module that a network was made of, whole again; the network itself if it was made of none."""
    if network.made_of is None:
        yield network
        return
    if not network.is_split:
        yield network.module
        return
    parent, _, last = network.made_of.rpartition(".")
    holder = network.features.get_submodule(parent)
    setattr(holder, last, network.head)
    try:
        yield network.features
    finally:
        network.head = getattr(holder, last)
        setattr(holder, last, nn.Identity())


def last_linear(module: nn.Module, shape: tuple[int, int, int]) -> str:
    """The name of the linear layer whose outputs are the outputs of a module; "" if there is none.

    The module is applied to a black image. The layer must be used once, and have one name.
    """
    layers = [part for part in module.named_modules(remove_duplicate=False) if isinstance(part[1], nn.Linear)]
    calls: list[tuple[nn.Module, object]] = []
    hooks = [
        layer.register_forward_hook(lambda used, _, output: calls.append((used, output)))
        for layer in {layer for _, layer in layers}
    ]
    try:
        with torch.no_grad(), loop.in_eval_mode(module):
            outputs = module(torch.zeros(1, *shape, device=next(module.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    used = [layer for layer, output in calls if output is outputs]
    names = [name for name, layer in layers if used and layer is used[0]]
    is_unique = len(names) == 1 and [layer for layer, _ in calls].count(used[0]) == 1
    return names[0] if is_unique else ""


@dataclass(frozen=True)
class Builder:
    """Builds networks of one shape.

    Attributes:
        model: The plugin.
        options: Its options.
        shape: Channels, height and width of the images.
        num_classes: Number of logits.
        device: The device of the networks.
    """

    model: Model
    options: Mapping[str, Any]
    shape: tuple[int, int, int]
    num_classes: int
    device: torch.device

    def fresh(self, *stream: str | int) -> Network:
        """A network with new random weights; the same for the same stream."""
        with seeds.pinned(*stream, "weights"):
            return self.placed(self.model.build(self.shape, self.num_classes, **self.options))

    def trained(self, weights: Mapping[str, Tensor]) -> Network:
        """A network with the given weights and buffers."""
        network = self.fresh()
        network.load_state_dict(weights)
        return network

    def check(self, *stream: str | int) -> None:
        """Raises `BrokenContractError` unless the networks keep the contract, which a fresh one shows.

        Args:
            *stream: As of `fresh`.
        """
        with naming(f"model {self.model.title!r}"), seeds.pinned("check"):
            check_network(self, *stream)

    def placed(self, network: Network) -> Network:
        """The network on the device, in the memory layout in which convolutions are fastest."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


BATCH = 4
CLOSE = 1e-4
"""How much the other images of a batch may change an output, relative to the largest: sums have another order."""
CLOSE_ANYWHERE = 1e-2
"""Likewise on every device: GPUs round more coarsely. What depends on the batch is much farther apart."""


def check_network(builder: Builder, *stream: str | int) -> None:
    """Raises `BrokenContractError` unless networks of a model keep the contract; arguments as of `Builder.check`."""
    network = builder.fresh(*stream)
    require_copies(network)
    generator = seeds.generator("check", "images")
    images = torch.rand(BATCH, *builder.shape, generator=generator).to(builder.device)
    network.eval()
    with torch.no_grad():
        logits = network(images)
    require_logits(logits, images, builder.num_classes)
    require_no_probabilities(logits)
    if network.is_split:
        require_parts(network, images, logits)
        require_last_layer(network, images, logits)
    require_independence(network, images, logits)
    require_state(builder, network, images)


def require_copies(network: nn.Module) -> None:
    """Raises unless `copy.deepcopy` works."""
    try:
        copy.deepcopy(network)
    except Exception as error:  # anything that a plugin's attributes raise
        fail(f"copy.deepcopy raises {type(error).__name__}: {error}".splitlines()[0])


def require_logits(logits: object, images: Tensor, classes: int) -> None:
    """Raises unless outputs are finite float32 [B, classes]."""
    is_right = isinstance(logits, Tensor) and logits.shape == (len(images), classes) and logits.dtype == images.dtype
    what = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    require(is_right, f"for {len(images)} images and {classes} classes it gives {what}: give float32 [B, num_classes]")
    assert isinstance(logits, Tensor)
    require(bool(logits.isfinite().all()), "even with new weights its outputs are not finite")


def require_no_probabilities(logits: Tensor) -> None:
    """Raises if outputs are those of a softmax, or their logarithms."""
    ones = logits.new_ones(len(logits))
    are_probabilities = bool((logits >= 0).all()) and torch.allclose(logits.sum(1), ones, atol=1e-4)
    are_logarithms = torch.allclose(logits.exp().sum(1), ones, atol=1e-4)
    require(
        not are_probabilities and not are_logarithms,
        "its outputs are (log-)probabilities: remove the softmax at its end",
    )


@torch.no_grad()
def require_parts(network: Network, images: Tensor, logits: Tensor) -> None:
    """Raises unless features are [B, D], and the head gives the outputs for them."""
    embeddings = network.features(images)
    is_flat = embeddings.ndim == 2 and len(embeddings) == len(images)
    require(is_flat, f"features must be [B, D], not {list(embeddings.shape)}: end them with nn.Flatten()")
    require(torch.equal(network.head(embeddings), logits), "head(features(images)) are not the network's outputs")


@torch.no_grad()
def require_last_layer(network: Network, images: Tensor, logits: Tensor) -> None:
    """Raises unless `last_layer` is the name of the linear layer whose outputs are the logits."""
    modules = dict(network.named_modules())
    layer = modules.get(network.last_layer)
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    hint = f'such as "{linear[-1] if linear else "head"}"'
    require(isinstance(layer, nn.Linear), f"last_layer={network.last_layer!r} names no nn.Linear: name one, {hint}")
    assert isinstance(layer, nn.Linear)
    outputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    network(images)
    hook.remove()
    is_last = len(outputs) == 1 and outputs[0].shape == logits.shape and torch.equal(outputs[0], logits)
    require(is_last, f"the outputs of last_layer={network.last_layer!r} are not the logits: name the last one, {hint}")


@torch.no_grad()
def require_each_alone(network: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Raises as `require_independence` for a function of images, unless it is random anyway."""
    together, again = network(images.clone()), network(images.clone())
    if torch.equal(together, again):
        require_independence(network, images.clone(), together, CLOSE_ANYWHERE)


@torch.no_grad()
def require_independence(
    network: Callable[[Tensor], Tensor], images: Tensor, logits: Tensor, close: float = CLOSE
) -> None:
    """Raises if, in eval mode, the outputs for an image depend on the other images of its batch."""
    alone = torch.cat([network(image[None]) for image in images])
    is_close = alone.shape == logits.shape and float((alone - logits).abs().max()) <= close * float(logits.abs().max())
    require(is_close, "in eval mode outputs depend on the batch: use running statistics, and no dropout, in eval mode")


@torch.no_grad()
def require_state(builder: Builder, network: Network, images: Tensor) -> None:
    """Raises unless a network with the weights and buffers of another has the same outputs, also after training."""
    trained = copy.deepcopy(network).train()
    trained(images)  # changes running statistics
    rebuilt = builder.fresh("check", "rebuilt")
    rebuilt.load_state_dict(trained.state_dict())
    same = torch.equal(rebuilt.eval()(images), trained.eval()(images))
    require(same, "its state_dict is incomplete: register all state as parameters or persistent buffers")
