"""Makes the missing artefacts and then the cells of a plan, in several worker processes."""

from __future__ import annotations

import signal
import sys
import time
import traceback
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import parent_process
from typing import Any, Protocol

import torch

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.training import Training
from unlearnbench.artefacts.unlearned import ParentFailedError
from unlearnbench.engines.lanes import Done, Engine
from unlearnbench.engines.local import LOCAL
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import NotApplicableError, StorageError, UserError
from unlearnbench.evaluation.record import Evaluator, observed_facts
from unlearnbench.operations.dependencies import Job, earlier_needs
from unlearnbench.operations.fitness import examined
from unlearnbench.planning.cell_info import FINISHED, CellStatus
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.runtime import timing
from unlearnbench.runtime.frames import at_line
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage.keys import canonical, differences
from unlearnbench.storage.records import SCHEMA, read_record, write_record
from unlearnbench.storage.store import Store, lock

MADE = "made"
"""The status of an artefact that was made."""
DEATH_REASONS = {
    CellStatus.TIMEOUT: "its method or an attack exceeded the time limit of {limit:g} s: see --timeout",
    CellStatus.CRASHED: "its process died, even alone: it was killed, perhaps for lack of memory, or it exited",
}
"""Why a job has no result, by status, if its process died."""
RESULTS = (CellStatus.DIVERGED, CellStatus.NOT_APPLICABLE)
"""The statuses whose reason says everything, so that records have no traceback."""
EVALUATION = 0.5
"""What a cell costs beside its ep, in ep and roughly: outputs on all samples, and attacks."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: an artefact or a cell.

    Attributes:
        name: The name of the artefact or the cell.
        status: That of the cell's record; for an artefact `MADE`, or the kind of failure.
        seconds: Wall-clock time.
        ep: The amount of work, in ep.
        reason: Why it failed or is not applicable; otherwise "".
        is_cell: True for a cell.
        spent: Its seconds by kind of work; see `timing.KINDS`.
        artefacts: For artefacts that are made before the cells: how many were made together.
        record: The record of a cell whose worker does not see the results folder; None if it has been written.
        speed: Of a training: "images/s", and "GFLOP/s" where operations can be counted.
    """

    name: str
    status: str
    seconds: float
    ep: float
    reason: str = ""
    is_cell: bool = True
    spent: Mapping[str, float] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    artefacts: int = 0
    record: Mapping[str, Any] | None = None


class Progress(Protocol):
    """Receives the events of a run."""

    def start(self, plan: Plan, workers: int) -> None:
        """The run starts with this number of workers."""

    def note(self, text: str) -> None:
        """Something has happened to the workers of a scheduler; without a scheduler this is never called."""

    def done(self, outcome: Outcome) -> None:
        """An artefact or a cell is finished."""

    def finish(self) -> None:
        """The run is over, or was interrupted."""


@dataclass(frozen=True)
class Effort:
    """Workers and limits of a run; they do not change any number.

    Attributes:
        jobs: Number of workers, one thread each; with GPUs, of each GPU. None: one for each core, or for each GPU.
        timeout: Seconds after which the method or attack of a cell is stopped; None: never.
        fail_fast: Stop at the first cell that fails.
        engine: Who has the workers; by default this machine.

    Raises:
        UserError: If a number is out of range.
    """

    jobs: int | None = None
    timeout: float | None = None
    fail_fast: bool = False
    engine: Engine = LOCAL

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"-j must be at least 1, not {self.jobs}")
        if self.timeout is not None and not self.timeout > 0:
            raise UserError(f"--timeout must be more than 0 seconds, not {self.timeout:g}")

    def workers(self, device: str, calls: int) -> int:
        """The number of workers for this many calls."""
        return max(1, min(calls, self.engine.workers(self.jobs, device)))


def execute(plan: Plan, workers: int, effort: Effort, progress: Progress | None) -> list[Outcome]:
    """Makes the missing artefacts and the cells of a plan.

    A job waits for those that make what it needs. Another run may make the same at the same time: then a worker that
    needs it waits for the lock of the worker that is making it.
    """
    queue: list[Job] = [*plan.shared, *plan.to_run]
    outcomes: list[Outcome] = []
    if progress:
        progress.start(plan, workers)

    def say(text: str) -> None:
        if progress:
            progress.note(text)

    try:
        datasets = {cell.scenario.dataset for cell in plan.to_run}
        with (
            examined(effort.engine, plan.workspace, datasets, plan.size, say) as engine,
            closing(make(queue, plan, workers, effort, engine)) as results,
        ):
            for outcome in results:
                outcomes.append(outcome)
                if progress:
                    progress.done(outcome)
                if effort.fail_fast and outcome.is_cell and outcome.status not in FINISHED:
                    break
    finally:
        if progress:
            progress.finish()
    return outcomes


def make(
    queue: Sequence[Job], plan: Plan, workers: int, effort: Effort, engine: Engine
) -> Generator[Outcome, None, None]:
    """Makes the jobs of a plan; yields their outcomes, when their records are written."""
    calls = [(job, plan.store, is_forced(job, plan)) for job in queue]
    after = earlier_needs(queue, {artefact.digest for artefact in plan.missing})
    with closing(in_parallel(work, calls, workers, effort.timeout, plan.environment, after, engine)) as results:
        for done in results:
            job = queue[done.index]
            outcome = done.result or outcome_of_death(job, done, effort.timeout, is_forced(job, plan))
            if outcome.record is not None and isinstance(job, Cell):
                keep(job, outcome.record, plan.store)
            yield replace(outcome, record=None)


def outcome_of_death(job: Job, done: Done[Outcome], limit: float | None, force: bool = False) -> Outcome:
    """The outcome of a job whose process died; writes a record of the failure for a cell.

    Args:
        job: The job.
        done: The call that ended.
        limit: The time limit in seconds.
        force: True if the cell was to be unlearned again, so that a record from before says nothing.
    """
    reason = DEATH_REASONS[CellStatus(done.reason)].format(limit=limit or 0.0)
    if isinstance(job, Cell) and not force and has_valid_record(job):
        return Outcome(str(job), CellStatus.OK, 0.0, job.outputs.ep)
    if isinstance(job, Cell):
        trace = {"traceback": done.trace} if done.trace else {}
        write_record(job.path, {**failure_record(job, done.reason, reason), **trace})
    return Outcome(str(job), done.reason, 0.0, ep_of(job), reason, isinstance(job, Cell), artefacts=artefacts_in(job))


def is_forced(job: Job, plan: Plan) -> bool:
    """True for a cell that must be unlearned again although its outputs are cached."""
    return isinstance(job, Cell) and job.method in plan.forced


def ep_of(job: Job) -> float:
    """The amount of work of a job, in ep."""
    return job.total_ep if isinstance(job, Artefact) else job.outputs.ep


def artefacts_in(job: Job) -> int:
    """The number of artefacts that a job makes for cells; 0 if it is a cell itself."""
    if isinstance(job, Cell):
        return 0
    return 1 + len(job.beside) if isinstance(job, Training) else 1


def work(job: Job, store: Store, force: bool) -> Outcome:
    """In a worker: makes an artefact or a cell, on one thread; errors become part of the outcome."""
    start = time.perf_counter()
    if parent_process() is not None:  # the main process handles Ctrl-C, and ends its workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        warnings.showwarning = lambda message, *_args, **_kwargs: print(f"warning: {message}", file=sys.stderr)  # noqa: T201
    timing.read_and_reset()
    speed: Mapping[str, float] = {}
    record: Mapping[str, Any] | None = None
    # Plugins may print: standard output is for results.
    with one_thread(), redirect_stdout(sys.stderr), timing.spending("overhead"):
        if isinstance(job, Artefact):
            status, reason, speed = make_artefact(job, store)
        else:
            status, reason, record = make_cell(job, store, force)
    seconds, spent = time.perf_counter() - start, timing.read_and_reset()
    return Outcome(
        str(job), status, seconds, ep_of(job), reason, isinstance(job, Cell), spent, speed, artefacts_in(job), record
    )


@lru_cache(maxsize=1)
def evaluator_of(store: Store) -> Evaluator:
    """The evaluator of this worker process; it caches data from call to call."""
    return Evaluator(WorkerContext(store))


def make_artefact(artefact: Artefact, store: Store) -> tuple[str, str, Mapping[str, float]]:
    """Makes an artefact.

    Returns:
        The status, the reason if it failed, and the speed if it is a training.
    """
    if isinstance(artefact, Training):
        artefact = artefact.still_missing(store)
    try:
        _, info = evaluator_of(store).context.get(artefact)
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # plugins may raise anything
        return status_of(error), reason_of(error), {}
    return MADE, "", info if isinstance(artefact, Training) else {}


def make_cell(cell: Cell, store: Store, force: bool) -> tuple[str, str, Mapping[str, Any] | None]:
    """Makes a cell.

    Returns:
        Its status, the reason if it failed, and its record, unless it has been written: with a cache that is reached
        by a URL, the results folder may be on another machine.
    """
    if force:
        store.remove(cell.outputs.key)
    elif has_valid_record(cell):
        return CellStatus.OK, "", None
    try:
        record = evaluator_of(store).record(cell)
        canonical(record)  # raises for numbers that are not finite, and for what is not JSON
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # plugins may raise anything
        record = failure_record(cell, status_of(error), reason_of(error))
        if record["status"] not in RESULTS:
            record["traceback"] = traceback.format_exc()
    status, reason = record["status"], record.get("reason", "")
    if store.upstream:
        return status, reason, record
    keep(cell, record, store)
    return status, reason, None


def keep(cell: Cell, record: Mapping[str, Any], store: Store) -> None:
    """Writes the record of a cell."""
    with lock(store.path(cell.outputs.key)):  # `measure` may be adding numbers
        more = added_numbers(cell) if record["status"] == CellStatus.OK else {}
        write_record(cell.path, {**record, **more})


def added_numbers(cell: Cell) -> dict[str, Any]:
    """The numbers that `measure` added to the record of the same outputs and shadow models, under "more"."""
    record = read_record(cell.path)
    if record is None or "more" not in record:
        return {}
    same = all(not differences(record["key"][part], cell.key[part]) for part in ("outputs", "shadows"))
    return {"more": record["more"]} if same else {}


def has_valid_record(cell: Cell) -> bool:
    """True if another run in the same folder has finished the cell since this run was planned."""
    record = read_record(cell.path)
    return record is not None and record["status"] == CellStatus.OK and not differences(record["key"], cell.key)


def failure_record(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """The record of a cell that failed."""
    return {
        "schema": SCHEMA,
        "status": status,
        "reason": reason,
        "cell": cell.info.as_json(),
        "key": dict(cell.key),
        "observed": observed_facts(cell, {}),
    }


def status_of(error: BaseException) -> CellStatus:
    """The kind of failure of a cell that raised this exception."""
    if isinstance(error, NotApplicableError):
        return CellStatus.NOT_APPLICABLE
    if isinstance(error, ParentFailedError):
        return CellStatus.SKIPPED
    if isinstance(error, FloatingPointError):
        return CellStatus.DIVERGED
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return CellStatus.OUT_OF_MEMORY
    return CellStatus.FAILED


def reason_of(error: BaseException) -> str:
    """An exception in one line: who raised it, if its notes say so, its type, message, and line of a plugin's code.

    Of one that says that something is not applicable, only the message.
    """
    if isinstance(error, NotApplicableError):
        return " ".join(str(error).split())
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    return ": ".join([*getattr(error, "__notes__", ()), message]) + at_line(error)
