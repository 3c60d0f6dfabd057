"""Trainings by the benchmark's own loop: originals and shadow models, several at once where that is faster."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.plugins.model import Network
from unlearnbench.runtime import seeds
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.store import Content, Store
from unlearnbench.training import loop
from unlearnbench.training.samples import Samples, TrainingSet

FULL = 2e10
"""Floating-point operations of a step that keep a GPU busy for as long as its launch takes: 0.3 ms at 60 TFLOP/s. An
estimate: `benchmarks.together` measures it."""
MOST = 16
"""Trainings at once, at most: what is made together is lost together if the run is stopped or the memory is full."""
SHAPE = ("dataset", "model", "recipe", "on", "fleet", "train", "domain")
"""The parts of keys that trainings in one computation have in common."""


@dataclass(frozen=True)
class Training(Artefact):
    """An artefact that is trained by the recipe.

    Attributes:
        room: How many such trainings keep their device busy.
        beside: Others of the same shape that are made in the same computation, each under its own key.
    """

    work: ClassVar[str] = "training"

    room: int = 1
    beside: Sequence[Self] = ()

    @property
    def total_ep(self) -> float:
        """The passes of this training and of those beside it."""
        return self.ep + sum(training.ep for training in self.beside)

    @property
    def shape(self) -> str:
        """What trainings must have in common to be made in one computation."""
        return canonical([self.kind, *(self.key.get(name) for name in SHAPE)])

    def __str__(self) -> str:
        return super().__str__() + (f" and {len(self.beside)} more" if self.beside else "")

    def still_missing(self, store: Store) -> Self:
        """This training without what has been made since it was planned; unchanged if nothing is left to make."""
        missing = [one for one in (replace(self, beside=()), *self.beside) if not store.has(one.key)]
        return replace(missing[0], beside=missing[1:]) if missing else self

    def keep_beside(self, made: Sequence[Content], store: Store) -> None:
        """Saves what was trained beside this one, unless it is there by now or diverged.

        A training that diverged is made alone by the cell that needs it, whose record says so.
        """
        for training, (tensors, info) in zip(self.beside, made, strict=True):
            if not store.has(training.key) and all(tensor.isfinite().all() for tensor in tensors.values()):
                store.save(training.key, tensors, info)


@dataclass(frozen=True)
class Course:
    """The samples that one network is trained on.

    Attributes:
        training_set: All samples.
        index: int64 [n], the positions of those that it sees.
        stream: The name of its random numbers.
    """

    training_set: TrainingSet
    index: Tensor
    stream: Sequence[str | int]

    @cached_property
    def samples(self) -> Samples:
        """The samples that it sees, shuffled by a generator of their own."""
        generator = seeds.generator(*self.stream, "order")
        samples = self.training_set.samples(self.index, "labels", generator, "the training set")
        assert samples is not None
        return samples


def train(loaded: LoadedScenario, courses: Sequence[Course]) -> list[tuple[Network, dict[str, float]]]:
    """Trains new networks with a scenario's recipe, or with the user's training function.

    Returns:
        For each course its network, and for its share of the time: "seconds", "images/s", and "GFLOP/s" if known.

    Raises:
        UserError: If the networks do not keep the contract.
    """
    loaded.builder.check(*courses[0].stream)
    start, recipe = time.perf_counter(), loaded.scenario.recipe
    networks, samples = [loaded.builder.fresh(*c.stream) for c in courses], [course.samples for course in courses]
    trainer = loaded.scenario.supplied.trainer
    if trainer:
        for network, course in zip(networks, courses, strict=True):
            trainer.fit(network, course.samples, *course.stream)
    elif len(courses) > 1 and loop.can_be_stacked(networks[0], samples[0], recipe):
        loop.fit_together(networks, samples, recipe)
    else:
        for network, course in zip(networks, courses, strict=True):
            with seeds.pinned(*course.stream, "training"):  # for networks that draw random numbers themselves
                loop.fit(network, course.samples, recipe)
    wait_for(loaded.device)
    seconds = (time.perf_counter() - start) / len(courses)
    return [(n, speed(loaded, len(part), seconds)) for n, part in zip(networks, samples, strict=True)]


def speed(loaded: LoadedScenario, images: int, seconds: float) -> dict[str, float]:
    """The speed of a training on this many images; only the seconds if the user's function trains."""
    if loaded.scenario.supplied.trainer:
        return {"seconds": seconds}
    rate = images * loaded.scenario.recipe.epochs / seconds
    return {"seconds": seconds, "images/s": rate, **({"GFLOP/s": rate * loaded.flop / 1e9} if loaded.flop else {})}


def wait_for(device: torch.device) -> None:
    """Waits until a GPU has finished its work, so that the time since it began can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def room_for(loaded: LoadedScenario) -> int:
    """How many trainings at once keep a scenario's device busy: several on a GPU if steps are small."""
    if loaded.scenario.device != "cuda" or loaded.scenario.supplied.trainer:
        return 1
    step = loaded.scenario.recipe.batch * loaded.flop
    return max(1, min(MOST, round(FULL / step))) if step else 1


def together(trainings: Iterable[Training]) -> Iterator[Training]:
    """Groups trainings of one shape, as many as there is room for; each group is one training with others beside it."""
    groups: dict[str, list[Training]] = {}
    for training in trainings:
        groups.setdefault(training.shape if training.room > 1 else training.digest, []).append(training)
    for group in groups.values():
        room = group[0].room
        for start in range(0, len(group), room):
            yield replace(group[start], beside=group[start + 1 : start + room])
