"""What a method is handed: the network that must forget, and as much of the data as it declared that it sees."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.errors import AccessError
from unlearnbench.plugins.method import Access
from unlearnbench.plugins.model import Builder, Network
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Batch, Samples, TrainingSet


@dataclass(frozen=True)
class View:
    """The data of a phase after everything that was not declared has been removed.

    Attributes:
        train: The whole training set; only while preparing.
        forget: The items to be forgotten; only afterwards, as the next two.
        retain: The retain set, likewise.
        labelled: A labelled sample of the others.
        validation: Items like the forgotten ones that no network was trained on.
    """

    train: Samples | None = None
    forget: Samples | None = None
    retain: Samples | None = None
    labelled: Samples | None = None
    validation: Samples | None = None


def view_to_prepare(training_set: TrainingSet, access: Access, generator: torch.Generator) -> View:
    """What a method with this access sees before anybody asks to be forgotten."""
    return View(train=training_set.everything(generator, access.prepare))


def view_to_forget(training_set: TrainingSet, access: Access, forget: Tensor, generator: torch.Generator) -> View:
    """What a method with this access sees when the items at `forget` (int64) must go."""
    remains = torch.ones(len(training_set.labels), dtype=torch.bool)
    remains[forget] = False
    retain = remains.nonzero()[:, 0]
    labelled = None
    if access.retain == "sample-labels":
        sample = retain[torch.randperm(len(retain), generator=generator)[: len(forget)]]
        labelled = training_set.samples(sample, "labels", generator, "the labelled sample")
    return View(
        forget=training_set.samples(forget, access.forget, generator, "the forget set"),
        retain=training_set.samples(retain, access.retain, generator, "the retain set"),
        labelled=labelled,
    )


@dataclass(frozen=True)
class Problem:
    """What a method is handed.

    Attributes:
        original: The network that was trained on everything: frozen, in eval mode; gradients to inputs are allowed.
        recipe: How the original was trained.
        num_classes: Number of classes.
        device: Where networks and data are.
        generator: For the method's random draws (on the CPU); the global generators are seeded, too, in their own way.
        prepared: What the method's first phase returned; empty before and without one.
    """

    original: Network
    recipe: Recipe
    num_classes: int
    device: torch.device
    generator: torch.Generator
    _builder: Builder = field(repr=False)
    _view: View = field(repr=False)
    _stream: Sequence[str | int] = field(repr=False)
    _start: Network | None = field(default=None, repr=False)
    _room: int = field(default=1, repr=False)
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    _embeddings: dict[tuple[nn.Module, Samples, int], Tensor] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> Samples:
        """The whole training set, while preparing.

        Raises:
            AccessError: Afterwards, or if `Access(prepare=...)` was not declared.
        """
        return _declared(self._view.train, "train", 'Access(prepare="images") and only in the preparing phase')

    @property
    def forget(self) -> Samples:
        """The items to be forgotten.

        Raises:
            AccessError: While preparing, or if `Access(forget=...)` was not declared.
        """
        return _declared(self._view.forget, "forget", 'Access(forget="images") and only after the preparing phase')

    @property
    def retain(self) -> Samples:
        """The other items.

        Raises:
            AccessError: While preparing, or if `Access(retain=...)` was not declared.
        """
        return _declared(self._view.retain, "retain", 'Access(retain="images") and only after the preparing phase')

    @property
    def labelled(self) -> Samples:
        """A labelled random sample of the other items, as large as the forget set.

        Raises:
            AccessError: While preparing, or unless `Access(retain="sample-labels")` was declared.
        """
        return _declared(self._view.labelled, "labelled", 'Access(retain="sample-labels")')

    @property
    def validation(self) -> Samples:
        """Items that the recipe holds out, of the forgotten items' classes, and labelled as these were.

        Raises:
            AccessError: While preparing, or if `Access(validation=...)` was not declared.
        """
        return _declared(self._view.validation, "validation", 'Access(validation="labels")')

    def network(self) -> Network:
        """A copy of the original, or of the result of the method named by `start=`, in train mode, to be changed."""
        return copy.deepcopy(self._start or self.original).requires_grad_(True).train()

    def fresh_network(self, stream: str = "fresh") -> Network:
        """A network with new random weights, other than the original's; the same for the same stream."""
        return self._builder.fresh(*self._stream, stream)

    def fit(
        self,
        samples: Samples,
        network: Network | None = None,
        epochs: int | None = None,
        state: dict[str, Any] | None = None,
        stream: str = "fit",
    ) -> tuple[Network, dict[str, Any]]:
        """Trains with the benchmark's own loop and recipe.

        Args:
            samples: Images and labels.
            network: What to train, in place; a fresh network of this stream if None.
            epochs: Instead of the recipe's.
            state: The optimiser's state to go on from.
            stream: Names the random numbers for the weights and the order of the samples.

        Returns:
            The network and the optimiser's state.
        """
        network = self.fresh_network(stream) if network is None else network
        ordered = samples.shuffled_by(seeds.generator(*self._stream, stream, "order"))
        return network, loop.fit(network, ordered, self.recipe, epochs, state)

    def fit_each(
        self, samples: Sequence[Samples], streams: Sequence[str], epochs: int | None = None
    ) -> Iterator[tuple[Network, dict[str, Any]]]:
        """Trains several fresh networks, each as `fit` would; on a GPU several at once, where that is faster.

        Args:
            samples: Images and labels, for each network its own.
            streams: Names the random numbers for the weights and the order of the samples of each.
            epochs: Instead of the recipe's.

        Yields:
            Each network with its optimiser's state, for `fit` to go on from; whoever keeps none needs little memory.
        """
        room = self._room if len(samples) > 1 else 1
        if room == 1 or not loop.can_be_stacked(self.fresh_network(streams[0]), samples[0], self.recipe):
            for part, stream in zip(samples, streams, strict=True):
                yield self.fit(part, None, epochs, stream=stream)
            return
        for start in range(0, len(samples), room):
            some = streams[start : start + room]
            networks = [self.fresh_network(stream) for stream in some]
            orders = [seeds.generator(*self._stream, stream, "order") for stream in some]
            parts = [part.shuffled_by(order) for part, order in zip(samples[start : start + room], orders, strict=True)]
            yield from zip(networks, loop.fit_together(networks, parts, self.recipe, epochs), strict=True)

    def features(self, network: Network, of: Samples | Batch) -> Tensor:
        """Embeddings (float32 [n, D]) of samples, or of a batch of them, under a frozen network.

        They are computed once, but for batches that the recipe augments.

        Raises:
            ValueError: If the network can still learn, so that its embeddings would change.
        """
        if any(p.requires_grad for p in network.parameters()):
            raise ValueError("features() keeps what it computes, so it wants a frozen network: requires_grad_(False)")
        samples = of.samples if isinstance(of, Batch) else of
        prepare = samples.pipeline.plain
        if isinstance(of, Batch) and samples.pipeline.augment:
            with torch.no_grad():
                changed: Tensor = network.features(of.images)
            return changed
        key = network, samples, sum(p._version for p in network.parameters())  # counts changes of the weights
        if key not in self._embeddings:
            self._embeddings[key] = loop.predict(network.features, samples.pixels, prepare)
        embeddings = self._embeddings[key]
        return embeddings[of.rows] if isinstance(of, Batch) else embeddings


def _declared(samples: Samples | None, name: str, how: str) -> Samples:
    if samples is None:
        raise AccessError(f"problem.{name} is not accessible: it needs {how}")
    return samples
