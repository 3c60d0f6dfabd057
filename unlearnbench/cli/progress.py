"""Shows the progress of a run: a bar in a terminal, otherwise a line for each finished artefact or cell."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from unlearnbench.artefacts.training import Training
from unlearnbench.operations.work import MADE, Outcome
from unlearnbench.planning.plan import Plan
from unlearnbench.runtime.timing import time_left


class Reporter:
    """Prints progress to standard error."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._ep = self._total = 0.0
        self._cells = self._done = 0
        self._start = time.perf_counter()

    def start(self, plan: Plan) -> None:
        """The run starts."""
        self._total, self._cells = plan.ep, len(plan.to_run)
        self._start = time.perf_counter()
        if not self._cells:
            return
        artefacts = sum(1 + len(job.beside) if isinstance(job, Training) else 1 for job in plan.shared)
        self._line(
            f"{self._cells} of {len(plan.cells)} cells to run, {artefacts} artefacts to make first; "
            f"about {plan.ep:.0f} passes over the training set, {plan.size / 1e6:.1f} MB"
        )
        if self._console.is_terminal:
            columns = (MofNCompleteColumn(), TextColumn("cells"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, TextColumn("{task.description}"), console=self._console)
            self._task = self._bar.add_task("", total=self._cells)
            self._bar.start()

    def done(self, outcome: Outcome) -> None:
        """An artefact or a cell is finished."""
        self._ep += outcome.ep
        if outcome.is_cell:
            self._done += 1
        if self._bar:
            description = f"{self._time_left()}  {outcome.name}"
            self._bar.update(self._task, completed=self._done, description=description)
        elif outcome.is_cell or outcome.status != MADE:
            reason = f": {outcome.reason}" if outcome.reason else ""
            line = f"[{self._done}/{self._cells}] {outcome.status} {outcome.name} {outcome.seconds:.1f} s{reason}"
            self._line(f"{line}  ({self._time_left()})")
        else:
            self._line(f"made {outcome.name} {outcome.seconds:.1f} s  ({self._time_left()})")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def finish(self) -> None:
        """The run is over, or was interrupted."""
        if self._bar:
            self._bar.stop()

    def _time_left(self) -> str:
        """An estimate of the time left, from the work done so far."""
        if self._done == self._cells:
            return "done"
        if not self._ep or not self._total:
            return "estimating"
        return time_left(self._start, self._ep / self._total)
