"""The cells of a run, what is there of them, and the work that is still to be done."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.jobs import Job
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.runtime.arithmetic import environment
from unlearnbench.storage.keys import differences
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store


@dataclass(frozen=True)
class Cell:
    """One (dataset, model, task, method, seed).

    Attributes:
        scenario: All but the method.
        method: Name of the method.
        depth: How many other methods' results come before.
        outputs: The artefact with its network's logits.
        shadows: The artefacts that attacks learn from.
        attacks: The attacks that its record has, with their options.
        key: Everything that goes into its record.
        path: Of the record.
        about: What tables and people need to know: names, titles, role, options.
        command: What reproduces it.
    """

    scenario: Scenario
    method: str
    depth: int
    outputs: Job
    shadows: Sequence[Job]
    attacks: Mapping[str, Mapping[str, Any]]
    key: Mapping[str, Any]
    path: Path
    about: Mapping[str, Any]
    command: str

    def __str__(self) -> str:
        return " ".join(str(self.about[name]) for name in ("dataset", "task", "method", "seed"))


@dataclass(frozen=True)
class Status:
    """What is there of a cell.

    Attributes:
        state: "cached", "to run", "stale", "accepted" (though stale) or "failed" (and tried again only if asked for).
        why: For the last three.
        record: The record of a cached cell.
    """

    state: str
    why: str = ""
    record: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """Cells in the order in which they run, parents first.

    Attributes:
        cells: All of them.
        results: The folder of the records.
        store: The artefacts.
        forced: Methods of which finished cells run again.
        retry: Whether failed cells run again.
        accept_stale: Whether stale cells do not.
    """

    cells: Sequence[Cell]
    results: Path
    store: Store
    forced: Container[str] = ()
    retry: bool = False
    accept_stale: bool = False

    def status(self, cell: Cell) -> Status:
        """Compares the record of a cell, if there is one, with what the plan wants."""
        record = None if cell.method in self.forced else read_record(cell.path)
        if record is None:
            return Status("to run")
        reasons = differences(record["key"], cell.key)
        if reasons:
            accepted = self.accept_stale and record["status"] == "ok"
            return Status("accepted" if accepted else "stale", "; ".join(dict.fromkeys(short(r) for r in reasons)))
        if record["status"] != "ok":
            return Status("failed", f"{record['status']}: {record.get('reason', 'no reason is given')}")
        return Status("cached", record={**record, "key": cell.key})  # equal, and there already: keys are large

    @cached_property
    def statuses(self) -> list[Status]:
        """The status of every cell, when first asked for."""
        return [self.status(cell) for cell in self.cells]

    @cached_property
    def to_run(self) -> list[Cell]:
        """The cells without a valid record; without those that failed before, unless they are tried again."""
        done = ("cached", "accepted") if self.retry else ("cached", "accepted", "failed")
        return [c for c, s in zip(self.cells, self.statuses, strict=True) if s.state not in done]

    @property
    def environment(self) -> Mapping[str, str]:
        """What the processes that do the work are started with."""
        return environment(self.cells[0].scenario.arithmetic) if self.cells else {}

    @property
    def records(self) -> dict[Path, Mapping[str, Any]]:
        """The records of cached cells by path, as they were when the plan was made; to read many takes long."""
        found = zip(self.cells, self.statuses, strict=True)
        return {cell.path: status.record for cell, status in found if status.record}

    @property
    def failed_before(self) -> dict[str, str]:
        """Why cells failed in an earlier run that are not tried again, by their names."""
        found = zip(self.cells, self.statuses, strict=True)
        return {} if self.retry else {str(c): s.why for c, s in found if s.state == "failed"}

    @cached_property
    def missing(self) -> list[Job]:
        """The artefacts that have to be made, each after what it needs."""
        found: dict[str, Job] = {}
        for cell in self.to_run:
            for job in (*cell.shadows, cell.outputs):
                for needed in unmade(job, self.store, again=cell.method in self.forced and job is cell.outputs):
                    found.setdefault(needed.digest, needed)
            if cell.outputs.digest in found and cell.outputs.keep:  # then it is no work of its own
                found[cell.outputs.keep.digest] = replace(cell.outputs.keep, ep=0.0)
        return list(found.values())

    @property
    def shared(self) -> list[Job]:
        """The missing artefacts that are made before the cells: trainings first, the longest at the front."""
        jobs = [job for job in self.missing if job.kind in ("original", "shadow", "prepared")]
        return sorted(together(jobs), key=lambda job: (job.kind == "prepared", -job.work))

    @property
    def ep(self) -> float:
        """The work ahead, in passes over the training set."""
        return sum(job.ep for job in self.missing)

    @property
    def size(self) -> int:
        """The disk that it will take, in bytes."""
        return sum(job.size for job in self.missing)


def together(jobs: Iterable[Job]) -> Iterator[Job]:
    """Jobs, of which those that one computation shall make are one, as many as there is room for."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.shape if job.room > 1 else job.digest, []).append(job)
    for group in groups.values():
        room = group[0].room
        for start in range(0, len(group), room):
            yield replace(group[start], beside=group[start + 1 : start + room])


def unmade(job: Job, store: Store, again: bool = False) -> Iterator[Job]:
    """What has to be made for a job, each after what it needs, the job last; nothing if it is there, unless `again`."""
    if again or not store.has(job.key):
        for needed in job.needs.values():
            yield from unmade(needed, store)
        yield job


def short(reason: str) -> str:
    """A reason without the path that leads to it, e.g. "recipe.epochs: 16 -> 20"."""
    path, colon, values = reason.partition(": ")
    return ".".join(path.split(".")[-2:]) + colon + values
