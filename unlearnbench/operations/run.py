"""Runs the cells of a preset, and writes its tables and its report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from unlearnbench.engines.choice import opened, silent
from unlearnbench.errors import UserError
from unlearnbench.operations import report
from unlearnbench.operations.progress import Reporter, usual_reporter
from unlearnbench.operations.work import Effort, Outcome, Progress, execute
from unlearnbench.planning.cell_info import FINISHED
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Plan, Rerun
from unlearnbench.planning.presets import PresetLike
from unlearnbench.planning.presets.content import portable
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.sweep import Sweep, swept
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.reporting import rendering, tables
from unlearnbench.reporting.cells import cells_of_preset
from unlearnbench.reporting.rendering import Table
from unlearnbench.runtime import timing
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, repr=False)
class Summary:
    """The result of a run.

    Attributes:
        plan: The plan.
        outcomes: The outcomes of all artefacts and cells that were not cached.
        tables: All tables that the preset has records for, by file name.
        seconds: Wall-clock time, without planning and tables.
        workers: Number of workers.
        report: The file of the report; None after a dry run.
    """

    plan: Plan
    outcomes: Sequence[Outcome] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    seconds: float = 0.0
    workers: int = 1
    report: Path | None = None

    def __repr__(self) -> str:
        done = len([outcome for outcome in self.outcomes if outcome.is_cell])
        failed = f", {len(self.failed)} failed" if self.failed else ""
        cells = f"{len(self.plan.cells)} cells of preset {self.plan.results.name}"
        return f"Summary({cells}: {done} run{failed}, {self.seconds:.1f} s)"

    def _repr_html_(self) -> str:
        """What a notebook shows: the tables of the tasks that took part, and the cells that failed."""
        tasks = {cell.info.task for cell in self.plan.cells}
        shown = [rendering.html(table) for table in self.tables.values() if table.task in tasks]
        failures = [f"<p>{escape(f'{one.status}: {one.name}: {one.reason}')}</p>" for one in self.failed]
        return "\n".join([f"<p>{escape(repr(self))}</p>", *shown, *failures])

    @property
    def failed(self) -> list[Outcome]:
        """The cells that failed in this run, or in an earlier run and were not run again."""
        failed_before = self.plan.failed_before.items()
        earlier = [Outcome(name, status.failure, 0.0, 0.0, status.why) for name, status in failed_before]
        return earlier + [outcome for outcome in self.outcomes if outcome.is_cell and outcome.status not in FINISHED]

    @property
    def speed(self) -> dict[str, float]:
        """The median speed of trainings on one worker, by unit; empty if nothing was trained."""
        speeds = [outcome.speed for outcome in self.outcomes]
        rates = {unit: [speed[unit] for speed in speeds if unit in speed] for unit in ("images/s", "GFLOP/s")}
        return {unit: median(values) for unit, values in rates.items() if values}

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of all workers by kind of work; "idle" is the time without work."""
        spent = {kind: sum(outcome.spent.get(kind, 0.0) for outcome in self.outcomes) for kind in timing.KINDS}
        return {**spent, "idle": max(0.0, self.workers * self.seconds - sum(spent.values()))}


def run(
    preset: PresetLike = "demo",
    *,
    datasets: str | Sequence[str] = (),
    tasks: str | Sequence[str] = (),
    methods: str | Plugin | Sequence[str | Plugin] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    sweep: Sweep | None = None,
    combinations: bool = False,
    seeds: str | int | Iterable[int] | None = None,
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
    progress: Progress | bool | None = None,
    engine: str | Path | Client | None = None,
) -> Summary:
    """Runs every cell of a selection that has no valid record yet, and writes the tables and the report.

    Args:
        preset: The name of a preset, the path of a TOML file, or the content of such a file as a dict, whose key `name`
            is the name of the folder of its results.
        datasets: Names of data sets; empty: all that the preset selects, likewise for the next two.
        tasks: Names of tasks.
        methods: Names of methods, FILE.py:FUNCTION, or methods themselves. The code of one that only a notebook has is
            kept in the folder `notebook` of the results.
        overrides: Options by name of a method or task, e.g. `{"laf": {"tau": 5.0}}`.
        sweep: Values to try beside those of the preset, e.g. `{"laf": {"tau": [5.0, 20.0]}}`, with its methods if
            `methods` names none; None: the preset's sweep.
        combinations: Try all combinations of these values, instead of one change at a time.
        seeds: Such as "0-4", 3 or [0, 2]; None: those of the preset.
        jobs: Workers, one thread each; with GPUs, of each GPU. None: one for each core, or for each GPU.
        device: "auto", "cpu" or "cuda".
        arithmetic: "portable": the same bits on every x86-64 processor with AVX2; "native": faster, but bits depend
            on the processor; "auto": portable if available.
        results: Folder of records and tables.
        cache: Folder of artefacts, or the URL of one; None: $UNLEARNBENCH_CACHE or the user's cache folder.
        data: Folder with the data sets' files; None: $UNLEARNBENCH_DATA or the user's data folder.
        dry_run: Plan, but compute nothing.
        force: Run finished cells again; shared artefacts, such as originals and shadow models, are reused.
        retry_failed: Run cells again that failed in an earlier run.
        accept_stale: Reuse stale cells (made by other code, options or data), with a footnote in the tables.
        fail_fast: Stop at the first cell that fails.
        timeout: Seconds after which the method or attack of a cell is stopped.
        progress: Receives progress events, e.g. `unlearnbench.Reporter()`, which prints them. True: print them; False:
            do not; None: print them in a terminal and in a notebook.
        engine: Who has the workers: the address of a Dask scheduler, the path of its file, or a `distributed.Client`;
            None: this machine.

    Returns:
        The plan, the outcomes, the tables, and where the report is.

    Raises:
        UserError: If an argument is wrong; nothing is computed then.
        EngineLostError: If the scheduler is gone in the middle; the same call goes on from there.
    """
    selection = Selection.of(preset, datasets, tasks, methods, seeds, overrides, results)
    rerun = Rerun(force, retry_failed, accept_stale)
    if progress is None or isinstance(progress, bool):
        progress = usual_reporter() if progress is None else Reporter() if progress else None
    with opened(engine, jobs, progress.note if progress else silent) as workers:
        workspace = Workspace.of(results, cache, data, device, arithmetic, workers)
        effort = Effort(jobs, timeout, fail_fast, workers)
        if isinstance(preset, Mapping):
            selection = with_file(selection, preset, workspace, dry_run)
        if sweep or selection.preset.sweep:
            plan = swept(selection, workspace, sweep, combinations, rerun)
        elif combinations:
            raise UserError("--combinations needs values: add --sweep NAME.KEY=V1,V2")
        else:
            plan = planned(selection, workspace, rerun)
        return carry_out(plan, selection, effort, dry_run=dry_run, progress=progress)


def with_file(selection: Selection, preset: Mapping[str, Any], workspace: Workspace, dry_run: bool) -> Selection:
    """A selection whose preset has a file in its results folder, for the commands that records name."""
    name = selection.preset.name
    path = workspace.results / name / f"{name}.json"
    if not dry_run:
        folders.check_writable(path.parent)
        write_atomically(path, json.dumps(portable(preset), indent=1).encode())
    return replace(selection, preset=replace(selection.preset, source=str(path)), preset_name=str(path))


def carry_out(plan: Plan, selection: Selection, effort: Effort, *, dry_run: bool, progress: Progress | None) -> Summary:
    """Carries out a plan, and writes the tables and the report; arguments as in `run`."""
    if dry_run:
        return Summary(plan)
    folders.check_writable(plan.results)
    start = time.perf_counter()
    workers = effort.workers(plan.workspace.device, len(plan.shared) + len(plan.to_run))
    outcomes = execute(plan, workers, effort, progress)
    workers = max(workers, effort.workers(plan.workspace.device, len(outcomes)))  # those of a scheduler may have joined
    seconds = time.perf_counter() - start
    results, preset = plan.workspace.results, selection.preset
    cells = list(cells_of_preset(results, preset, plan.rerun.accept_stale, plan.records))
    written, path = tables.write_cells(cells, plan.results), report.write(cells, preset, results)
    return Summary(plan, outcomes, written, seconds, workers, path)
