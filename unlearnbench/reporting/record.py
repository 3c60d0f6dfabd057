"""Records as tables read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS
from unlearnbench.storage.store import DamagedError

STALE = "stale"
"""The state of a cell that does not belong in a table although its status is ok."""

Rate = float | int | None
"""What the columns of tables have: an accuracy or the like, in [0, 1], or nothing."""
Curve = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Measure:
    """What `measure` added to a record.

    Attributes:
        key: What the numbers depend on.
        numbers: By name: a number, a list of a number and the ends of its interval, or None; empty if they are stale.
        roc: The ROC curve of an attack, "fpr" and "tpr"; empty if it has none.
        map: The map of features, as in `evaluation.representation.drawing`; empty if it has none.
    """

    key: Mapping[str, Any]
    numbers: Mapping[str, Any]
    roc: Curve = field(default_factory=dict)
    map: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A record.

    Attributes:
        cell: What it is about.
        status: What became of the cell.
        key: What its numbers depend on.
        observed: What differs from run to run.
        metrics: Its numbers in [0, 1], by protocol and attack; empty if it has none.
        more: What `measure` added.
        reason: Why there are no numbers.
        stale: Why its numbers do not belong beside those of the other cells; "" if they do.
        changed: What has changed since it was made; "" if nothing is known.
        roc: ROC curves, "fpr" and "tpr", by attack; old records have none.
        traceback: Of a failed cell; "" if there is none.
        path: Its file; None if it is unknown.
    """

    cell: CellInfo
    status: CellStatus
    key: Mapping[str, Any]
    observed: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Measure] = field(default_factory=dict)
    reason: str = ""
    stale: str = ""
    changed: str = ""
    roc: Mapping[str, Curve] = field(default_factory=dict)
    traceback: str = ""
    path: Path | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any], path: Path | None = None) -> Self:
        """Reads a record; attributes of cells that old records lack have their default."""
        return cls(
            cell=CellInfo.from_json(record["cell"]),
            status=CellStatus(record["status"]),
            key=record["key"],
            observed=record["observed"],
            metrics=record.get("metrics", {}),
            more={
                name: Measure(entry["key"], entry["found"], entry.get("roc", {}), entry.get("map", {}))
                for name, entry in record.get("more", {}).items()
            },
            reason=record.get("reason", ""),
            roc=record.get("roc", {}),
            traceback=record.get("traceback", ""),
            path=path,
        )

    @classmethod
    def checked(cls, record: Mapping[str, Any], path: Path | None = None) -> Self:
        """Reads a record as `from_json`, and checks that tables can show it.

        Raises:
            DamagedError: If they cannot: a field is missing, or has something else than it should.
        """
        try:
            read = cls.from_json(record, path)
            read.row()
            rates = [rate for protocol in PROTOCOLS for rate in read.metrics.get(protocol, {}).values()]
            if read.status is CellStatus.OK and not (rates and all(isinstance(rate, Rate) for rate in rates)):
                raise TypeError("a rate is no number")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"its form is not that of a record: {type(error).__name__}: {error}") from error
        return read

    @property
    def ok(self) -> bool:
        """Whether a table shows its numbers."""
        return self.status is CellStatus.OK and not self.stale

    @property
    def not_applicable(self) -> bool:
        """Whether its method cannot serve its task."""
        return self.status is CellStatus.NOT_APPLICABLE and not self.stale

    @property
    def accepted(self) -> str:
        """What has changed since it was made, if its numbers are shown nevertheless."""
        return self.changed if self.ok else ""

    @property
    def state(self) -> str:
        """Its status, or "stale"."""
        return STALE if self.stale else self.status.value

    @property
    def why(self) -> str:
        """Why a table does not show its numbers."""
        return self.stale or self.reason

    @property
    def shadows(self) -> int:
        """The number of shadow models of its attacks."""
        return int(self.key["shadows"]["count"])

    @property
    def date(self) -> str:
        """When it was made, in ISO 8601; "" in old records."""
        return str(self.observed.get("date", ""))

    @property
    def curves(self) -> Mapping[str, Curve]:
        """Its ROC curves, also those that `measure` added."""
        return {**self.roc, **{name: measure.roc for name, measure in self.more.items() if measure.roc}}

    @property
    def files(self) -> Mapping[str, str]:
        """The files of plugins that are not installed, by name."""
        files: Mapping[str, str] = self.observed.get("files", {})
        return files

    @property
    def origin(self) -> str:
        """The file or the package that its method comes from; "" for a built-in one."""
        return str(self.key.get("outputs", {}).get("method", {}).get("from", ""))

    @property
    def gone(self) -> str:
        """The names of those of these files that no longer exist."""
        return ", ".join(Path(file).name for file in self.files.values() if not Path(file).is_file())

    @cached_property
    def conditions(self) -> list[Any]:
        """What all cells of a table must have in common: data, model, recipe, and how they are trained and measured."""
        original, like = self.key.get("outputs", {}).get("original", {}), self.key.get("shadows", {}).get("like", {})
        differing = {"labels", "seed", "given"}  # from cell to cell
        own = {k: v for k, v in original.items() if k not in differing and v != like.get(k)}  # not twice
        return [own, *(self.key.get(name) for name in ("shadows", "attacks", "code"))]

    @property
    def options(self) -> dict[str, Any]:
        """Its hyperparameters as NAME.OPTION, and those of the methods that it starts from."""
        options = {f"{self.cell.method_name}.{name}": value for name, value in self.cell.hyperparameters.items()}
        outputs = self.key.get("outputs", {}).get("parent")
        while outputs and "method" in outputs:
            method = outputs["method"]
            options |= {f"{method['name']}.{name}": value for name, value in method["options"].items()}
            outputs = outputs.get("parent")
        return options

    def attack_options(self, name: str) -> Mapping[str, Any]:
        """The options of an attack that every run measures; none in old records."""
        options: Mapping[str, Any] = self.key.get("attacks", {}).get(name, {}).get("options", {})
        return options

    def row(self) -> dict[str, Any]:
        """The record as a row of a table; its columns are those of `load`."""
        row = {**self.cell.as_json(), "status": self.state, "reason": self.why, "stale": self.changed}
        row |= {"origin": self.origin, "shadows": self.shadows, "date": self.date}
        for protocol in PROTOCOLS:
            row |= {column_of(name, protocol): value for name, value in self.metrics.get(protocol, {}).items()}
        added = {name: measure.numbers for name, measure in self.more.items()}
        for attack, numbers in {**self.metrics.get("attacks", {}), **added}.items():
            for name, value in numbers.items():
                column = f"{attack}.{name}"
                if isinstance(value, list):
                    row[column], row[f"{column}_low"], row[f"{column}_high"] = value
                else:
                    row[column] = value
        row |= {f"identification.{name}": value for name, value in self.metrics.get("identification", {}).items()}
        row |= {f"items.{name}": number for name, number in self.metrics.get("items", {}).items()}
        costs = self.metrics.get("cost", {})
        row |= {f"ep_{phase}": math.nan if ep is None else ep for phase, ep in costs.items()}
        return row | {f"seconds_{phase}": seconds for phase, seconds in self.observed["seconds"].items()}


def column_of(metric: str, protocol: str) -> str:
    """The column of a metric of a protocol in `load`; protocol clean has no prefix, and MIA is the same for both."""
    return metric if protocol == CLEAN.name or metric == "mia" else f"{protocol}.{metric}"
