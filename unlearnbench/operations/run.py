"""Runs a plan: makes the artefacts that are missing, then the cells, over several workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.operations.work import Outcome, Progress, check_jobs, execute, workers
from unlearnbench.planning import presets
from unlearnbench.planning.plan import Plan
from unlearnbench.planning.selection import planned
from unlearnbench.plugins.files import named
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
        """The cells that did not work, now or in an earlier run and were not tried again."""
        before = ((name, *why.partition(": ")) for name, why in self.plan.failed_before.items())
        earlier = [Outcome(name, status, 0.0, 0.0, reason) for name, status, _, reason in before]
        return earlier + [o for o in self.outcomes if o.is_cell and o.status != "ok"]

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
        force: Run finished cells again. What cells share, such as originals and shadows, is kept.
        retry_failed: Run cells again that failed before.
        accept_stale: Leave cells as they are that other code, options or data made; tables say so.
        fail_fast: Stop at the first cell that fails.
        timeout: Seconds after which a cell, or a method's preparation, is given up.
        progress: Is told how it goes, e.g. `unlearnbench.Reporter()`, which prints it; nobody if None.

    Returns:
        The plan, what was done, and the tables.

    Raises:
        UserError: If something about the arguments is wrong; nothing has been computed then.
    """
    plan = planned(
        preset,
        datasets=several(datasets),
        tasks=several(tasks),
        methods=named(several(methods)),
        seeds=() if seeds is None else presets.parse_seeds(seeds),
        overrides=overrides,
        device=device,
        arithmetic=arithmetic,
        results=results,
        cache=cache,
        data=data,
        force=force,
        retry=retry_failed,
        accept_stale=accept_stale,
    )
    return carried_out(
        plan, preset, jobs=jobs, dry_run=dry_run, progress=progress, fail_fast=fail_fast, timeout=timeout
    )


def carried_out(
    plan: Plan,
    preset: str | Path,
    *,
    jobs: int | None,
    dry_run: bool,
    progress: Progress | None,
    fail_fast: bool = False,
    timeout: float | None = None,
) -> Summary:
    """Does the work of a plan and writes the tables; arguments as in `run`."""
    check_jobs(jobs)
    if timeout is not None and not timeout > 0:
        raise UserError(f"--timeout must be more than 0 seconds, not {timeout:g}")
    if dry_run:
        return Summary(plan)
    folders.check_writable(plan.results)
    start, several_workers = time.perf_counter(), workers(jobs, plan)
    outcomes = execute(plan, several_workers, progress, fail_fast, timeout)
    seconds = time.perf_counter() - start
    made = tables.write(plan.results.parent, presets.read(str(preset)), plan.accept_stale, plan.records)
    return Summary(plan, outcomes, made, seconds, several_workers)


def several(names: str | Sequence[str]) -> Sequence[str]:
    """Names, of which a single one may stand alone."""
    return (names,) if isinstance(names, str) else names
