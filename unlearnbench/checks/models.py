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
from unlearnbench.checks.requirements import no_need, outcome, require
from unlearnbench.checks.watching import Watch, watched
from unlearnbench.plugins.model import Builder, Model, Network
from unlearnbench.runtime import seeds

SHAPES = ((3, 32, 32), (1, 28, 28), (3, 224, 224))
"""Images that a model is tried with; one size must do."""
CLASSES = 7
BATCH = 4
CLOSE = 1e-4
"""How much an answer may depend on the company of an image, relative to the largest: sums come in another order."""


@dataclass
class Bench:
    """A model, and networks of it."""

    name: str
    plugin: Model
    watch: Watch = field(default_factory=Watch)

    def builder(self, shape: tuple[int, int, int]) -> Builder:
        """Builds networks with the default options."""
        return Builder(self.plugin, self.plugin.defaults, shape, CLASSES, CPU)

    def network(self, seed: int = 0) -> Any:
        """A network with new weights, as the suite makes one."""
        with watched(self.watch):
            return self.builder(self.good[0]).fresh("check", seed)

    def images(self, shape: tuple[int, int, int], count: int = BATCH) -> Tensor:
        """Some pixels in [0, 1]."""
        return torch.rand(count, *shape, generator=seeds.generator("check", "images"))

    @cached_property
    def found(self) -> tuple[tuple[int, int, int], Any] | Exception:
        """The first size of images that it takes, and a network for it; or what was raised for the first of them."""
        first: Exception | None = None
        for shape in SHAPES:
            try:
                with watched(self.watch):
                    network = self.builder(shape).fresh("check", 0)
                with watched(self.watch), torch.no_grad():
                    network.eval()(self.images(shape, 1))
                return shape, network
            except Exception as error:  # whatever a plugin raises
                first = first or error
        assert first is not None
        return first

    @property
    def good(self) -> tuple[tuple[int, int, int], Any]:
        """As `found`, if it builds anything."""
        if isinstance(self.found, Exception):
            no_need(f"it builds no network: {self.found}")
        assert isinstance(self.found, tuple)
        return self.found

    @cached_property
    def still(self) -> tuple[Any, Tensor, Any]:
        """A network in eval mode, some images, and its answers."""
        shape, network = self.good
        images = self.images(shape)
        with torch.no_grad():
            return network.eval(), images, network(images)

    @property
    def split(self) -> Network:
        """The network, if it is one of the suite's."""
        if type(self.good[1]) is not Network:
            no_need("it does not give a Network")
        network: Network = self.still[0]
        return network


def builds_a_network(bench: Bench) -> None:
    """For a shape of images and a number of classes it gives an `unlearnbench.Network`."""
    found = bench.found
    if isinstance(found, Exception):
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in SHAPES)
        require(False, f"for none of {sizes} it gives something that answers; for the first it {outcome(found)}")
    else:
        kind = type(found[1])
        require(
            kind is Network, f"it gives {kind.__name__}: return Network(features, head, last_layer), not a subclass"
        )


def gives_logits(bench: Bench) -> None:
    """Answers are finite float32 [B, classes]."""
    _, images, found = bench.still
    right = isinstance(found, Tensor) and found.shape == (len(images), CLASSES) and found.dtype == torch.float32
    what = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    require(right, f"for {len(images)} images and {CLASSES} classes it gives {what}: give float32 [B, num_classes]")
    require(bool(found.isfinite().all()), "new weights already give numbers that are not finite")


def gives_no_probabilities(bench: Bench) -> None:
    """There is no softmax at its end: losses and attacks take logits."""
    _, _, found = bench.still
    if not isinstance(found, Tensor) or found.ndim != 2:
        no_need("it gives no logits")
    of_softmax = bool((found >= 0).all()) and torch.allclose(found.sum(1), torch.ones(len(found)), atol=1e-4)
    of_log = torch.allclose(found.exp().sum(1), torch.ones(len(found)), atol=1e-4)
    require(not of_softmax and not of_log, "its answers are (log-)probabilities: leave out the softmax at its end")


def is_split_into_features_and_head(bench: Bench) -> None:
    """`head(features(images))` is what it answers, and features are [B, D]."""
    network, images, found = bench.split, bench.still[1], bench.still[2]
    with torch.no_grad():
        embeddings = network.features(images)
        flat = embeddings.ndim == 2 and len(embeddings) == len(images)
        require(flat, f"features must be [B, D], not {list(embeddings.shape)}: end them with nn.Flatten()")
        require(torch.equal(network.head(embeddings), found), "head(features(images)) is not what the network answers")


def names_its_last_layer(bench: Bench) -> None:
    """`last_layer` is the name of the linear layer whose outputs are the logits."""
    network, images, logits = bench.split, bench.still[1], bench.still[2]
    named = dict(network.named_modules()).get(network.last_layer)
    hint = (
        f'such as "{next((n for n, m in reversed(list(network.named_modules())) if isinstance(m, nn.Linear)), "head")}"'
    )
    require(isinstance(named, nn.Linear), f"last_layer={network.last_layer!r} names no nn.Linear: name one, {hint}")
    assert isinstance(named, nn.Linear)
    seen: list[Tensor] = []
    hook = named.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(images)
    hook.remove()
    last = len(seen) == 1 and seen[0].shape == logits.shape and torch.equal(seen[0], logits)
    require(last, f"the outputs of last_layer={network.last_layer!r} are not the logits: name the last one, {hint}")


def is_reproducible(bench: Bench) -> None:
    """With the same seed it gets the same weights."""
    require(
        equal(bench.network().state_dict(), bench.network().state_dict()),
        "two networks with one seed differ: draw weights from torch's global generator, which the suite seeds",
    )


def changes_with_the_seed(bench: Bench) -> None:
    """With another seed it gets other weights."""
    other = bench.network(seed=1).state_dict()
    require(
        not equal(bench.network().state_dict(), other),
        "all seeds get the same weights: leave seeding to the suite, and do not load weights",
    )


def answers_each_image_by_itself(bench: Bench) -> None:
    """In eval mode an answer does not depend on the other images of its batch."""
    network, images, found = bench.still
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
    gap = float((alone - found).abs().max() / found.abs().max().clamp_min(1e-12)) if alone.shape == found.shape else 1.0
    require(
        gap < CLOSE, "in eval mode answers depend on the batch: use running statistics, and no dropout, in eval mode"
    )


def learns_with_all_its_weights(bench: Bench) -> None:
    """A backward pass in train mode gives every weight a finite gradient."""
    network = copied(bench).train()
    labels = torch.arange(BATCH) % CLASSES
    nn.functional.cross_entropy(network(bench.still[1]), labels).backward()
    for name, weights in network.named_parameters():
        require(weights.grad is not None, f"{name} gets no gradient: remove it, or make the answer depend on it")
        require(bool(weights.grad.isfinite().all()), f"the gradient of {name} is not finite")


def can_be_rebuilt_from_weights(bench: Bench) -> None:
    """A network with the weights and buffers of another gives the same answers, also after training steps."""
    network = copied(bench).train()
    with torch.no_grad():
        network(bench.still[1])  # moves running statistics
        twin = bench.network(seed=2)
        twin.load_state_dict(network.state_dict())
        same = torch.equal(twin.eval()(bench.still[1]), network.eval()(bench.still[1]))
    require(same, "its state_dict is not all that it is: register what it needs as parameters or persistent buffers")


def can_be_copied(bench: Bench) -> None:
    """`copy.deepcopy` works: methods get copies."""
    _, network = bench.good
    try:
        copy.deepcopy(network)
    except Exception as error:  # whatever a plugin's attributes raise
        require(False, f"copy.deepcopy raises {type(error).__name__}: {error}".splitlines()[0])


def can_be_planned_without_memory(bench: Bench) -> None:
    """It can be built on torch's device "meta", where the suite counts weights and operations."""
    shape, _ = bench.good
    try:
        with watched(bench.watch), torch.device("meta"):
            bench.plugin.build(shape, CLASSES, **bench.plugin.defaults)(torch.rand(2, *shape)).sum().backward()
    except Exception as error:  # whatever a plugin raises
        require(False, f"on device meta it raises {type(error).__name__}: {error}; build it without looking at values")


def copied(bench: Bench) -> Any:
    """A copy of the network."""
    _, network = bench.good
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever a plugin's attributes raise
        return no_need(f"it cannot be copied: {error}")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two networks have the same weights and buffers."""
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
    answers_each_image_by_itself,
    learns_with_all_its_weights,
    can_be_rebuilt_from_weights,
    can_be_copied,
    can_be_planned_without_memory,
    requirements.restores_global_settings,
)
