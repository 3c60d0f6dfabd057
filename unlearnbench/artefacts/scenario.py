"""A scenario: all of a cell but its method, and the data and splits that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.splits import compared, held_out_of, shadow_members, split_by
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split, Task
from unlearnbench.plugins.trainer import Trainer
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe


@dataclass(frozen=True)
class Supplied:
    """What a user supplies in place of what the suite trains.

    Attributes:
        original: The file with the original's weights.
        retrain: The file with Retrain's weights.
        trainer: Trains all other networks, in place of the recipe.
        dataset: The name of the data set; a process that reads it learns where a data set is that is not installed.
    """

    original: Path | None = None
    retrain: Path | None = None
    trainer: Trainer | None = None
    dataset: str = ""


@dataclass(frozen=True)
class Scenario:
    """All of a cell but its method.

    Attributes:
        dataset: Name of the data set.
        root: The folder with its files.
        model: Name of the network.
        model_options: Its options, resolved.
        recipe: How it is trained.
        task: Name of the task.
        task_options: Its options, resolved.
        seed: The seed of the cell.
        device: "cpu" or "cuda".
        arithmetic: "portable" or "native"; see runtime/arithmetic.py.
        shadow: None for the data set's own training and test part. Otherwise the index of an unlearned shadow model:
            it is trained on a random half of all images, and forgets those of its half that the audit compares.
        supplied: What the user supplies; no file of weights for an unlearned shadow model.
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
    shadow: int | None = None
    supplied: Supplied = Supplied()

    @property
    def origin(self) -> tuple[str | int, ...]:
        """The name of the data in streams of random numbers."""
        return (self.dataset,) if self.shadow is None else (self.dataset, "fleet", self.shadow)

    @property
    def pipeline(self) -> Pipeline:
        """How the recipe brings images to a network."""
        return Pipeline(self.recipe.resize, self.recipe.augment)

    def shape(self, content: Dataset) -> tuple[int, int, int]:
        """Channels, height and width of a network's input."""
        channels, height, width = content.shape
        size = self.recipe.resize
        return (channels, size, size) if size else (channels, height, width)


def content_of(scenario: Scenario, datasets: Datasets) -> Dataset:
    """The data set of a scenario, without the images that its recipe holds out; raises as `Datasets.load`."""
    if scenario.shadow is not None:
        return half_of(scenario, datasets)[0]
    return datasets.divided(scenario.dataset, scenario.root, scenario.recipe.held_out)[0]


def split_of(scenario: Scenario, datasets: Datasets) -> Split:
    """The split that a scenario's task draws of its data set."""
    if scenario.shadow is not None:
        return half_of(scenario, datasets)[1]
    options = tuple(scenario.task_options.items())
    return datasets.split(
        scenario.dataset, scenario.root, scenario.recipe.held_out, scenario.task, options, scenario.seed
    )


def held_out_content(scenario: Scenario, datasets: Datasets) -> Dataset:
    """The images that the recipe holds out, in place of the test set; that is empty if it holds out none."""
    return datasets.divided(scenario.dataset, scenario.root, scenario.recipe.held_out)[1]


def held_out_split(scenario: Scenario, datasets: Datasets) -> Split:
    """The split of the held-out images; its `heldout` are samples like the forgotten ones."""
    return drawn(scenario, held_out_content(scenario, datasets), scenario.seed, "split")


def positions_of(scenario: Scenario, datasets: Datasets) -> Tensor:
    """int64 [N]: the positions of the scenario's training images among those of the data set, ascending."""
    whole, _ = datasets.load(scenario.dataset, scenario.root)
    return (~held_out_of(scenario.dataset, whole, scenario.recipe.held_out)).nonzero()[:, 0]


def half_of(scenario: Scenario, datasets: Datasets) -> tuple[Dataset, Split]:
    """The data of an unlearned shadow model: half of all images, and the compared samples among them to forget.

    A sample has the label that it has, or would have, in the scenario itself. So the unlearned shadow models give the
    logits on a sample of networks that were trained on it and forgot it, and of networks that never saw it.
    """
    assert scenario.shadow is not None
    own = replace(scenario, shadow=None)
    content, split = content_of(own, datasets), split_of(own, datasets)
    rows = compared(content, split)
    images, labels = content.pool.train_images, torch.cat([split.labels(content), split.test_labels(content)])
    labels[rows["heldout"]] = split.labels_of_heldout(content)
    forgotten, hidden = torch.zeros(2, len(labels), dtype=torch.bool)
    forgotten[torch.cat(list(rows.values()))] = True
    inside = shadow_members(scenario.dataset, len(labels), scenario.shadow)
    half = Dataset(images[inside], labels[inside], images[~inside], labels[~inside], split.num_classes(content))
    if split.hidden is None or split.hidden_heldout is None:
        return half, Split(forgotten[inside].nonzero()[:, 0], forgotten[~inside].nonzero()[:, 0])
    hidden[split.hidden], hidden[len(content.train_labels) + split.hidden_heldout] = True, True
    return half, Split(
        (forgotten & ~hidden)[inside].nonzero()[:, 0],
        forgotten[~inside].nonzero()[:, 0],
        hidden=hidden[inside].nonzero()[:, 0],
        hidden_heldout=hidden[~inside].nonzero()[:, 0],
    )


def shadow_split(scenario: Scenario, pool: Dataset, index: int) -> Split:
    """The split of all images for a shadow model: samples like the forgotten ones, and their labels."""
    return drawn(scenario, pool, index, "shadow")


def drawn(scenario: Scenario, content: Dataset, *stream: str | int) -> Split:
    """Applies a scenario's task with the random numbers of a stream."""
    task = registry.get(Task, scenario.task)
    return split_by(task, scenario.task, scenario.task_options, scenario.dataset, content, *stream)
