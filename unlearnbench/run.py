"""Runs a plan: makes the artefacts that are missing, then the cells, over several workers."""

from __future__ import annotations

import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import joblib
import torch

from unlearnbench import clock, folders, presets, tables
from unlearnbench.arithmetic import resolved
from unlearnbench.artefacts import Job
from unlearnbench.errors import StorageError, UserError
from unlearnbench.local import named
from unlearnbench.making import ParentFailedError, Workshop, still_missing
from unlearnbench.measuring import Laboratory, observed
from unlearnbench.plan import Cell, Plan
from unlearnbench.planner import build
from unlearnbench.rendering import Table
from unlearnbench.store import SCHEMA, Store, differences, read_record, write_record
from unlearnbench.workers import Done, in_parallel

STATUSES = ("ok", "failed", "diverged", "timeout", "out-of-memory", "crashed", "skipped")
"""What can become of a cell: its numbers are there; an exception; numbers that are not finite; too long; no memory;
the process died; the method that it starts from has no result."""
FATES = {
    "timeout": "its method or an attack was not done within {limit:g} s: see --timeout",
    "crashed": "its process died, alone too: it was killed, perhaps for lack of memory, or it exited",
}
"""What is known of work whose process did not survive."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job or a cell.

    Attributes:
        name: What it was.
        status: One of `STATUSES` for a cell; "made", or one of these but "ok", for an artefact.
        seconds: How long it took.
        ep: How much work it was, in passes over the training set.
        reason: Why it did not work.
        is_cell: Whether it was a cell.
        spent: Its seconds by kind of work; see `clock.KINDS`.
        speed: Of a training: "images/s", and "GFLOP/s" where they can be counted.
    """

    name: str
    status: str
    seconds: float
    ep: float
    reason: str = ""
    is_cell: bool = True
    spent: Mapping[str, float] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)


class Progress(Protocol):
    """Is told how a run goes."""

    def start(self, plan: Plan) -> None:
        """The run begins."""

    def done(self, outcome: Outcome) -> None:
        """A job or a cell is finished."""

    def finish(self) -> None:
        """The run is over, or was interrupted."""


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
        found = {kind: sum(o.spent.get(kind, 0.0) for o in self.outcomes) for kind in clock.KINDS}
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


def planned(
    preset: str | Path,
    *,
    datasets: Sequence[str] = (),
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    force: bool = False,
    retry: bool = False,
    accept_stale: bool = False,
    fleet: int | None = None,
) -> Plan:
    """The plan of a selection; arguments as in `run`, and the index of a fleet's world in which all happens."""
    chosen, where = presets.read(str(preset)), choose_device(device)
    store = Store(folders.cache(cache))
    folders.check_writable(store.root)
    return build(
        chosen,
        store,
        Path(results) / chosen.name,
        datasets=datasets,
        tasks=tasks,
        methods=methods,
        seed_list=seeds,
        overrides=overrides,
        root=folders.data(data),
        device=where,
        arithmetic=resolved(arithmetic, where),
        force=force,
        retry=retry,
        accept_stale=accept_stale,
        preset_name=str(preset),
        fleet=fleet,
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


def check_jobs(jobs: int | None) -> None:
    """Raises `UserError` for a number of workers that nobody can have."""
    if jobs is not None and jobs < 1:
        raise UserError(f"-j must be at least 1, not {jobs}")


def several(names: str | Sequence[str]) -> Sequence[str]:
    """Names, of which a single one may stand alone."""
    return (names,) if isinstance(names, str) else names


def execute(
    plan: Plan, jobs: int, progress: Progress | None, fail_fast: bool = False, timeout: float | None = None
) -> list[Outcome]:
    """Does the work of a plan.

    The queue is in an order in which everything comes after what it needs, so a worker seldom waits; if it gets ahead,
    it makes the missing artefact itself, or waits on the lock of the one who is making it.
    """
    queue: list[Job | Cell] = [*plan.shared, *plan.to_run]
    outcomes: list[Outcome] = []
    if progress:
        progress.start(plan)
    try:
        calls = [(item, plan.store, is_forced(item, plan)) for item in queue]
        with closing(in_parallel(work, calls, jobs, timeout, plan.environment)) as found:
            for done in found:
                outcome = done.result or perished(queue[done.index], done, timeout)
                outcomes.append(outcome)
                if progress:
                    progress.done(outcome)
                if fail_fast and outcome.is_cell and outcome.status != "ok":
                    break
    finally:
        if progress:
            progress.finish()
    return outcomes


def perished(item: Job | Cell, done: Done[Outcome], limit: float | None) -> Outcome:
    """What became of an item whose process did not survive it; for a cell, there is a record of it."""
    reason = FATES[done.reason].format(limit=limit or 0.0)
    if isinstance(item, Cell) and made_meanwhile(item):
        return Outcome(str(item), "ok", 0.0, item.outputs.ep)
    if isinstance(item, Cell):
        trace = {"traceback": done.trace} if done.trace else {}
        write_record(item.path, {**failure(item, done.reason, reason), **trace})
    ep = item.work if isinstance(item, Job) else item.outputs.ep
    return Outcome(str(item), done.reason, 0.0, ep, reason, isinstance(item, Cell))


def is_forced(item: Job | Cell, plan: Plan) -> bool:
    """Whether an item is a cell that shall be unlearned even if its outputs are there."""
    return isinstance(item, Cell) and item.method in plan.forced


def work(item: Job | Cell, store: Store, force: bool) -> Outcome:
    """What a worker does: makes an artefact or a cell, on one thread; whatever goes wrong stays in its outcome."""
    start = time.perf_counter()
    if parent_process() is not None:  # Ctrl-C is for the main process, which ends its workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        warnings.showwarning = lambda message, *_args, **_kwargs: print(f"warning: {message}", file=sys.stderr)  # noqa: T201
    clock.taken()
    speed: Mapping[str, float] = {}
    with one_thread(), redirect_stdout(sys.stderr), clock.spending("machinery"):  # what plugins print is no result
        if isinstance(item, Job):
            status, reason, speed = make_artefact(item, store)
        else:
            status, reason = make_cell(item, store, force)
    ep = item.work if isinstance(item, Job) else item.outputs.ep
    seconds = time.perf_counter() - start
    return Outcome(str(item), status, seconds, ep, reason, isinstance(item, Cell), clock.taken(), speed)


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks compute on one thread: sums depend on how many there are. Workers are started so; see `environment`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def laboratory(store: Store) -> Laboratory:
    """A worker's laboratory, kept from item to item."""
    return Laboratory(Workshop(store))


def make_artefact(job: Job, store: Store) -> tuple[str, str, Mapping[str, float]]:
    """Makes an artefact; if that fails, the cells that need it will say so in their records.

    Returns:
        The status, the reason, and the speed if it was a training.
    """
    try:
        _, info = laboratory(store).workshop.get(still_missing(job, store))
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        return status_of(error), reason_of(error), {}
    return "made", "", info if job.kind in ("original", "shadow") else {}


def make_cell(cell: Cell, store: Store, force: bool) -> tuple[str, str]:
    """Makes a cell's record, of success or of failure."""
    if force:
        store.remove(cell.outputs.key)
    elif made_meanwhile(cell):
        return "ok", ""
    try:
        record = laboratory(store).record(cell)
        write_record(cell.path, record)  # fails if something in it is no number, or no JSON at all
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        record = {**failure(cell, status_of(error), reason_of(error)), "traceback": traceback.format_exc()}
        write_record(cell.path, record)
    return record["status"], record.get("reason", "")


def made_meanwhile(cell: Cell) -> bool:
    """Whether another run on the same folder has made a cell's record since this one was planned."""
    record = read_record(cell.path)
    return record is not None and record["status"] == "ok" and not differences(record["key"], cell.key)


def failure(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """The record of a cell that has no numbers."""
    return {
        "schema": SCHEMA,
        "status": status,
        "reason": reason,
        "cell": dict(cell.about),
        "key": dict(cell.key),
        "observed": observed(cell, {}),
    }


def status_of(error: BaseException) -> str:
    """What kind of failure an exception is."""
    if isinstance(error, ParentFailedError):
        return "skipped"
    if isinstance(error, FloatingPointError):
        return "diverged"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out-of-memory"
    return "failed"


def reason_of(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def workers(jobs: int | None, plan: Plan) -> int:
    """How many workers to use."""
    device = "cuda" if any(cell.setting.device == "cuda" for cell in plan.cells) else "cpu"
    return max(1, min(workers_on(device, jobs), len(plan.shared) + len(plan.to_run)))


def workers_on(device: str, jobs: int | None) -> int:
    """How many workers were asked for, or else are usual: one for each core, or one on a GPU."""
    return jobs or (1 if device == "cuda" else joblib.cpu_count())


def choose_device(name: str) -> str:
    """Resolves "auto"."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here: use --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
