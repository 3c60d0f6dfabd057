"""What a model must do."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.checks import requirements
from unlearnbench.checks.material import CPU
from unlearnbench.checks.requirements import outcome, skip
from unlearnbench.checks.side_effects import SideEffects, recording
from unlearnbench.plugins.contract import fail, require
from unlearnbench.plugins.model import Builder, Model, Network
from unlearnbench.runtime import seeds

Shape = tuple[int, int, int]
SHAPES: tuple[Shape, ...] = ((3, 32, 32), (1, 28, 28), (3, 224, 224))
"""The shapes of images that are tried; the model must accept one of them."""
CLASSES = 7
BATCH = 4
CLOSE = 1e-4
"""How much the other images of a batch may change an output, relative to the largest: sums have another order."""


@dataclass
class Bench:
    """A model under test."""

    name: str
    plugin: Model
    effects: SideEffects = field(default_factory=SideEffects)

    def builder(self, shape: Shape) -> Builder:
        """Builds networks with the default options."""
        return Builder(self.plugin, self.plugin.defaults, shape, CLASSES, CPU)

    def fresh(self, seed: int = 0) -> Any:
        """A network with new weights, built as in the suite."""
        shape, _ = self.built()
        with recording(self.effects):
            return self.builder(shape).fresh("check", seed)

    def images(self, shape: Shape, count: int = BATCH) -> Tensor:
        """Random pixels in [0, 1], float32 [count, C, H, W]."""
        return torch.rand(count, *shape, generator=seeds.generator("check", "images"))

    @cached_property
    def result(self) -> tuple[Shape, Any] | Exception:
        """The first shape that it accepts and a network for it; or the exception that it raises for the first shape."""
        errors = []
        for shape in SHAPES:
            try:
                with recording(self.effects):
                    network = self.builder(shape).fresh("check", 0)
                with recording(self.effects), torch.no_grad():
                    network.eval()(self.images(shape, 1))
                return shape, network
            except Exception as error:  # anything that a plugin raises
                errors.append(error)
        return errors[0]

    def built(self) -> tuple[Shape, Any]:
        """A shape and a network; without a network the check is skipped."""
        if isinstance(self.result, Exception):
            skip(f"it builds no network: {self.result}")
        return self.result

    @cached_property
    def forward(self) -> tuple[Any, Tensor, Any]:
        """A network in eval mode, some images, and its outputs."""
        shape, network = self.built()
        images = self.images(shape)
        with torch.no_grad():
            return network.eval(), images, network(images)

    def network(self) -> Network:
        """The network in eval mode; if it is no `Network`, the check is skipped."""
        if type(self.forward[0]) is not Network:
            skip("it does not return a Network")
        network: Network = self.forward[0]
        return network

    def copied_network(self) -> Any:
        """A copy of the network; without one the check is skipped."""
        _, network = self.built()
        try:
            return copy.deepcopy(network)
        except Exception as error:  # anything that a plugin's attributes raise
            skip(f"it cannot be copied: {error}")


def builds_a_network(bench: Bench) -> None:
    """For a shape of images and a number of classes it returns an `unlearnbench.Network`."""
    result = bench.result
    if isinstance(result, Exception):
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in SHAPES)
        fail(f"for none of {sizes} it builds a network with outputs; for the first it {outcome(result)}")
    else:
        kind = type(result[1])
        require(
            kind is Network, f"it returns {kind.__name__}: return Network(features, head, last_layer), not a subclass"
        )


def gives_logits(bench: Bench) -> None:
    """Its outputs are finite float32 [B, classes]."""
    _, images, logits = bench.forward
    is_right = isinstance(logits, Tensor) and logits.shape == (len(images), CLASSES) and logits.dtype == torch.float32
    what = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    require(is_right, f"for {len(images)} images and {CLASSES} classes it gives {what}: give float32 [B, num_classes]")
    require(bool(logits.isfinite().all()), "even with new weights its outputs are not finite")


def gives_no_probabilities(bench: Bench) -> None:
    """It does not end in a softmax: losses and attacks take logits."""
    _, _, logits = bench.forward
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        skip("it gives no logits")
    ones = torch.ones(len(logits))
    are_probabilities = bool((logits >= 0).all()) and torch.allclose(logits.sum(1), ones, atol=1e-4)
    are_logarithms = torch.allclose(logits.exp().sum(1), ones, atol=1e-4)
    require(
        not are_probabilities and not are_logarithms,
        "its outputs are (log-)probabilities: remove the softmax at its end",
    )


def is_split_into_features_and_head(bench: Bench) -> None:
    """`head(features(images))` are its outputs, and features are [B, D]."""
    network, (_, images, logits) = bench.network(), bench.forward
    with torch.no_grad():
        embeddings = network.features(images)
        is_flat = embeddings.ndim == 2 and len(embeddings) == len(images)
        require(is_flat, f"features must be [B, D], not {list(embeddings.shape)}: end them with nn.Flatten()")
        require(torch.equal(network.head(embeddings), logits), "head(features(images)) are not the network's outputs")


def names_its_last_layer(bench: Bench) -> None:
    """`last_layer` is the name of the linear layer whose outputs are the logits."""
    network, (_, images, logits) = bench.network(), bench.forward
    modules = dict(network.named_modules())
    layer = modules.get(network.last_layer)
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    hint = f'such as "{linear[-1] if linear else "head"}"'
    require(isinstance(layer, nn.Linear), f"last_layer={network.last_layer!r} names no nn.Linear: name one, {hint}")
    assert isinstance(layer, nn.Linear)
    outputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        network(images)
    hook.remove()
    is_last = len(outputs) == 1 and outputs[0].shape == logits.shape and torch.equal(outputs[0], logits)
    require(is_last, f"the outputs of last_layer={network.last_layer!r} are not the logits: name the last one, {hint}")


def is_reproducible(bench: Bench) -> None:
    """With the same seed it has the same weights."""
    require(
        equal(bench.fresh().state_dict(), bench.fresh().state_dict()),
        "two networks with one seed differ: draw weights from torch's global generator, which the suite seeds",
    )


def changes_with_the_seed(bench: Bench) -> None:
    """With another seed it has other weights."""
    require(
        not equal(bench.fresh().state_dict(), bench.fresh(seed=1).state_dict()),
        "all seeds give the same weights: leave seeding to the suite, and do not load weights",
    )


def has_outputs_independent_of_the_batch(bench: Bench) -> None:
    """In eval mode the outputs for an image do not depend on the other images of its batch."""
    network, images, logits = bench.forward
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
    is_close = alone.shape == logits.shape and float((alone - logits).abs().max()) <= CLOSE * float(logits.abs().max())
    require(is_close, "in eval mode outputs depend on the batch: use running statistics, and no dropout, in eval mode")


def learns_with_all_its_weights(bench: Bench) -> None:
    """A backward pass in train mode gives every weight a finite gradient."""
    network = bench.copied_network().train()
    labels = torch.arange(BATCH) % CLASSES
    nn.functional.cross_entropy(network(bench.forward[1]), labels).backward()
    for name, weights in network.named_parameters():
        require(weights.grad is not None, f"{name} gets no gradient: remove it, or use it in the forward pass")
        require(bool(weights.grad.isfinite().all()), f"the gradient of {name} is not finite")


def can_be_rebuilt_from_weights(bench: Bench) -> None:
    """A network with the weights and buffers of another has the same outputs, also after training steps."""
    network, images = bench.copied_network().train(), bench.forward[1]
    with torch.no_grad():
        network(images)  # changes running statistics
        rebuilt = bench.fresh(seed=2)
        rebuilt.load_state_dict(network.state_dict())
        same = torch.equal(rebuilt.eval()(images), network.eval()(images))
    require(same, "its state_dict is incomplete: register all state as parameters or persistent buffers")


def can_be_copied(bench: Bench) -> None:
    """`copy.deepcopy` works: methods get copies."""
    _, network = bench.built()
    try:
        copy.deepcopy(network)
    except Exception as error:  # anything that a plugin's attributes raise
        fail(f"copy.deepcopy {outcome(error)}".splitlines()[0])


def can_be_planned_without_memory(bench: Bench) -> None:
    """It can be built on torch's device "meta", where the suite counts weights and operations."""
    shape, _ = bench.built()
    try:
        with recording(bench.effects), torch.device("meta"):
            bench.plugin.build(shape, CLASSES, **bench.plugin.defaults)(torch.rand(2, *shape)).sum().backward()
    except Exception as error:  # anything that a plugin raises
        fail(f"on device meta it {outcome(error)}; build it without reading values")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """True if two networks have the same weights and buffers."""
    return all(torch.equal(one[name], other[name]) for name in one)


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    builds_a_network,
    gives_logits,
    gives_no_probabilities,
    is_split_into_features_and_head,
    names_its_last_layer,
    is_reproducible,
    changes_with_the_seed,
    has_outputs_independent_of_the_batch,
    learns_with_all_its_weights,
    can_be_rebuilt_from_weights,
    can_be_copied,
    can_be_planned_without_memory,
    requirements.restores_global_settings,
)
