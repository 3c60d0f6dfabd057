"""Everything about a cell but its method, and what chance decides before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench import data, registry, seeds
from unlearnbench.data.augmentation import Pipeline
from unlearnbench.recipe import Recipe
from unlearnbench.task import Split, Task


@dataclass(frozen=True)
class Setting:
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

    @property
    def pipeline(self) -> Pipeline:
        """How the recipe brings images to a network."""
        return Pipeline(self.recipe.resize, self.recipe.augment)


def split_of(setting: Setting, content: data.Dataset) -> Split:
    """What a setting's task makes of its data set."""
    return drawn(setting, content, setting.seed, "split")


def shadow_split(setting: Setting, pool: data.Dataset, index: int) -> Split:
    """What the task would make of all images for a shadow network: items like the forgotten ones, and their labels."""
    return drawn(setting, pool, index, "shadow")


def drawn(setting: Setting, content: data.Dataset, *stream: str | int) -> Split:
    """Applies a setting's task with the random numbers of a stream."""
    generator = seeds.generator(setting.dataset, setting.task, listed(setting.task_options), *stream)
    return registry.get(Task, setting.task).split(content, generator, **setting.task_options)


def shadow_members(setting: Setting, n: int, index: int) -> Tensor:
    """Which of n images a shadow network is trained on (bool [n]): half of them; 2k + 1 gets what 2k does not."""
    order = torch.randperm(n, generator=seeds.generator(setting.dataset, "shadow pair", index // 2))
    first = torch.zeros(n, dtype=torch.bool)
    first[order[: n // 2]] = True
    return first if index % 2 == 0 else ~first


def listed(options: Mapping[str, Any]) -> str:
    """Options as short text, e.g. "classes=3_4,fraction=0.5"."""

    def text(value: Any) -> str:
        return "_".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return ",".join(f"{key}={text(value)}" for key, value in options.items())
