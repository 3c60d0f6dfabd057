"""Which artefacts a cell is made of, and the key of each: everything that goes into it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from unlearnbench.artefacts import data
from unlearnbench.artefacts.relearning import ITEMS, STEPS
from unlearnbench.artefacts.scenario import Scenario, shape_of
from unlearnbench.artefacts.versions import core, of_plugin
from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.fingerprint import CORE, fingerprint
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Model
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.task import Split, Task
from unlearnbench.storage.keys import canonical, digest
from unlearnbench.storage.records import SCHEMA
from unlearnbench.storage.store import Store

FULL = 2e10
"""Floating-point operations of a step that keep a GPU busy for as long as it takes to ask it for them: 0.3 ms at 60
TFLOP/s. An estimate: `benchmarks.together` measures it."""
MOST = 16
"""Trainings at once, at most: what is made together is lost together if the run is stopped or the memory is full."""


@dataclass(frozen=True)
class Job:
    """An artefact and how it is made.

    Attributes:
        kind: "original", "shadow", "prepared", "network", "outputs" or "relearning".
        key: Everything that goes in.
        scenario: Of the first cell that wants it.
        ep: Work, in passes over the training set.
        size: Bytes on disk, roughly.
        needs: The artefacts that it is made of, by role.
        method: For all but "original" and "shadow".
        options: That method's hyperparameters, resolved.
        index: For "shadow".
        keep: For "outputs": the network to be kept on the way, because other methods start from it.
        room: For trainings: how many such at once keep their device busy.
        beside: For trainings: others of one shape with this one, made in one computation with it.
    """

    kind: str
    key: Mapping[str, Any]
    scenario: Scenario
    ep: float
    size: int
    needs: Mapping[str, Job] = field(default_factory=dict)
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    keep: Job | None = None
    room: int = 1
    beside: Sequence[Job] = ()

    @cached_property
    def digest(self) -> str:
        """The artefact's name."""
        return digest(self.key)

    def __str__(self) -> str:
        place = {"original": f"seed {self.scenario.seed}", "shadow": f"no. {self.index}"}
        which = place.get(self.kind, f"{self.method} seed {self.scenario.seed}")
        more = f" and {len(self.beside)} more" if self.beside else ""
        return f"{self.kind} {self.scenario.dataset} {self.scenario.task} {which}{more}"

    @property
    def work(self) -> float:
        """The passes of this job and of those beside it."""
        return self.ep + sum(job.ep for job in self.beside)

    @property
    def shape(self) -> str:
        """What trainings have in common that can be made in one computation."""
        return canonical([self.kind, *(self.key.get(name) for name in ("dataset", "model", "recipe", "on", "fleet"))])


@dataclass(frozen=True)
class Artefacts:
    """Plans the artefacts of a scenario.

    Attributes:
        scenario: The scenario.
        store: Where the decoded data is.
        split: What its task makes of its data.
        content: The data.
        parents: The methods whose networks are kept, because others start from them.
    """

    scenario: Scenario
    store: Store
    split: Split
    content: Dataset
    parents: Container[str]

    @cached_property
    def forgotten(self) -> float:
        """The share of the training set that must go."""
        return len(self.split.forget) / len(self.content.train_labels)

    @cached_property
    def training(self) -> dict[str, Any]:
        """What goes into every training in this scenario."""
        scenario = self.scenario
        _, checksum = data.load(scenario.dataset, scenario.root, self.store)
        return {
            "schema": SCHEMA,
            "dataset": {"name": scenario.dataset, "checksum": checksum},
            "model": plugin_key(Model, scenario.model, scenario.model_options),
            "recipe": scenario.recipe.values(),
            "on": {
                "device": scenario.device,
                "arithmetic": scenario.arithmetic,
                "torch": minor(torch.__version__),
            },
            **({} if scenario.fleet is None else {"fleet": scenario.fleet}),
        }

    @cached_property
    def task_key(self) -> dict[str, Any]:
        """The task in keys."""
        return plugin_key(Task, self.scenario.task, self.scenario.task_options)

    @cached_property
    def original(self) -> Job:
        """The network that was trained on everything; tasks that train on the same labels share it."""
        labels = self.split.labels(self.content)
        sha = hashlib.sha256(labels.numpy().tobytes()).hexdigest()
        key = {**self.training, "kind": "original", "labels": sha, "seed": self.scenario.seed, "code": core("original")}
        epochs = self.scenario.recipe.epochs
        return Job(
            "original", key, self.scenario, epochs, 4 * self.parameters, room=room_for(self.scenario, self.content)
        )

    def shadow(self, index: int) -> Job:
        """A shadow model's outputs; shared by all seeds, and by tasks that do not replace labels."""
        noise = None if self.split.train_labels is None else self.task_key
        key = {**self.training, "kind": "shadow", "noise": noise, "index": index, "code": core("shadow")}
        train, test = len(self.content.train_labels), len(self.content.test_labels)
        ep = self.scenario.recipe.epochs * (train + test) / 2 / train + (train + test) / train / 3
        return Job(
            "shadow", key, self.scenario, ep, self.logits_size, index=index, room=room_for(self.scenario, self.content)
        )

    def prepared(self, name: str, options: Mapping[str, Any]) -> Job:
        """What a method does before anyone asks to be forgotten; who prepares like another method shares its work."""
        method = registry.get(Method, name)
        if method.like and registry.get(Method, method.like).preparation is method.preparation:
            return self.prepared(method.like, options)
        key = {
            "kind": "prepared",
            "original": self.original.key,
            "method": plugin_key(Method, name, options),
            "seed": self.scenario.seed,
            "code": core("prepared"),
        }
        ep = method.ep_to_prepare(self.scenario.recipe, options)
        return Job("prepared", key, self.scenario, ep, 0, {"original": self.original}, name, options)

    def outputs(self, name: str, options: Mapping[str, Any], parent: Job | None) -> Job:
        """The logits of a cell's network, and what they are made of."""
        method = registry.get(Method, name)
        needs = {"original": self.original}
        if method.preparation:
            needs["prepared"] = self.prepared(name, method.preparing(options))
        if parent:
            assert parent.keep is not None
            needs["parent"] = parent.keep
        key = {
            "kind": "outputs",
            "original": self.original.key,
            "parent": needs["parent"].key if parent else None,
            "task": self.task_key,
            "method": plugin_key(Method, name, options),
            "seed": self.scenario.seed,
            "code": core("outputs"),
        }
        ep = method.ep_to_unlearn(self.forgotten, self.scenario.recipe, options)
        keep = None
        if name in self.parents:  # a by-product of the outputs
            keep = Job(
                "network", {**key, "kind": "network"}, self.scenario, ep, 4 * self.parameters, needs, name, options
            )
        return Job("outputs", key, self.scenario, ep, self.logits_size, needs, name, options, keep=keep)

    def record_key(
        self, outputs: Job, shadows: Sequence[Job], attacks: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """What goes into a record; `attacks` has the key of each."""
        return {
            "kind": "record",
            "outputs": outputs.key,
            "shadows": {"count": len(shadows), "like": {**shadows[0].key, "index": None}},
            "attacks": dict(attacks),
            "code": core("record"),
        }

    @property
    def parameters(self) -> int:
        """How many numbers a network has."""
        options = tuple(self.scenario.model_options.items())
        shapes = shapes_of(
            self.scenario.model, options, shape_of(self.scenario, self.content), self.content.num_classes
        )
        return sum(map(math.prod, shapes.values()))

    @property
    def logits_size(self) -> int:
        """Bytes of the logits of all images."""
        return 4 * self.content.num_classes * (len(self.content.train_labels) + len(self.content.test_labels))


def relearning(outputs: Job) -> Job:
    """How soon the network behind some outputs knows again what it has forgotten; it is made once more for that."""
    key = {**outputs.key, "kind": "relearning", "how": {"items": ITEMS, "steps": STEPS}, "code": core("relearning")}
    return replace(outputs, kind="relearning", key=key, size=4 * STEPS, keep=None)


@cache
def shapes_of(
    model: str, options: tuple[tuple[str, Any], ...], shape: tuple[int, int, int], num_classes: int
) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights and buffers by name, without making them."""
    with torch.device("meta"):
        network = registry.get(Model, model).build(shape, num_classes, **dict(options))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def training_flop(scenario: Scenario, content: Dataset) -> float:
    """As `flop_of`, for the network of a scenario."""
    options = tuple(scenario.model_options.items())
    return flop_of(scenario.model, options, shape_of(scenario, content), content.num_classes)


def room_for(scenario: Scenario, content: Dataset) -> int:
    """How many trainings at once keep a scenario's device busy: on a GPU several, if steps are small."""
    if scenario.device != "cuda":
        return 1
    step = scenario.recipe.batch * training_flop(scenario, content)
    return max(1, min(MOST, round(FULL / step))) if step else 1


@cache
def flop_of(model: str, options: tuple[tuple[str, Any], ...], shape: tuple[int, int, int], num_classes: int) -> float:
    """Floating-point operations of training on an image, two for each multiplication with its addition.

    Those of convolutions and matrix products, forward and backward, as torch counts them; 0 if they cannot be counted
    without computing anything, because the network looks at values.
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            network = registry.get(Model, model).build(shape, num_classes, **dict(options))
            network(torch.rand(2, *shape)).sum().backward()
    except Exception:  # whatever a plugin's network raises where there are no values
        return 0.0
    return float(counter.get_total_flops()) / 2


def plugin_key(kind: type[Plugin], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A plugin in keys: what it is called, told and made of; with its version if it is not the suite's own."""
    plugin, entry = registry.get(kind, name), registry.entry(f"{kind.kind}s", name)
    told = {option: list(value) if isinstance(value, tuple) else value for option, value in options.items()}
    code = of_plugin(entry.group, name, fingerprint(plugin.__module__))
    key = {"name": name, "options": told, "code": code}
    return key if entry.origin == CORE else {**key, "from": f"{entry.origin} {entry.version}"}


def attack_key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """An attack in keys: as any plugin, with the releases of the libraries that do its work."""
    libraries = registry.get(Attack, name).libraries(**options)
    try:
        return {
            **plugin_key(Attack, name, options),
            "with": {library: minor(release(library)) for library in libraries},
        }
    except PackageNotFoundError as error:
        raise UserError(f"attack {name} with {options} needs {error.name}: run `pip install {error.name}`") from error


@cache
def release(library: str) -> str:
    """The installed version of a distribution; looking it up takes a millisecond."""
    return version(library)


def minor(release: str) -> str:
    """The part of a version that numbers depend on, e.g. "2.13" of "2.13.0+cpu"."""
    return ".".join(release.split(".")[:2])
