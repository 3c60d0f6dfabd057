"""The contract of tasks: functions that split the training set into forget set and retain set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from unlearnbench.errors import UserError
from unlearnbench.plugins.contract import require
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.plugin import Plugin

COLUMNS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")
"""The metrics that a task's table may have as columns."""


@dataclass(frozen=True)
class Split:
    """The split of a data set.

    Attributes:
        forget: int64 [f], positions in the training set, ascending; the others are the retain set.
        heldout: int64 [h], the held-out set: positions of test samples that attacks compare with the forget set. They
            have the same classes and are chosen by the same process.
        train_labels: int64 [N], the labels that the original is trained on, if the task replaces labels; None: the true
            ones.
        heldout_labels: int64 [h] if the task replaces labels: the wrong labels of `heldout`, drawn by the same process.
        test_forget: int64 [t], positions in the test set that count as Test_f instead of Test_r; None if the task does
            not divide the test set.
    """

    forget: Tensor
    heldout: Tensor
    train_labels: Tensor | None = None
    heldout_labels: Tensor | None = None
    test_forget: Tensor | None = None

    def copy(self) -> Split:
        """A deep copy."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: value.clone() for name, value in values.items() if value is not None})

    def labels(self, data: Dataset) -> Tensor:
        """int64 [N]: the labels that the original is trained on."""
        return data.train_labels if self.train_labels is None else self.train_labels

    def labels_of_heldout(self, data: Dataset) -> Tensor:
        """int64 [h]: the labels with which the held-out samples would have been trained on."""
        return data.test_labels[self.heldout] if self.heldout_labels is None else self.heldout_labels


class Task(Plugin):
    """A function `(dataset, generator, **options) -> Split`, and the columns of its table.

    Args:
        function: The code; it draws from the generator only.
        title: The name in tables.
        columns: Names of metrics, in the order of the table.
        reference: The paper that defines it.
        files: The options that are paths of files. Keys have the content of these files in place of their paths, and a
            preset that selects all tasks selects this one only if it sets one of these options.
    """

    kind = "task"

    def __init__(
        self,
        function: Callable[..., Split],
        *,
        title: str,
        columns: Sequence[str],
        reference: str = "",
        files: Sequence[str] = (),
    ) -> None:
        super().__init__(function, title=title, reference=reference)
        self.columns = tuple(columns)
        self.files = tuple(files)

    def is_configured(self, options: Mapping[str, Any]) -> bool:
        """Whether these options name a file that it reads, if it reads any."""
        return not self.files or any(options.get(name) for name in self.files)

    def split(self, data: Dataset, generator: torch.Generator, **options: Any) -> Split:
        """Applies the task.

        Raises:
            UserError: If the options do not fit the data, e.g. the forget set or the retain set would be empty.
        """
        split: Split = self.function(data, generator, **options)
        self.check_size(split, data)
        return split

    def check_size(self, split: Split, data: Dataset) -> None:
        """Raises `UserError` if too few samples of a data set are forgotten, retained or held out."""
        total = len(data.train_labels)
        if not 0 < len(split.forget) < total:
            raise UserError(f"it would forget {len(split.forget)} of {total} samples")
        has_test_set = len(data.test_labels) > 0
        too_few = len(split.forget) < 2 or (has_test_set and len(split.heldout) < 2)
        if too_few or (has_test_set and split.test_forget is not None and not len(split.test_forget)):
            raise UserError(
                f"it leaves too few samples: {len(split.forget)} forgotten and {len(split.heldout)} held-out ones; an "
                "attack needs two of each"
            )


def check_split(task: Task, split: object, data: Dataset) -> None:
    """Raises `BrokenContractError` unless a result of a task's function is as `Split` documents.

    Args:
        task: The task.
        split: Its result.
        data: What it has split.
    """
    require_columns(task)
    require(isinstance(split, Split), f"it returns {type(split).__name__}; it must return a Split")
    assert isinstance(split, Split)
    for requirement in REQUIREMENTS:
        requirement(split, data)
    require_division(task, split)


def require_ascending(split: Split, data: Dataset) -> None:
    """Raises unless the forget set are positions in the training set: int64 [f], ascending, without repetition."""
    require_positions("forget", split.forget, len(data.train_labels))
    require(
        torch.equal(split.forget, split.forget.sort().values), "forget must be ascending: sort it, `.sort().values`"
    )


def require_heldout(split: Split, data: Dataset) -> None:
    """Raises unless held-out samples, and the forgotten part of the test set, are positions without repetition."""
    require_positions("heldout", split.heldout, len(data.test_labels))
    if split.test_forget is not None:
        require_positions("test_forget", split.test_forget, len(data.test_labels))


def require_likeness(split: Split, data: Dataset) -> None:
    """Raises unless held-out samples are of the classes of the forgotten ones."""
    forgotten, heldout = data.train_labels[split.forget].unique(), data.test_labels[split.heldout].unique()
    others = heldout[~torch.isin(heldout, forgotten)].tolist()
    require(
        not others,
        f"held-out samples are of classes {others}, of which nothing is forgotten: an attack would tell classes apart",
    )


def require_classes(split: Split, data: Dataset) -> None:
    """Raises unless labels that the task replaces are int64, one for each sample, each a class."""
    for name, labels, count in (
        ("train_labels", split.train_labels, len(data.train_labels)),
        ("heldout_labels", split.heldout_labels, len(split.heldout)),
    ):
        if labels is not None:
            is_right = isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == (count,)
            is_right = is_right and bool(((labels >= 0) & (labels < data.num_classes)).all())
            require(is_right, f"{name} must be int64 [{count}], from 0 to {data.num_classes - 1}")


def require_both_sides(split: Split, data: Dataset) -> None:
    """Raises if labels are replaced on one side only."""
    del data
    require(
        (split.train_labels is None) == (split.heldout_labels is None),
        "return train_labels and heldout_labels, or neither: otherwise a wrong label alone reveals a member",
    )


def require_columns(task: Task) -> None:
    """Raises unless the columns of a task's table are metrics of the suite."""
    unknown = [name for name in task.columns if name not in COLUMNS]
    is_right = bool(task.columns) and not unknown
    require(is_right, f"columns must be some of {', '.join(COLUMNS)}, not {unknown or 'none'}")


def require_division(task: Task, split: Split) -> None:
    """Raises if columns of a task's table divide the test set, and its split does not."""
    divided = sorted({"test_r", "test_f"} & set(task.columns))
    require(
        not divided or split.test_forget is not None,
        f"column {' and '.join(divided)} needs Split(test_forget=...)",
    )


def require_positions(name: str, values: object, total: int) -> None:
    """Raises unless these are positions in something of that size, without repetition."""
    is_right = (
        isinstance(values, Tensor)
        and values.dtype == torch.int64
        and values.ndim == 1
        and len(values.unique()) == len(values)
        and bool(((values >= 0) & (values < total)).all())
    )
    require(is_right, f"{name} must be int64 positions from 0 to {total - 1}, none of them twice")


REQUIREMENTS = (require_ascending, require_heldout, require_likeness, require_classes, require_both_sides)
"""What a split must be, each a check of `unlearnbench check`, and all of them checked whenever a task is applied."""


def task(
    *, title: str, columns: Sequence[str], reference: str = "", files: Sequence[str] = ()
) -> Callable[[Callable[..., Split]], Task]:
    """Makes a function `(dataset, generator, **options) -> Split` a task of the suite; see `Task`."""
    return lambda function: Task(function, title=title, columns=columns, reference=reference, files=files)


def choose(labels: Tensor, classes: Sequence[int], fraction: float, generator: torch.Generator) -> Tensor:
    """Draws int(fraction * n_c) samples of each class c, without replacement.

    Args:
        labels: int64 [n].
        classes: The classes to draw from.
        fraction: In (0, 1].
        generator: For the random draws.

    Returns:
        int64 positions in `labels`, ascending.

    Raises:
        UserError: If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"a fraction must lie in (0, 1], not {fraction}")
    drawn = []
    for label in classes:
        members = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)
        drawn.append(members[order[: int(fraction * len(members))]])
    return torch.cat(drawn).sort().values


def of_classes(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """The positions (int64, ascending) of all samples of these classes."""
    return torch.isin(labels, torch.tensor(classes)).nonzero()[:, 0]


class ClassesError(UserError):
    """Classes that a data set does not have; `valid` are some that it has."""

    def __init__(self, message: str, valid: Sequence[int]) -> None:
        super().__init__(message)
        self.valid = valid


def check_classes(data: Dataset, classes: Sequence[int]) -> None:
    """Raises `ClassesError` unless all are classes of the data set and no class is named twice."""
    valid = [c for c in classes if type(c) is int and c in range(data.num_classes)]
    if not valid or len(set(valid)) < len(classes):
        raise ClassesError(
            f"classes must be different numbers from 0 to {data.num_classes - 1}, not {list(classes)}",
            valid or list(range(max(1, data.num_classes // 2))),
        )
