"""Runs a plan: makes the artefacts that are missing, then the cells, over several workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from unlearnbench.operations.work import Effort, Outcome, Progress, execute
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Plan, Rerun
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.reporting import tables
from unlearnbench.reporting.rendering import Table
from unlearnbench.runtime import timing
from unlearnbench.storage import folders


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        plan: What was wanted.
        outcomes: Of everything that was not there before.
        tables: All tables for which the preset has records by now, by the name of their files.
        seconds: How long that took, the tables not included.
        workers: How many there were.
    """

    plan: Plan
    outcomes: Sequence[Outcome] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    seconds: float = 0.0
    workers: int = 1

    @property
    def failed(self) -> list[Outcome]:
        """The cells that failed now, or in an earlier run and were not tried again."""
        before = self.plan.failed_before.items()
        earlier = [Outcome(name, status.failure, 0.0, 0.0, status.why) for name, status in before]
        return earlier + [o for o in self.outcomes if o.is_cell and o.status != CellStatus.OK]

    @property
    def speed(self) -> dict[str, float]:
        """The median speed of trainings, each by one worker; empty if nothing was trained."""
        rates = {unit: [o.speed[unit] for o in self.outcomes if unit in o.speed] for unit in ("images/s", "GFLOP/s")}
        return {unit: median(found) for unit, found in rates.items() if found}

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of all workers by kind of work; those in which a worker had nothing to do are "idle"."""
        found = {kind: sum(o.spent.get(kind, 0.0) for o in self.outcomes) for kind in timing.KINDS}
        return {**found, "idle": max(0.0, self.workers * self.seconds - sum(found.values()))}


def run(
    preset: str | Path = "demo",
    *,
    datasets: str | Sequence[str] = (),
    tasks: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: str | int | Sequence[int] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    retry_failed: bool = False,
    accept_stale: bool = False,
    fail_fast: bool = False,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs every cell of a selection that has no valid record yet, and writes the tables.

    Args:
        preset: The name of a preset, or the path of a TOML file.
        datasets: Names to run; everything that the preset selects if empty, likewise for the next two.
        tasks: Names of tasks.
        methods: Names of methods; FILE.py:FUNCTION for one that is not installed.
        overrides: Options by name of a method or task, e.g. `{"laf": {"tau": 5.0}}`.
        seeds: Such as "0-4", 3 or [0, 2]; the preset's if None.
        jobs: Workers, one thread each; None: one for each core, or one on a GPU.
        device: "auto", "cpu" or "cuda".
        arithmetic: "portable": the same bits on every x86-64 processor with AVX2; "native": faster, and other bits on
            other processors; "auto": portable where that can be had.
        results: Folder of records and tables.
        cache: Folder of artefacts; None: $UNLEARNBENCH_CACHE or the user's cache folder.
        data: Folder with the data sets' files; None: $UNLEARNBENCH_DATA or the user's data folder.
        dry_run: Only plan.
        force: Run finished cells again; shared artefacts, such as originals and shadow models, are kept.
        retry_failed: Run cells again that failed before.
        accept_stale: Reuse cells that were made by other code, options or data, with a footnote in the tables.
        fail_fast: Stop at the first cell that fails.
        timeout: Seconds after which the method or attack of a cell is stopped.
        progress: Receives progress events; `unlearnbench.Reporter()` prints them. None: no progress is shown.

    Returns:
        The plan, what was done, and the tables.

    Raises:
        UserError: If something about the arguments is wrong; nothing has been computed then.
    """
    selection = Selection.of(preset, datasets, tasks, methods, seeds, overrides)
    workspace = Workspace.of(results, cache, data, device, arithmetic)
    effort = Effort(jobs, timeout, fail_fast)
    plan = planned(selection, workspace, Rerun(force, retry_failed, accept_stale))
    return carry_out(plan, selection, effort, dry_run=dry_run, progress=progress)


def carry_out(plan: Plan, selection: Selection, effort: Effort, *, dry_run: bool, progress: Progress | None) -> Summary:
    """Does the work of a plan and writes the tables; arguments as in `run`."""
    if dry_run:
        return Summary(plan)
    folders.check_writable(plan.results)
    start = time.perf_counter()
    workers = effort.workers(plan.workspace.device, len(plan.shared) + len(plan.to_run))
    outcomes = execute(plan, workers, effort, progress)
    seconds = time.perf_counter() - start
    made = tables.write(plan.workspace.results, selection.preset, plan.rerun.accept_stale, plan.records)
    return Summary(plan, outcomes, made, seconds, workers)
