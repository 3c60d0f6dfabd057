"""A plan: cells, the state of each, and the artefacts that are missing."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.artefact import Artefact, unmade
from unlearnbench.artefacts.prepared import Prepared
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.artefacts.shadow import Shadow
from unlearnbench.artefacts.training import Training, together
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.selection import Workspace
from unlearnbench.storage.keys import differences
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store


@dataclass(frozen=True)
class Cell:
    """A scenario and a method.

    Attributes:
        scenario: The scenario.
        method: Name of the method.
        depth: How many methods it starts from, one after the other.
        outputs: The artefact with the logits of its network.
        shadows: The shadow models that its attacks use.
        attacks: The attacks of its record, with their options.
        key: Everything that goes into its record.
        path: The file of its record.
        info: The part `cell` of its record: names, titles, role, options.
        command: The command that reproduces it.
    """

    scenario: Scenario
    method: str
    depth: int
    outputs: Outputs
    shadows: Sequence[Shadow]
    attacks: Mapping[str, Mapping[str, Any]]
    key: Mapping[str, Any]
    path: Path
    info: CellInfo
    command: str

    def __str__(self) -> str:
        return f"{self.info.dataset} {self.info.task} {self.info.method} {self.info.seed}"


class State(StrEnum):
    """The state of a cell before a run."""

    CACHED = "cached"
    TO_RUN = "to run"
    STALE = "stale"
    ACCEPTED = "accepted"
    """Stale, and reused because the user accepts it."""
    FAILED = "failed"
    """In an earlier run; tried again only with --retry-failed."""


@dataclass(frozen=True)
class Status:
    """The state of a cell, and why.

    Attributes:
        state: The state.
        why: The reason, where the state is stale, accepted or failed.
        record: The record of a cached cell.
        failure: The status in the record of a failed cell.
    """

    state: State
    why: str = ""
    record: Mapping[str, Any] | None = field(default=None, repr=False)
    failure: str = ""


@dataclass(frozen=True)
class Rerun:
    """Which finished cells are computed again.

    Attributes:
        force: Those of the selected methods.
        retry_failed: Those that failed before.
        accept_stale: Not those that are stale.
    """

    force: bool = False
    retry_failed: bool = False
    accept_stale: bool = False


@dataclass(frozen=True)
class Plan:
    """Cells in the order in which they run, parents first.

    Attributes:
        cells: All of them.
        results: The folder of the preset's results.
        workspace: Where artefacts and data are.
        rerun: Which finished cells are computed again.
        forced: The methods whose finished cells are computed again.
    """

    cells: Sequence[Cell]
    results: Path
    workspace: Workspace
    rerun: Rerun = Rerun()
    forced: Container[str] = ()

    @property
    def store(self) -> Store:
        """The cache."""
        return self.workspace.store

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of worker processes."""
        return self.workspace.environment

    @cached_property
    def statuses(self) -> list[Status]:
        """The status of every cell, read when it is first asked for."""
        return [self.status(cell) for cell in self.cells]

    def status(self, cell: Cell) -> Status:
        """Compares the record of a cell, if there is one, with the plan."""
        record = None if cell.method in self.forced else read_record(cell.path)
        if record is None:
            return Status(State.TO_RUN)
        reasons = differences(record["key"], cell.key)
        if reasons:
            accepted = self.rerun.accept_stale and record["status"] == CellStatus.OK
            why = "; ".join(dict.fromkeys(short(reason) for reason in reasons))
            return Status(State.ACCEPTED if accepted else State.STALE, why)
        if record["status"] != CellStatus.OK:
            return Status(State.FAILED, record.get("reason", "no reason is given"), failure=record["status"])
        return Status(State.CACHED, record={**record, "key": cell.key})  # equal, and in memory already: keys are large

    @cached_property
    def to_run(self) -> list[Cell]:
        """The cells without a valid record, and those that failed before if they are to be tried again."""
        done = {State.CACHED, State.ACCEPTED} | (set() if self.rerun.retry_failed else {State.FAILED})
        return [cell for cell, status in zip(self.cells, self.statuses, strict=True) if status.state not in done]

    @property
    def records(self) -> dict[Path, Mapping[str, Any]]:
        """The records of cached cells by path, as they were when the plan was made; to read many takes long."""
        cells = zip(self.cells, self.statuses, strict=True)
        return {cell.path: status.record for cell, status in cells if status.record}

    @property
    def failed_before(self) -> dict[str, Status]:
        """The status of the cells that failed before and are not tried again, by name."""
        if self.rerun.retry_failed:
            return {}
        cells = zip(self.cells, self.statuses, strict=True)
        return {str(cell): status for cell, status in cells if status.state == State.FAILED}

    @cached_property
    def missing(self) -> list[Artefact]:
        """The artefacts to make, each after its needs."""
        missing: dict[str, Artefact] = {}
        for cell in self.to_run:
            for artefact in (*cell.shadows, cell.outputs):
                again = cell.method in self.forced and artefact is cell.outputs
                for needed in unmade(artefact, self.store, again):
                    missing.setdefault(needed.digest, needed)
            if cell.outputs.digest in missing and (network := cell.outputs.network):
                missing[network.digest] = replace(network, ep=0.0)  # a by-product
        return list(missing.values())

    @property
    def shared(self) -> list[Artefact]:
        """The missing artefacts that are made before the cells: trainings first, the longest in front."""
        trainings = together(artefact for artefact in self.missing if isinstance(artefact, Training))
        preparations = [artefact for artefact in self.missing if isinstance(artefact, Prepared)]
        return [
            *sorted(trainings, key=lambda training: -training.total_ep),
            *sorted(preparations, key=lambda prepared: -prepared.total_ep),
        ]

    @property
    def ep(self) -> float:
        """The work ahead, in passes over the training set."""
        return sum(artefact.ep for artefact in self.missing)

    @property
    def size(self) -> int:
        """The disk space that the work ahead will take, in bytes."""
        return sum(artefact.size for artefact in self.missing)


def short(reason: str) -> str:
    """A difference of two keys without the path that leads to it, e.g. "recipe.epochs: 16 -> 20"."""
    path, colon, values = reason.partition(": ")
    return ".".join(path.split(".")[-2:]) + colon + values
