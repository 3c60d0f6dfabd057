"""The input of a method: the network that must forget, and the parts of the data that the method declared to see."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from unlearnbench.errors import AccessError, NotApplicableError, UserError
from unlearnbench.plugins.access import Access
from unlearnbench.plugins.contract import Renamed
from unlearnbench.plugins.model import Builder, Network
from unlearnbench.plugins.trainer import Trainer
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Batch, Samples, TrainingSet

Part = TypeVar("Part", Samples, Tensor, "HiddenSize")


class HiddenSize(NamedTuple):
    """The size of the hidden part of what must be forgotten.

    Attributes:
        samples: The number of samples.
        classes: The number of classes, as the network was trained on them.
    """

    samples: int
    classes: int


@dataclass(frozen=True)
class View:
    """The data of a phase, without everything that was not declared.

    Attributes:
        train: The whole training set; only in the preparing phase.
        forget: The forget set; only afterwards, as all of the following.
        retain: The retain set.
        labelled: A labelled sample of the retain set.
        classes: The classes of the forget set, if it is all of their samples; int64 [k].
        validation: Samples like the forgotten ones that no network was trained on.
        hidden: True for samples of the retain set that must be forgotten although they are not in the forget set;
            bool [n].
        hidden_size: How many samples and classes these are.
    """

    train: Samples | None = None
    forget: Samples | None = None
    retain: Samples | None = None
    labelled: Samples | None = None
    classes: Tensor | None = None
    validation: Samples | None = None
    hidden: Tensor | None = None
    hidden_size: HiddenSize | None = None


@dataclass(frozen=True)
class Problem:
    """The input of a method.

    Attributes:
        original: The network that was trained on everything: frozen, in eval mode; gradients to inputs are allowed.
        recipe: How the original was trained.
        num_classes: Number of classes.
        device: Where networks and data are.
        generator: For the method's random draws (on the CPU). The suite seeds the global generators, too.
        prepared: The result of the method's preparing phase; empty during that phase and for methods without one.
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
    _trainer: Trainer | None = field(default=None, repr=False)
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    _embeddings: dict[tuple[nn.Module, Samples, int], Tensor] = field(default_factory=dict, repr=False)
    _reported: list[Tensor] = field(default_factory=list, repr=False)
    remain = Renamed("problem.remain")

    @property
    def train(self) -> Samples:
        """The whole training set; only in the preparing phase.

        Raises:
            AccessError: Afterwards, or without `Access(prepare=...)`.
        """
        return _declared(self._view.train, "train", 'Access(prepare="images") and only in the preparing phase')

    @property
    def forget(self) -> Samples:
        """The forget set.

        Raises:
            AccessError: In the preparing phase, or without `Access(forget=...)`.
        """
        return _declared(self._view.forget, "forget", 'Access(forget="images") and only after the preparing phase')

    @property
    def retain(self) -> Samples:
        """The retain set.

        Raises:
            AccessError: In the preparing phase, or without `Access(retain=...)`.
        """
        return _declared(self._view.retain, "retain", 'Access(retain="images") and only after the preparing phase')

    @property
    def forgotten_classes(self) -> Tensor:
        """The classes that must be forgotten, int64, ascending: no sample of them is in the retain set.

        Raises:
            AccessError: In the preparing phase, or without `Access(forget="classes")`.
        """
        return _declared(self._view.classes, "forgotten_classes", 'Access(forget="classes")')

    @property
    def labelled(self) -> Samples:
        """A random sample of the retain set, with labels, as large as the forget set or as `supervision` says.

        Raises:
            AccessError: In the preparing phase, or without `Access(retain="sample-labels")`.
        """
        return _declared(self._view.labelled, "labelled", 'Access(retain="sample-labels")')

    @property
    def validation(self) -> Samples:
        """Held-out training samples of the forgotten samples' classes, labelled in the same way as these.

        Raises:
            AccessError: In the preparing phase, or without `Access(validation=...)`.
        """
        return _declared(self._view.validation, "validation", 'Access(validation="labels")')

    @property
    def hidden(self) -> Tensor:
        """A mask (bool [n]) of the samples of `retain` that must be forgotten although they are not in `forget`.

        Raises:
            AccessError: In the preparing phase, or without `Access(hidden="status")`.
        """
        return _declared(self._view.hidden, "hidden", 'Access(hidden="status") and only after the preparing phase')

    @property
    def hidden_size(self) -> HiddenSize:
        """How many samples and classes of `retain` must be forgotten, too; zeros for most tasks.

        Raises:
            AccessError: In the preparing phase, or without `Access(hidden="size")`.
        """
        return _declared(self._view.hidden_size, "hidden_size", 'Access(hidden="size") and only after preparing')

    def report_hidden(self, found: Tensor) -> None:
        """Reports which samples of `retain` the method takes for hidden ones; records have how right it is.

        Args:
            found: bool [n].
        """
        self._reported[:] = [self.retain.index[found]]

    @property
    def reported(self) -> Tensor | None:
        """int64, ascending: the positions in the training set of what was reported last; None if nothing was."""
        return self._reported[0].cpu().sort().values if self._reported else None

    def network(self) -> Network:
        """A copy, in train mode, of the original, or of the result of the method named by `start=`."""
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

        If the preset names a training function of the user's, that one trains fresh networks for all their epochs.

        Args:
            samples: Images and labels.
            network: Is trained in place; None: a fresh network of this stream.
            epochs: Instead of the recipe's.
            state: The optimiser's state to continue from.
            stream: Names the random numbers for the weights and the order of the samples.

        Returns:
            The network and the optimiser's state; that is empty after the user's function.

        Raises:
            UserError: If the recipe has no epochs, and `epochs` is None.
        """
        if self._trainer and network is None and epochs is None and state is None:
            network = self.fresh_network(stream)
            self._trainer.fit(network, samples, *self._stream, stream)
            return network, {"state": {}}
        self._check_epochs(epochs)
        network = self.fresh_network(stream) if network is None else network
        ordered = samples.shuffled_by(seeds.generator(*self._stream, stream, "order"))
        return network, loop.fit(network, ordered, self.recipe, epochs, state)

    def fit_each(
        self, samples: Sequence[Samples], streams: Sequence[str], epochs: int | None = None
    ) -> Iterator[tuple[Network, dict[str, Any]]]:
        """Trains several fresh networks as `fit` does; on a GPU several at once, if that is faster.

        Args:
            samples: Images and labels, for each network its own.
            streams: Names the random numbers for the weights and the order of the samples of each.
            epochs: Instead of the recipe's.

        Yields:
            Each network with its optimiser's state, to continue with `fit`. It takes little memory to keep none.
        """
        room = self._room if len(samples) > 1 and not self._trainer else 1
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

    def _check_epochs(self, epochs: int | None) -> None:
        """Raises `UserError` if there is nothing that says how long to train."""
        if not self.recipe.epochs and not epochs:
            raise UserError(
                "the recipe has epochs = 0, so no network can be trained by it: set epochs in [recipe], or leave out "
                "methods that train networks of their own"
            )

    def logits(self, network: nn.Module, samples: Samples) -> Tensor:
        """The logits (float32 [n, classes]) of a network in eval mode on samples, in order, without augmentation."""
        return loop.predict(network, samples.pixels, samples.pipeline.plain)

    def features(self, network: Network, of: Samples | Batch) -> Tensor:
        """The embeddings (float32 [n, D]) of samples, or of a batch of them, under a frozen network.

        They are computed once, except for batches that the recipe augments.

        Raises:
            ValueError: If the network is not frozen: training would change its embeddings.
        """
        if any(p.requires_grad for p in network.parameters()):
            raise ValueError("features() keeps its results, so the network must be frozen: call requires_grad_(False)")
        samples = of.samples if isinstance(of, Batch) else of
        if isinstance(of, Batch) and samples.pipeline.augment:
            with torch.no_grad():
                embeddings: Tensor = network.features(of.images)
            return embeddings
        key = network, samples, sum(p._version for p in network.parameters())  # counts changes of the weights
        if key not in self._embeddings:
            self._embeddings[key] = loop.predict(network.features, samples.pixels, samples.pipeline.plain)
        kept = self._embeddings[key]
        return kept[of.rows] if isinstance(of, Batch) else kept


def _declared(part: Part | None, name: str, requirement: str) -> Part:
    if part is None:
        raise AccessError(f"problem.{name} is not accessible: it needs {requirement}")
    return part


def retained(total: int, forget: Tensor) -> Tensor:
    """int64: the positions of the retain set in a training set of `total` samples, ascending."""
    is_retained = torch.ones(total, dtype=torch.bool)
    is_retained[forget] = False
    return is_retained.nonzero()[:, 0]


def whole_classes(labels: Tensor, forget: Tensor, retain: Tensor) -> Tensor:
    """The classes of a forget set that is all samples of some classes; int64, ascending.

    Args:
        labels: Of the training set, int64 [N].
        forget: Positions of the forget set, int64.
        retain: Positions of the retain set, int64.

    Raises:
        NotApplicableError: If the retain set has samples of these classes, too, or nothing is forgotten.
    """
    classes: Tensor = labels[forget.to(labels.device)].unique()
    if not len(classes) or bool(torch.isin(labels[retain.to(labels.device)], classes).any()):
        raise NotApplicableError("it forgets whole classes, and here samples of the same classes are kept")
    return classes


@dataclass(frozen=True)
class Assembly:
    """Assembles the problems of a scenario: the only place that decides what a method gets.

    Attributes:
        training_set: All training samples, with the labels that the original was trained on.
        original: The network that was trained on them; is frozen and put into eval mode.
        recipe: How it was trained.
        builder: Builds networks of the same model.
        room: How many networks `Problem.fit_each` may train at once.
        trainer: Trains fresh networks in place of the recipe.
    """

    training_set: TrainingSet
    original: Network
    recipe: Recipe
    builder: Builder
    room: int = 1
    trainer: Trainer | None = None

    def __post_init__(self) -> None:
        self.original.requires_grad_(False).eval()

    def to_prepare(self, access: Access, stream: Sequence[str | int]) -> Problem:
        """The problem of the preparing phase.

        Args:
            access: Of the method.
            stream: Names the method's random numbers.
        """
        generator = seeds.generator(*stream)
        view = View(train=self.training_set.everything(generator, access.prepare))
        return self._problem(view, generator, stream)

    def to_forget(
        self,
        access: Access,
        stream: Sequence[str | int],
        forget: Tensor,
        *,
        labelled: Tensor | None = None,
        hidden: Tensor | None = None,
        validation: tuple[TrainingSet, Tensor] | None = None,
        prepared: Mapping[str, Tensor] | None = None,
        start: Network | None = None,
    ) -> Problem:
        """The problem of forgetting some samples.

        Args:
            access: Of the method.
            stream: Names the method's random numbers.
            forget: int64 [f], the positions of the forget set in the training set.
            labelled: int64 [k], the positions of the retained samples that have labels, if not all have; see `Access`.
            hidden: int64 [n], positions of samples outside of the forget set that must be forgotten, too; None: none.
            validation: Held-out samples, and the positions (int64) of those that are like the forgotten ones.
            prepared: The result of the preparing phase.
            start: The network that `Problem.network` copies instead of the original.

        Raises:
            NotApplicableError: If the method forgets whole classes, and the forget set is something else.
        """
        generator = seeds.generator(*stream)
        view = self._view_to_forget(access, forget, labelled, hidden, generator)
        if validation:
            held_out, like_forgotten = validation
            samples = held_out.samples(like_forgotten, access.validation, generator, "the held-out part")
            view = replace(view, validation=samples)
        device = self.builder.device
        on_device = {name: tensor.to(device) for name, tensor in (prepared or {}).items()}
        return replace(self._problem(view, generator, stream), prepared=on_device, _start=start)

    def _view_to_forget(
        self,
        access: Access,
        forget: Tensor,
        labelled: Tensor | None,
        hidden: Tensor | None,
        generator: torch.Generator,
    ) -> View:
        """The declared parts of forget set and retain set."""
        retain, sample = retained(len(self.training_set.labels), forget), None
        if access.retain == "sample-labels":
            if labelled is None:
                labelled = retain[torch.randperm(len(retain), generator=generator)[: len(forget)]]
            sample = self.training_set.samples(labelled, "labels", generator, "the labelled sample")
        elif access.retain == "labels" and labelled is not None:
            retain = labelled
        by_class = access.forget == "classes"
        return View(
            forget=self.training_set.samples(forget, None if by_class else access.forget, generator, "the forget set"),
            retain=self.training_set.samples(retain, access.retain, generator, "the retain set"),
            labelled=sample,
            classes=whole_classes(self.training_set.labels, forget, retain) if by_class else None,
            **self._knowledge(access, retain, hidden),
        )

    def _knowledge(self, access: Access, retain: Tensor, hidden: Tensor | None) -> dict[str, Any]:
        """What a method may know about hidden samples."""
        hidden = retain[:0] if hidden is None else hidden
        if access.hidden == "status":
            return {"hidden": torch.isin(retain, hidden).to(self.builder.device)}
        if access.hidden == "size":
            labels = self.training_set.labels[hidden.to(self.training_set.labels.device)]
            return {"hidden_size": HiddenSize(len(hidden), len(labels.unique()))}
        return {}

    def _problem(self, view: View, generator: torch.Generator, stream: Sequence[str | int]) -> Problem:
        return Problem(
            original=self.original,
            recipe=self.recipe,
            num_classes=self.builder.num_classes,
            device=self.builder.device,
            generator=generator,
            _builder=self.builder,
            _view=view,
            _stream=stream,
            _room=self.room,
            _trainer=self.trainer,
        )
