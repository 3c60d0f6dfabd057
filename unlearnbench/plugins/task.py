"""The contract of tasks: functions that split the training set into forget set and retain set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unlearnbench.errors import UserError
from unlearnbench.plugins.contract import require
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.plugin import Plugin

COLUMNS = ("train_r", "train_f", "test", "test_r", "test_f", "asr", "mia")
"""The metrics that a task's table may have as columns."""


@dataclass(frozen=True)
class Domain:
    """The labels of a network that predicts other classes than the dataset's, such as superclasses.

    Attributes:
        train_labels: int64 [N], 0 to `num_classes` - 1.
        test_labels: int64 [M].
        num_classes: The number of the network's outputs.
    """

    train_labels: Tensor
    test_labels: Tensor
    num_classes: int


@dataclass(frozen=True)
class Split:
    """The split of a data set.

    Attributes:
        forget: int64 [f], positions in the training set, ascending; the others are the retain set of methods.
        heldout: int64 [h], the held-out set: positions of test samples that attacks compare with the forgotten ones.
            They have the same classes and are chosen by the same process.
        train_labels: int64 [N], the labels that the original is trained on, if the task replaces labels; None: the true
            ones.
        heldout_labels: int64 [h] if the task replaces labels: the wrong labels of `heldout`, drawn by the same process.
        test_forget: int64 [t], positions in the test set that count as Test_f instead of Test_r; None if the task does
            not divide the test set.
        hidden: int64 [n], positions in the training set, ascending, of samples that must be forgotten but are not in
            the forget set, because nobody pointed at them. Methods find them in their retain set; metrics, attacks and
            Retrain count them as forgotten. None: there are none.
        hidden_heldout: int64 [m] if there are hidden samples: the positions in the test set of held-out samples that
            are like them.
        domain: The labels of the network, if these are not the dataset's; all labels here are of this domain then.
        apart: Groups of samples whose accuracies are reported apart, by name: positions (int64) in the training set
            and in the test set.
    """

    forget: Tensor
    heldout: Tensor
    train_labels: Tensor | None = None
    heldout_labels: Tensor | None = None
    test_forget: Tensor | None = None
    hidden: Tensor | None = None
    hidden_heldout: Tensor | None = None
    domain: Domain | None = None
    apart: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def copy(self) -> Split:
        """A deep copy."""
        return copy.deepcopy(self)

    @property
    def forgotten(self) -> Tensor:
        """int64, ascending: the positions of all samples that must be forgotten, pointed at or hidden."""
        return self.forget if self.hidden is None else torch.cat([self.forget, self.hidden]).sort().values

    @property
    def is_of_one_level(self) -> bool:
        """Whether it has neither hidden samples, nor labels of another domain, nor groups that are reported apart."""
        return self.hidden is None and self.domain is None and not self.apart

    def labels(self, data: Dataset) -> Tensor:
        """int64 [N]: the labels that the original is trained on."""
        return self.true_labels(data) if self.train_labels is None else self.train_labels

    def true_labels(self, data: Dataset) -> Tensor:
        """int64 [N]: the true labels of the training set, of the network's domain."""
        return data.train_labels if self.domain is None else self.domain.train_labels

    def test_labels(self, data: Dataset) -> Tensor:
        """int64 [M]: the true labels of the test set, of the network's domain."""
        return data.test_labels if self.domain is None else self.domain.test_labels

    def num_classes(self, data: Dataset) -> int:
        """The number of the network's outputs."""
        return data.num_classes if self.domain is None else self.domain.num_classes

    def labels_of_heldout(self, data: Dataset) -> Tensor:
        """int64 [h]: the labels with which the held-out samples would have been trained on."""
        return self.test_labels(data)[self.heldout] if self.heldout_labels is None else self.heldout_labels

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that it has, by name."""
        parts = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        if self.domain is not None:
            parts |= {"domain train": self.domain.train_labels, "domain test": self.domain.test_labels}
        for name, (train, test) in self.apart.items():
            parts |= {f"{name} train": train, f"{name} test": test}
        return parts


class Task(Plugin):
    """A function `(dataset, generator, **options) -> Split`, and the columns of its table.

    Args:
        function: The code; it draws from the generator only.
        title: The name in tables.
        columns: Names of metrics, in the order of the table.
        reference: The paper that defines it.
        files: The options that are paths of files. Keys have the content of these files in place of their paths, and a
            preset that selects all tasks selects this one only if it sets one of these options.
        superclasses: Whether it needs a dataset with superclasses. A preset that selects all tasks applies this one to
            such datasets only.
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
        superclasses: bool = False,
    ) -> None:
        super().__init__(function, title=title, reference=reference)
        self.columns = tuple(columns)
        self.files = tuple(files)
        self.superclasses = superclasses

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
        total, forgotten = len(data.train_labels), len(split.forgotten)
        if not 0 < len(split.forget) <= forgotten < total:
            raise UserError(f"it would forget {forgotten} of {total} samples")
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
    forgotten, heldout = data.train_labels[split.forgotten].unique(), data.test_labels[split.heldout].unique()
    others = heldout[~torch.isin(heldout, forgotten)].tolist()
    require(
        not others,
        f"held-out samples are of classes {others}, of which nothing is forgotten: an attack would tell classes apart",
    )


def require_classes(split: Split, data: Dataset) -> None:
    """Raises unless labels that the task replaces are int64, one for each sample, each a class of the network."""
    train, test, domain = len(data.train_labels), len(data.test_labels), split.domain
    given = [("train_labels", split.train_labels, train), ("heldout_labels", split.heldout_labels, len(split.heldout))]
    if domain is not None:
        given += [("domain.train_labels", domain.train_labels, train), ("domain.test_labels", domain.test_labels, test)]
    classes = split.num_classes(data)
    for name, labels, count in given:
        if labels is not None:
            is_right = isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == (count,)
            is_right = is_right and bool(((labels >= 0) & (labels < classes)).all())
            require(is_right, f"{name} must be int64 [{count}], from 0 to {classes - 1}")


def require_hidden(split: Split, data: Dataset) -> None:
    """Raises unless hidden samples are ascending positions outside of the forget set, with held-out ones like them."""
    require(
        (split.hidden is None) == (split.hidden_heldout is None), "return hidden and hidden_heldout, or neither of them"
    )
    if split.hidden is None or split.hidden_heldout is None:
        return
    require_positions("hidden", split.hidden, len(data.train_labels))
    require_positions("hidden_heldout", split.hidden_heldout, len(data.test_labels))
    is_ascending = torch.equal(split.hidden, split.hidden.sort().values)
    require(is_ascending and len(split.hidden) > 0, "hidden must be ascending, and None if it is empty")
    require(not bool(torch.isin(split.hidden, split.forget).any()), "hidden samples must not be in the forget set")
    require(bool(torch.isin(split.hidden_heldout, split.heldout).all()), "hidden_heldout must be a part of heldout")


def require_groups(split: Split, data: Dataset) -> None:
    """Raises unless groups that are reported apart are positions in the training set and in the test set."""
    for name, (train, test) in split.apart.items():
        require_positions(f"apart[{name!r}]", train, len(data.train_labels))
        require_positions(f"apart[{name!r}]", test, len(data.test_labels))


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


REQUIREMENTS = (
    require_ascending,
    require_heldout,
    require_hidden,
    require_likeness,
    require_classes,
    require_both_sides,
    require_groups,
)
"""What a split must be, each a check of `unlearnbench check`, and all of them checked whenever a task is applied."""


def task(
    *,
    title: str,
    columns: Sequence[str],
    reference: str = "",
    files: Sequence[str] = (),
    superclasses: bool = False,
) -> Callable[[Callable[..., Split]], Task]:
    """Makes a function `(dataset, generator, **options) -> Split` a task of the suite; see `Task`."""
    return lambda function: Task(
        function, title=title, columns=columns, reference=reference, files=files, superclasses=superclasses
    )


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
