"""A plan: cells, the state of each, and the artefacts that are missing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.artefact import Artefact, unmade
from unlearnbench.artefacts.prepared import Prepared
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.artefacts.shadow import Shadow
from unlearnbench.artefacts.training import Training, together
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.selection import Workspace
from unlearnbench.planning.staleness import State, Status, status_of
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
        """The status of a cell; those of forced methods are run again whatever their records say."""
        forced = cell.method in self.forced
        return Status(State.TO_RUN) if forced else status_of(cell.path, cell.key, self.rerun.accept_stale)

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
        """The missing artefacts that are made before the cells."""
        return made_first(self.missing)

    @property
    def ep(self) -> float:
        """The work ahead, in passes over the training set."""
        return sum(artefact.ep for artefact in self.missing)

    @property
    def size(self) -> int:
        """The disk space that the work ahead will take, in bytes."""
        return sum(artefact.size for artefact in self.missing)


def made_first(missing: Iterable[Artefact]) -> list[Artefact]:
    """The artefacts that are made before cells: trainings first, the longest in front, then preparations."""
    missing = list(missing)
    trainings = together(artefact for artefact in missing if isinstance(artefact, Training))
    preparations = [artefact for artefact in missing if isinstance(artefact, Prepared)]
    return [
        *sorted(trainings, key=lambda training: -training.total_ep),
        *sorted(preparations, key=lambda prepared: -prepared.total_ep),
    ]
