"""The work of a plan: missing artefacts, then cells, by several worker processes."""

from __future__ import annotations

import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import parent_process
from typing import Any, Protocol

import joblib
import torch

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.training import Training
from unlearnbench.artefacts.unlearned import ParentFailedError
from unlearnbench.engines.processes import Done, in_parallel
from unlearnbench.errors import StorageError, UserError
from unlearnbench.evaluation.record import Evaluator, observed
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.runtime import timing
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage.keys import differences
from unlearnbench.storage.records import SCHEMA, read_record, write_record
from unlearnbench.storage.store import Store

MADE = "made"
"""The status of an artefact that is made."""
FATES = {
    CellStatus.TIMEOUT: "its method or an attack was not done within {limit:g} s: see --timeout",
    CellStatus.CRASHED: "its process died, alone too: it was killed, perhaps for lack of memory, or it exited",
}
"""What is known of work whose process did not survive."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job or a cell.

    Attributes:
        name: What it was.
        status: That of the cell's record; for an artefact `MADE`, or why it failed.
        seconds: How long it took.
        ep: How much work it was, in passes over the training set.
        reason: Why it did not work.
        is_cell: Whether it was a cell.
        spent: Its seconds by kind of work; see `timing.KINDS`.
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
    """Receives the events of a run."""

    def start(self, plan: Plan) -> None:
        """The run begins."""

    def done(self, outcome: Outcome) -> None:
        """An artefact or a cell is finished."""

    def finish(self) -> None:
        """The run is over, or was interrupted."""


@dataclass(frozen=True)
class Effort:
    """How the work is done; the numbers do not depend on it.

    Attributes:
        jobs: Number of workers, one thread each; None: one for each core, or one on a GPU.
        timeout: Seconds after which the method or attack of a cell is stopped; None: never.
        fail_fast: Whether to stop at the first cell that fails.

    Raises:
        UserError: If a number is out of range.
    """

    jobs: int | None = None
    timeout: float | None = None
    fail_fast: bool = False

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"-j must be at least 1, not {self.jobs}")
        if self.timeout is not None and not self.timeout > 0:
            raise UserError(f"--timeout must be more than 0 seconds, not {self.timeout:g}")

    def workers(self, device: str, calls: int) -> int:
        """The number of workers for this many calls."""
        return max(1, min(calls, self.jobs or (1 if device == "cuda" else joblib.cpu_count())))


def execute(plan: Plan, workers: int, effort: Effort, progress: Progress | None) -> list[Outcome]:
    """Does the work of a plan.

    In the queue, artefacts come after their needs, so a worker seldom waits. A worker that lacks an artefact makes it,
    or waits for the lock of the worker that is making it.
    """
    queue: list[Artefact | Cell] = [*plan.shared, *plan.to_run]
    outcomes: list[Outcome] = []
    if progress:
        progress.start(plan)
    try:
        calls = [(item, plan.store, is_forced(item, plan)) for item in queue]
        with closing(in_parallel(work, calls, workers, effort.timeout, plan.environment)) as found:
            for done in found:
                outcome = done.result or perished(queue[done.index], done, effort.timeout)
                outcomes.append(outcome)
                if progress:
                    progress.done(outcome)
                if effort.fail_fast and outcome.is_cell and outcome.status != CellStatus.OK:
                    break
    finally:
        if progress:
            progress.finish()
    return outcomes


def perished(item: Artefact | Cell, done: Done[Outcome], limit: float | None) -> Outcome:
    """What became of an item whose process did not survive it; for a cell, there is a record of it."""
    reason = FATES[CellStatus(done.reason)].format(limit=limit or 0.0)
    if isinstance(item, Cell) and made_meanwhile(item):
        return Outcome(str(item), CellStatus.OK, 0.0, item.outputs.ep)
    if isinstance(item, Cell):
        trace = {"traceback": done.trace} if done.trace else {}
        write_record(item.path, {**failure(item, done.reason, reason), **trace})
    ep = item.total_ep if isinstance(item, Artefact) else item.outputs.ep
    return Outcome(str(item), done.reason, 0.0, ep, reason, isinstance(item, Cell))


def is_forced(item: Artefact | Cell, plan: Plan) -> bool:
    """Whether an item is a cell that shall be unlearned even if its outputs are there."""
    return isinstance(item, Cell) and item.method in plan.forced


def work(item: Artefact | Cell, store: Store, force: bool) -> Outcome:
    """What a worker does: makes an artefact or a cell, on one thread; whatever goes wrong stays in its outcome."""
    start = time.perf_counter()
    if parent_process() is not None:  # Ctrl-C is for the main process, which ends its workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        warnings.showwarning = lambda message, *_args, **_kwargs: print(f"warning: {message}", file=sys.stderr)  # noqa: T201
    timing.taken()
    speed: Mapping[str, float] = {}
    with one_thread(), redirect_stdout(sys.stderr), timing.spending("overhead"):  # what plugins print is no result
        if isinstance(item, Artefact):
            status, reason, speed = make_artefact(item, store)
        else:
            status, reason = make_cell(item, store, force)
    ep = item.total_ep if isinstance(item, Artefact) else item.outputs.ep
    seconds = time.perf_counter() - start
    return Outcome(str(item), status, seconds, ep, reason, isinstance(item, Cell), timing.taken(), speed)


@lru_cache(maxsize=1)
def evaluator_of(store: Store) -> Evaluator:
    """The evaluator of this worker process, with the data that it keeps from call to call."""
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
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        return status_of(error), reason_of(error), {}
    return MADE, "", info if isinstance(artefact, Training) else {}


def make_cell(cell: Cell, store: Store, force: bool) -> tuple[str, str]:
    """Makes a cell's record, of success or of failure."""
    if force:
        store.remove(cell.outputs.key)
    elif made_meanwhile(cell):
        return CellStatus.OK, ""
    try:
        record = evaluator_of(store).record(cell)
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
    return record is not None and record["status"] == CellStatus.OK and not differences(record["key"], cell.key)


def failure(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """The record of a cell that has no numbers."""
    return {
        "schema": SCHEMA,
        "status": status,
        "reason": reason,
        "cell": cell.info.as_json(),
        "key": dict(cell.key),
        "observed": observed(cell, {}),
    }


def status_of(error: BaseException) -> CellStatus:
    """What kind of failure an exception is."""
    if isinstance(error, ParentFailedError):
        return CellStatus.SKIPPED
    if isinstance(error, FloatingPointError):
        return CellStatus.DIVERGED
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return CellStatus.OUT_OF_MEMORY
    return CellStatus.FAILED


def reason_of(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
