"""Everything about a cell but its method, and what chance decides before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts import data
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split, Task, choose
from unlearnbench.runtime import seeds
from unlearnbench.storage.store import Store
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe


@dataclass(frozen=True)
class Scenario:
    """Everything about a cell but its method.

    Attributes:
        dataset: Name of the data set.
        root: The folder with its files.
        model: Name of the network.
        model_options: Its options.
        recipe: How it is trained.
        task: Name of the task.
        task_options: Its options, resolved.
        seed: The seed of the cell.
        device: "cpu" or "cuda".
        arithmetic: "portable" or "native"; see runtime/arithmetic.py.
        fleet: None for the data set's own training and test part; otherwise the index of a world in which a random half
            of both is trained on, and what an audit of this scenario compares is forgotten as far as it is there.
    """

    dataset: str
    root: Path
    model: str
    model_options: Mapping[str, Any]
    recipe: Recipe
    task: str
    task_options: Mapping[str, Any]
    seed: int
    device: str
    arithmetic: str
    fleet: int | None = None

    def __hash__(self) -> int:
        return hash((self.dataset, self.task, self.seed, self.fleet))  # options have none

    @property
    def origin(self) -> tuple[str | int, ...]:
        """What names the data in streams of random numbers."""
        return (self.dataset,) if self.fleet is None else (self.dataset, "fleet", self.fleet)

    @property
    def pipeline(self) -> Pipeline:
        """How the recipe brings images to a network."""
        return Pipeline(self.recipe.resize, self.recipe.augment)


def content_of(scenario: Scenario, store: Store) -> Dataset:
    """The data set of a scenario, without what its recipe holds out; raises as `data.load`."""
    if scenario.fleet is not None:
        return half_of(scenario, store)[0]
    return divided(scenario.dataset, scenario.root, scenario.recipe.held_out, store)[0]


def rehearsal_of(scenario: Scenario, store: Store) -> Dataset:
    """What the recipe holds out, in the place of the test set; that is empty if it holds out nothing."""
    return divided(scenario.dataset, scenario.root, scenario.recipe.held_out, store)[1]


def positions_of(scenario: Scenario, store: Store) -> Tensor:
    """int64 [N]: where in the data set's training images those of the scenario are, ascending."""
    whole, _ = data.load(scenario.dataset, scenario.root, store)
    return (~held_out_of(scenario.dataset, whole, scenario.recipe.held_out)).nonzero()[:, 0]


@lru_cache(maxsize=4)
def divided(dataset: str, root: Path, share: float, store: Store) -> tuple[Dataset, Dataset]:
    """A data set without the share of its training images that is held out, and with that in place of the test set."""
    whole, _ = data.load(dataset, root, store)
    held = held_out_of(dataset, whole, share)
    images, labels = whole.train_images[held], whole.train_labels[held]
    if share:
        remaining = whole.train_images[~held], whole.train_labels[~held]
        whole = Dataset(*retained, whole.test_images, whole.test_labels, whole.num_classes)
    return whole, Dataset(whole.train_images, whole.train_labels, images, labels, whole.num_classes)


def forget_data() -> None:
    """Has this process read all data anew when they are next wanted."""
    for kept in (data.load, divided, kept_split):
        kept.cache_clear()


def held_out_of(dataset: str, whole: Dataset, share: float) -> Tensor:
    """Which training images (bool [N]) are held out: this share of each class, the same for every seed and task."""
    held = torch.zeros(len(whole.train_labels), dtype=torch.bool)
    if share:
        generator = seeds.generator(dataset, "held out")
        held[choose(whole.train_labels, range(whole.num_classes), share, generator)] = True
    return held


def shape_of(scenario: Scenario, content: Dataset) -> tuple[int, int, int]:
    """Channels, height and width of the images that a network gets."""
    channels, height, width = content.shape
    size = scenario.recipe.resize
    return (channels, size, size) if size else (channels, height, width)


def split_of(scenario: Scenario, store: Store) -> Split:
    """What a scenario's task makes of its data set."""
    if scenario.fleet is not None:
        return half_of(scenario, store)[1]
    _, checksum = data.load(scenario.dataset, scenario.root, store)
    made_by = registry.get(Task, scenario.task), listed(scenario.task_options), checksum
    return kept_split(scenario, store, *made_by).copy()  # some method may change what it gets


@lru_cache(maxsize=64)
def kept_split(scenario: Scenario, store: Store, task: Task, options: str, checksum: str) -> Split:
    """The split of a scenario by this very task, told just this, of data with this checksum; every step asks for it."""
    return drawn(scenario, content_of(scenario, store), scenario.seed, "split")


def rehearsal_split(scenario: Scenario, store: Store) -> Split:
    """What a scenario's task makes of what its recipe holds out: `heldout` are the items like the forgotten ones."""
    return drawn(scenario, rehearsal_of(scenario, store), scenario.seed, "split")


def half_of(scenario: Scenario, store: Store) -> tuple[Dataset, Split]:
    """The world of a fleet: half of all images is its training part, and whatever is compared there must go.

    An item has the label that it has, or would have, in the scenario itself, so that networks of many such worlds say
    what a network answers on it that was trained on it and forgot it, and what one that never saw it.
    """
    assert scenario.fleet is not None
    own = replace(scenario, fleet=None)
    content, split = content_of(own, store), split_of(own, store)
    rows = compared(content, split)
    images, labels = content.pool.train_images, torch.cat([split.labels(content), content.test_labels])
    labels[rows["heldout"]] = split.labels_of_heldout(content)
    goes = torch.zeros(len(labels), dtype=torch.bool)
    goes[torch.cat(list(rows.values()))] = True
    inside = shadow_members(scenario, len(labels), scenario.fleet)
    half = Dataset(images[inside], labels[inside], images[~inside], labels[~inside], content.num_classes)
    return half, Split(goes[inside].nonzero()[:, 0], goes[~inside].nonzero()[:, 0])


def compared(content: Dataset, split: Split) -> dict[str, Tensor]:
    """Where the items that an audit compares are among all images, training items first (int64), by side."""
    return {"forgotten": split.forget, "heldout": len(content.train_labels) + split.heldout}


def shadow_split(scenario: Scenario, pool: Dataset, index: int) -> Split:
    """What the task would make of all images for a shadow model: items like the forgotten ones, and their labels."""
    return drawn(scenario, pool, index, "shadow")


def drawn(scenario: Scenario, content: Dataset, *stream: str | int) -> Split:
    """Applies a scenario's task with the random numbers of a stream."""
    generator = seeds.generator(scenario.dataset, scenario.task, listed(scenario.task_options), *stream)
    return registry.get(Task, scenario.task).split(content, generator, **scenario.task_options)


def shadow_members(scenario: Scenario, n: int, index: int) -> Tensor:
    """Which of n images a shadow model is trained on (bool [n]): half of them; 2k + 1 gets what 2k does not."""
    order = torch.randperm(n, generator=seeds.generator(scenario.dataset, "shadow pair", index // 2))
    first = torch.zeros(n, dtype=torch.bool)
    first[order[: n // 2]] = True
    return first if index % 2 == 0 else ~first


def listed(options: Mapping[str, Any]) -> str:
    """Options as short text, e.g. "classes=3_4,fraction=0.5"."""

    def text(value: Any) -> str:
        return "_".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return ",".join(f"{key}={text(value)}" for key, value in options.items())
