"""How each artefact is made: train, prepare, unlearn, predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts import data, relearning
from unlearnbench.artefacts.jobs import Job, room_for, training_flop
from unlearnbench.artefacts.scenario import (
    Scenario,
    content_of,
    forget_data,
    rehearsal_of,
    rehearsal_split,
    shadow_members,
    shadow_split,
    shape_of,
    split_of,
)
from unlearnbench.artefacts.versions import of_plugin
from unlearnbench.errors import StorageError
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.fingerprint import current_fingerprint
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder, Model, Network
from unlearnbench.plugins.problem import Problem, View, view_to_forget, view_to_prepare
from unlearnbench.plugins.task import Split
from unlearnbench.runtime import seeds
from unlearnbench.runtime.arithmetic import check_current
from unlearnbench.runtime.time_limit import limited
from unlearnbench.runtime.timing import spending
from unlearnbench.storage.store import Made, Store
from unlearnbench.training import loop
from unlearnbench.training.samples import Samples, TrainingSet


class ParentFailedError(Exception):
    """The method that a cell starts from has no result."""


@dataclass(frozen=True)
class Place:
    """A scenario with its data loaded.

    Attributes:
        scenario: The scenario.
        content: Its data set.
        split: What its task makes of it.
    """

    scenario: Scenario
    content: Dataset
    split: Split

    @cached_property
    def device(self) -> torch.device:
        """Where networks and images are."""
        return torch.device(self.scenario.device)

    @cached_property
    def builder(self) -> Builder:
        """Builds the scenario's networks."""
        model = registry.get(Model, self.scenario.model)
        shape, classes = shape_of(self.scenario, self.content), self.content.num_classes
        return Builder(model, self.scenario.model_options, shape, classes, self.device)

    def training_set(self, content: Dataset, split: Split, images: Tensor | None = None) -> TrainingSet:
        """The training part of a data set on the device, with the labels that a task trains on.

        Args:
            content: The data set.
            split: What the task makes of it.
            images: Its training images, if they are on the device already.
        """
        images = content.train_images.to(self.device) if images is None else images
        return TrainingSet(images, split.labels(content).to(self.device), self.scenario.pipeline)

    def rehearsal(self, store: Store) -> tuple[TrainingSet, Tensor]:
        """What the recipe holds out, and which of it is like the forgotten items: of their classes, and labelled so."""
        content = rehearsal_of(self.scenario, store)
        split = rehearsal_split(self.scenario, store)
        labels = content.test_labels.clone()
        labels[split.heldout] = split.labels_of_heldout(content)
        images = content.test_images.to(self.device)
        return TrainingSet(images, labels.to(self.device), self.scenario.pipeline), split.heldout

    def train(self, courses: Sequence[Course]) -> list[tuple[Network, dict[str, float]]]:
        """New networks, trained with the scenario's recipe, and the speed of each.

        Returns:
            For each course, a network, and of its share of the time: seconds, images per second, and GFLOP per second.
        """
        start, recipe = time.perf_counter(), self.scenario.recipe
        networks, samples = [self.builder.fresh(*c.stream) for c in courses], [course.samples for course in courses]
        if len(courses) > 1 and loop.can_be_stacked(networks[0], samples[0], recipe):
            loop.fit_together(networks, samples, recipe)
        else:
            for network, course in zip(networks, courses, strict=True):
                with seeds.pinned(*course.stream, "training"):  # for networks that draw random numbers themselves
                    loop.fit(network, course.samples, recipe)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / len(courses)
        return [(n, self.speed(len(part), seconds)) for n, part in zip(networks, samples, strict=True)]

    def speed(self, images: int, seconds: float) -> dict[str, float]:
        """What is known of a training on so many images."""
        rate, flop = images * self.scenario.recipe.epochs / seconds, training_flop(self.scenario, self.content)
        return {"seconds": seconds, "images/s": rate, **({"GFLOP/s": rate * flop / 1e9} if flop else {})}


@dataclass(frozen=True)
class Course:
    """What a network learns from.

    Attributes:
        training_set: All items.
        index: int64 [n]: which of them it sees.
        stream: What names its random numbers.
    """

    training_set: TrainingSet
    index: Tensor
    stream: Sequence[str | int]

    @cached_property
    def samples(self) -> Samples:
        """These items, in an order of their own."""
        generator = seeds.generator(*self.stream, "order")
        samples = self.training_set.samples(self.index, "labels", generator, "the training set")
        assert samples is not None
        return samples


@dataclass(frozen=True)
class Workshop:
    """Makes artefacts, out of the artefacts that they need.

    Attributes:
        store: Where artefacts are kept.
    """

    store: Store

    def get(self, job: Job) -> Made:
        """Reads an artefact, or makes it and everything that it needs."""
        return self.store.get_or_make(job.key, lambda: self.made(job))

    def made(self, job: Job) -> Made:
        """Makes an artefact, whether it is there or not."""
        check_current(job.scenario.arithmetic)
        check_data(job, self.store)
        make: Callable[[Job], Made] = getattr(self, job.kind)
        with spending("training" if job.kind in ("original", "shadow") else "unlearning"):
            return make(job)

    def place(self, scenario: Scenario) -> Place:
        """Loads the data of a scenario."""
        return Place(scenario, content_of(scenario, self.store), split_of(scenario, self.store))

    def original(self, job: Job) -> Made:
        """The network that will have to forget: trained on everything."""
        jobs = [job, *job.beside]
        places = [self.place(one.scenario) for one in jobs]  # of the same images, but perhaps with other labels
        images = places[0].content.train_images.to(places[0].device)
        courses = []
        for one, place in zip(jobs, places, strict=True):
            whole = place.training_set(place.content, place.split, images)
            stream = (*one.scenario.origin, one.scenario.seed, "original")
            courses.append(Course(whole, torch.arange(len(whole.labels)), stream))
        return self.kept(jobs, [(network.state_dict(), speed) for network, speed in places[0].train(courses)])

    def shadow(self, job: Job) -> Made:
        """A network trained on a random half of all images, its logits on all of them, and which half it was."""
        jobs, place = [job, *job.beside], self.place(job.scenario)
        pools = [content_of(one.scenario, self.store).pool for one in jobs]
        images = pools[0].train_images.to(place.device)
        members = [shadow_members(one.scenario, len(images), one.index) for one in jobs]
        courses = []
        for one, pool, member in zip(jobs, pools, members, strict=True):
            everything = place.training_set(pool, shadow_split(one.scenario, pool, one.index), images)
            courses.append(Course(everything, member.nonzero()[:, 0], (one.scenario.dataset, one.index, "shadow")))
        made: list[Made] = []
        for member, (network, speed) in zip(members, place.train(courses), strict=True):
            logits = loop.predict(network, images, job.scenario.pipeline.plain)
            made.append(({"logits": logits, "member": member}, speed))
        tensors, info = self.kept(jobs, made)
        check_finite(tensors["logits"], f"shadow model {job.index}")
        return tensors, info

    def kept(self, jobs: Sequence[Job], made: Sequence[Made]) -> Made:
        """The artefact of the first of these jobs; those of the others go into the store.

        Not if they are there by now, nor if they diverged: then who needs them makes them alone, and says so.
        """
        for job, (tensors, info) in zip(jobs[1:], made[1:], strict=True):
            if not self.store.has(job.key) and all(tensor.isfinite().all() for tensor in tensors.values()):
                self.store.save(job.key, tensors, info)
        return made[0]

    def prepared(self, job: Job) -> Made:
        """What a method does before anyone asks to be forgotten."""
        method = method_as_planned(job)
        assert method.preparation is not None
        place = self.place(job.scenario)
        stream = (*job.scenario.origin, job.scenario.seed, job.method, "prepare")
        training_set = place.training_set(place.content, place.split)
        generator = seeds.generator(*stream)
        view = view_to_prepare(training_set, method.access, generator)
        problem = self.problem(job, place, view, generator, stream)
        start = time.perf_counter()
        with seeds.pinned(*stream, "global"), loop.computing(job.scenario.recipe, place.device), limited():
            tensors = method.preparation(problem, **job.options)
        if place.device.type == "cuda":
            torch.cuda.synchronize()
        return tensors, {"seconds": {"prepare": time.perf_counter() - start}}

    def network(self, job: Job) -> Made:
        """The network of a cell that others start from."""
        network, info = self.unlearn(job)
        weights = weights_of(network)
        if weights is None:
            raise TypeError(f"{job.method} gives no network of the suite, so no other method can start from it")
        return weights, info

    def outputs(self, job: Job) -> Made:
        """The logits of a cell's network on all training and test images.

        If the recipe augments, also on training images changed as in training, for protocol `released`.
        """
        scenario, place = job.scenario, self.place(job.scenario)
        network, info = self.unlearn(job)
        weights = weights_of(network)
        if job.keep and weights is not None:
            self.store.save(job.keep.key, weights, info)
        pipeline = scenario.pipeline
        train = place.content.train_images.to(place.device)
        test = place.content.test_images.to(place.device)
        stream = (*scenario.origin, scenario.task, scenario.seed, job.method, "outputs")
        with seeds.pinned(*stream), limited():  # a method may give something that answers by chance, or never
            logits = {
                "train": loop.predict(network, train, pipeline.plain),
                "test": loop.predict(network, test, pipeline.plain),
            }
            if pipeline.augment:
                generator = seeds.generator(*scenario.origin, scenario.seed, "augmented outputs")
                changed = partial(pipeline.augmented, generator=generator)
                logits["train_augmented"] = loop.predict(network, train, changed)
        for part, values in logits.items():
            wanted = (len(test) if part == "test" else len(train), place.content.num_classes)
            if values.shape != wanted:
                raise ValueError(f"{job.method} gives outputs of shape {tuple(values.shape)} instead of {wanted}")
            check_finite(values, job.method)
        return logits, info

    def relearning(self, job: Job) -> Made:
        """How a cell's network does on forgotten items while it learns a few of them again, and the original before."""
        place = self.place(job.scenario)
        network, info = self.unlearn(job)
        original = place.builder.trained(self.get(job.needs["original"])[0])
        generator = seeds.generator(*job.scenario.origin, job.scenario.task, job.scenario.seed, "relearning")
        forget = place.training_set(place.content, place.split).samples(
            place.split.forget, "labels", generator, "the forget set"
        )
        assert forget is not None
        with limited():
            return relearning.curves(network, original, forget, job.scenario.recipe), info

    def unlearn(self, job: Job) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
        """Runs a method; returns what it gives, and the seconds of its phases, its parents' included."""
        method = method_as_planned(job)
        scenario, place = job.scenario, self.place(job.scenario)
        split = place.split
        stream = (*scenario.origin, scenario.task, scenario.seed, job.method)
        generator = seeds.generator(*stream)
        training_set = place.training_set(place.content, split)
        view = view_to_forget(training_set, method.access, split.forget, generator)
        if method.access.validation:
            held, like_forgotten = place.rehearsal(self.store)
            validation = held.samples(like_forgotten, method.access.validation, generator, "the held-out part")
            view = replace(view, validation=validation)
        problem = self.problem(job, place, view, generator, stream)
        seconds = {"prepare": 0.0, "unlearn": 0.0}
        for role in job.needs.keys() & {"prepared", "parent"}:
            for phase, spent in self.get(job.needs[role])[1]["seconds"].items():
                seconds[phase] += spent
        start = time.perf_counter()
        with seeds.pinned(*stream, "global"), loop.computing(job.scenario.recipe, place.device), limited():
            network = method.unlearn(problem, job.options)
        if not callable(network):
            raise TypeError(f"{job.method} returned {type(network).__name__}, not a network")
        if place.device.type == "cuda":
            torch.cuda.synchronize()
        seconds["unlearn"] += time.perf_counter() - start
        return network, {"seconds": seconds}

    def problem(
        self, job: Job, place: Place, view: View, generator: torch.Generator, stream: Sequence[str | int]
    ) -> Problem:
        """What the method of a job is handed."""
        weights, _ = self.get(job.needs["original"])
        prepared = self.get(job.needs["prepared"])[0] if "prepared" in job.needs else {}
        start = place.builder.trained(self.parent(job.needs["parent"])) if "parent" in job.needs else None
        return Problem(
            original=place.builder.trained(weights).requires_grad_(False).eval(),
            recipe=job.scenario.recipe,
            num_classes=place.content.num_classes,
            device=place.device,
            generator=generator,
            prepared={name: tensor.to(place.device) for name, tensor in prepared.items()},
            _builder=place.builder,
            _view=view,
            _stream=stream,
            _start=start,
            _room=room_for(job.scenario, place.content),
        )

    def parent(self, job: Job) -> dict[str, Tensor]:
        """The weights of the network that another method starts from."""
        try:
            return self.get(job)[0]
        except StorageError:
            raise
        except (Exception, SystemExit) as error:  # whatever the parent's code raised
            raise ParentFailedError(f"{job.method} failed: {type(error).__name__}: {error}") from error


def still_missing(job: Job, store: Store) -> Job:
    """A job without what has been made since it was planned; as it is if all of it has."""
    jobs = [one for one in (replace(job, beside=()), *job.beside) if not store.has(one.key)]
    return replace(jobs[0], beside=jobs[1:]) if jobs else job


def check_data(job: Job, store: Store) -> None:
    """The data of a job must still be those that its key was made of; a process may have read them long ago.

    Raises:
        RuntimeError: If its files were changed in the meantime.
    """
    planned = (job.key if "dataset" in job.key else job.key["original"])["dataset"]["checksum"]
    if data.load(job.scenario.dataset, job.scenario.root, store)[1] != planned:
        forget_data()
        raise RuntimeError(f"the files of {job.scenario.dataset} were changed: run the same command again")


def method_as_planned(job: Job) -> Method:
    """The method of a job; its code must still be the code that the job's key was made of.

    Raises:
        RuntimeError: If the code was edited in the meantime: the result would be kept under a wrong key.
    """
    method = registry.get(Method, job.method)
    present = current_fingerprint(method.__module__)
    if of_plugin("methods", job.method, present) != job.key["method"]["code"]:
        raise RuntimeError(f"the code of {job.method} was edited while it ran: run the same command again")
    return method


def weights_of(network: object) -> dict[str, Tensor] | None:
    """The weights of a network of the suite; None of anything else, which cannot be rebuilt from weights."""
    return network.state_dict() if type(network) is Network else None


def check_finite(logits: Tensor, of: str) -> None:
    """Raises `FloatingPointError` unless all are numbers."""
    if not logits.isfinite().all():
        raise FloatingPointError(f"{of} gives outputs that are not finite: it diverged")
