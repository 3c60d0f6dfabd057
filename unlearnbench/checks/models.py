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
from unlearnbench.plugins.model import (
    BATCH,
    Builder,
    Model,
    Network,
    require_copies,
    require_independence,
    require_last_layer,
    require_logits,
    require_no_probabilities,
    require_parts,
    require_state,
)
from unlearnbench.runtime import seeds

Shape = tuple[int, int, int]
SHAPES: tuple[Shape, ...] = ((3, 32, 32), (1, 28, 28), (3, 224, 224))
"""The shapes of images that are tried; the model must accept one of them."""
CLASSES = 7


@dataclass
class Bench:
    """A model under test."""

    name: str
    plugin: Model
    shapes: tuple[Shape, ...] = SHAPES
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
        for shape in self.shapes:
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
            skip("it builds no network: see builds-a-network")
        return self.result

    @cached_property
    def forward(self) -> tuple[Any, Tensor, Any]:
        """A network in eval mode, some images, and its outputs."""
        shape, network = self.built()
        images = self.images(shape)
        with torch.no_grad():
            return network.eval(), images, network(images)

    def network(self) -> Network:
        """The network in eval mode; if it is not split, the check is skipped."""
        network: Network = self.forward[0]
        if not network.is_split:
            skip("no linear layer of its module gives the logits: methods that need embeddings cannot use it")
        return network

    def copied_network(self) -> Any:
        """A copy of the network; without one the check is skipped."""
        _, network = self.built()
        try:
            return copy.deepcopy(network)
        except Exception:  # anything that a plugin's attributes raise
            skip("it cannot be copied: see can-be-copied")


def builds_a_network(bench: Bench) -> None:
    """For a shape of images and a number of classes it returns an `unlearnbench.Network`, or any module."""
    result = bench.result
    if isinstance(result, Exception):
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in bench.shapes)
        fail(
            f"for none of {sizes} it builds a network with outputs; for the first it {outcome(bench, result)}. "
            "--shape C,H,W tries another size"
        )


def gives_logits(bench: Bench) -> None:
    """Its outputs are finite float32 [B, classes]."""
    _, images, logits = bench.forward
    require_logits(logits, images, CLASSES)


def gives_no_probabilities(bench: Bench) -> None:
    """It does not end in a softmax: losses and attacks take logits."""
    _, _, logits = bench.forward
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        skip("it gives no logits")
    require_no_probabilities(logits)


def is_split_into_features_and_head(bench: Bench) -> None:
    """`head(features(images))` are its outputs, and features are [B, D]."""
    network, (_, images, logits) = bench.network(), bench.forward
    require_parts(network, images, logits)


def names_its_last_layer(bench: Bench) -> None:
    """`last_layer` is the name of the linear layer whose outputs are the logits."""
    network, (_, images, logits) = bench.network(), bench.forward
    require_last_layer(network, images, logits)


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
    require_independence(*bench.forward)


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
    shape, _ = bench.built()
    with recording(bench.effects):
        require_state(bench.builder(shape), bench.copied_network(), bench.forward[1])


def can_be_copied(bench: Bench) -> None:
    """`copy.deepcopy` works: methods get copies."""
    _, network = bench.built()
    require_copies(network)


def can_be_planned_without_memory(bench: Bench) -> None:
    """It can be built on torch's device "meta", where the suite counts weights and operations."""
    shape, _ = bench.built()
    try:
        with recording(bench.effects), torch.device("meta"):
            bench.plugin.build(shape, CLASSES, **bench.plugin.defaults)(torch.rand(2, *shape)).sum().backward()
    except Exception as error:  # anything that a plugin raises
        fail(f"on device meta it {outcome(bench, error)}; build it without reading values")


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
