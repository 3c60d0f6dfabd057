"""A cell as its record describes it: names, titles and options; and what can become of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from unlearnbench.storage.keys import differences

DEFAULT = "default of the method"
"""Where a hyperparameter comes from that nobody has chosen."""


class CellStatus(StrEnum):
    """The status of a cell in its record."""

    OK = "ok"
    """It has numbers."""
    FAILED = "failed"
    """An exception was raised."""
    DIVERGED = "diverged"
    """Numbers are not finite."""
    TIMEOUT = "timeout"
    """It took longer than --timeout."""
    OUT_OF_MEMORY = "out-of-memory"
    CRASHED = "crashed"
    """Its process died."""
    SKIPPED = "skipped"
    """The method that it starts from has no result."""
    NOT_APPLICABLE = "n/a"
    """The method cannot serve the task."""
    DAMAGED = "damaged"
    """What its record says cannot be read. No record says so of itself."""


FINISHED = (CellStatus.OK, CellStatus.NOT_APPLICABLE)
"""The statuses of cells in which nothing failed."""


@dataclass(frozen=True, kw_only=True)
class CellInfo:
    """The part `cell` of a record.

    The labels of a task and of a method are the plugin's name, or NAME+OPTION=VALUE,... with the options that differ
    from the preset's.

    Attributes:
        preset: Name of the preset.
        dataset: Name of the data set.
        dataset_title: Its title in tables.
        model: Name of the model.
        task: Label of the task.
        task_title: Its title in tables.
        task_options: Its options.
        columns: The metrics of its tables.
        seed: The seed.
        method: Label of the method.
        method_title: Its title in tables.
        role: "method", "ablation", "variant", "control" or "elsewhere".
        access: The data that the method may see, in words.
        start: Name of the method that it starts from; "" if none.
        like: Name of the method that it is an ablation of; "" if none.
        hyperparameters: Its hyperparameters.
        sources: Where each hyperparameter comes from, in words; also those of the method that it starts from, as
            METHOD.NAME.
        gain: How much closer to Retrain tuning came than the original is, in percentage points on tuning splits; at
            most 0 if nothing was better than doing nothing. None if the hyperparameters were not tuned.
    """

    preset: str = ""
    dataset: str
    dataset_title: str
    model: str
    task: str
    task_title: str
    task_options: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str]
    seed: int
    method: str
    method_title: str
    role: str
    access: str
    start: str = ""
    like: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    gain: float | None = None

    @classmethod
    def from_json(cls, cell: Mapping[str, Any]) -> Self:
        """Reads the part `cell` of a record.

        Args:
            cell: JSON values by name; those that have a default here may be missing, as in old records.

        Raises:
            TypeError: If another one is missing.
        """
        return cls(**{name: cell[name] for name in NAMES if name in cell})

    def as_json(self) -> dict[str, Any]:
        """The part `cell` of a record, as JSON values."""
        mappings = {name: dict(getattr(self, name)) for name in ("task_options", "hyperparameters", "sources")}
        return {**vars(self), "columns": list(self.columns), **mappings}

    def contradictions(self, recorded: Mapping[str, Any]) -> list[str]:
        """How the part `cell` of a record describes another cell than this one.

        Where hyperparameters come from does not count: a command line may repeat what a preset says. Neither do
        attributes that old records lack.
        """
        own = self.as_json()
        names = own.keys() & recorded.keys() - {"sources"}
        return differences({name: recorded[name] for name in names}, {name: own[name] for name in names})

    @property
    def task_name(self) -> str:
        """Name of the task, without options."""
        return plugin_name(self.task)

    @property
    def method_name(self) -> str:
        """Name of the method, without options."""
        return plugin_name(self.method)


NAMES = tuple(field_.name for field_ in fields(CellInfo))


def plugin_name(label: str) -> str:
    """The name in the label of a task or a method; see `CellInfo`."""
    return label.partition("+")[0]


def changed_options(label: str) -> list[str]:
    """The options in the label of a method, as NAME.OPTION of the method or of one that it starts from."""
    name, _, changes = label.partition("+")
    options = re.findall(r"(?:^|,)([\w.-]+)=", changes)
    return [option if "." in option else f"{name}.{option}" for option in options]
