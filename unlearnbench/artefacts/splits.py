"""What random numbers decide before anything is trained: held-out, forgotten and shadow-training samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.errors import UserError
from unlearnbench.plugins.contract import explaining, require
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import ClassesError, Split, Task, check_split, choose
from unlearnbench.runtime import seeds
from unlearnbench.runtime.frames import at_line
from unlearnbench.storage.keys import sha_of


def held_out_of(name: str, dataset: Dataset, share: float) -> Tensor:
    """The training images that are held out: this share of each class, the same for every seed and task.

    Args:
        name: Name of the data set.
        dataset: Its content.
        share: In [0, 1).

    Returns:
        bool [N], true where an image is held out.
    """
    held_out = torch.zeros(len(dataset.train_labels), dtype=torch.bool)
    if share:
        generator = seeds.generator(name, "held out")
        held_out[choose(dataset.train_labels, range(dataset.num_classes), share, generator)] = True
    return held_out


def split_by(
    task: Task, task_name: str, options: Mapping[str, Any], name: str, content: Dataset, *stream: str | int
) -> Split:
    """Applies a task to a data set.

    Args:
        task: The task.
        task_name: Its name, likewise part of the stream of random numbers.
        options: Its options, resolved.
        name: Name of the data set.
        content: What is split.
        *stream: Names the random numbers.

    Raises:
        UserError: If the task fails, or breaks its contract.
    """
    axes = (name, task_name, listed({**options, **digests_of(task, options)}), *stream)
    images, labels = ([getattr(content, f"{part}_{of}") for part in ("train", "test")] for of in ("images", "labels"))
    own = replace(content, train_labels=labels[0].clone(), test_labels=labels[1].clone())
    written = [part._version for part in images]
    with explaining(f"task {task_name}", task_name, options):
        with seeds.pinned(*axes):  # so that a task that draws from the global generators is the same in every process
            try:
                split: Split = task.function(own, seeds.generator(*axes), **options)
            except ClassesError as error:
                line = f"classes = {list(error.valid)} below [tasks.{task_name}]"
                raise UserError(f"{error} on {name}; for example, add {line} to the preset") from error
            except (UserError, MemoryError):
                raise
            except Exception as error:  # whatever a plugin raises
                raise UserError(f"it cannot be applied: {type(error).__name__}: {error}{at_line(error)}") from error
        require([part._version for part in images] == written, "it writes on the images: change a copy (`.clone()`)")
        check_split(task, split, content)
        task.check_size(split, content)
    return split


def digests_of(task: Task, options: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of the files that a task reads, by the options that name them.

    Raises:
        UserError: If a file cannot be read.
    """
    digests = {}
    for option in task.files:
        if options[option]:
            try:
                digests[option] = sha_of(Path(options[option]).read_bytes())
            except OSError as error:
                raise UserError(f"cannot read {options[option]}, {option} of a task: {error.strerror}") from error
    return digests


def compared(content: Dataset, split: Split) -> dict[str, Tensor]:
    """The samples that an audit compares, by side.

    Returns:
        int64 positions among all images, training images first.
    """
    return {"forgotten": split.forgotten, "heldout": len(content.train_labels) + split.heldout}


def shadow_members(dataset: str, n: int, index: int) -> Tensor:
    """The images that a shadow model is trained on: half of them, and models 2k and 2k + 1 get complementary halves.

    Args:
        dataset: Name of the data set.
        n: Number of images.
        index: Index of the shadow model.

    Returns:
        bool [n].
    """
    order = torch.randperm(n, generator=seeds.generator(dataset, "shadow pair", index // 2))
    first = torch.zeros(n, dtype=torch.bool)
    first[order[: n // 2]] = True
    return first if index % 2 == 0 else ~first


def listed(options: Mapping[str, Any]) -> str:
    """Options as short text, e.g. "classes=3_4,fraction=0.5"."""

    def text(value: Any) -> str:
        return "_".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return ",".join(f"{key}={text(value)}" for key, value in options.items())
