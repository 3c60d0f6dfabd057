"""Shows the progress of a run.

A bar in a terminal, a line that changes in a notebook, otherwise a line for each finished artefact or cell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from unlearnbench.errors import counted
from unlearnbench.operations.work import EVALUATION, MADE, Outcome, artefacts_in
from unlearnbench.planning.cell_info import FINISHED
from unlearnbench.planning.plan import Plan
from unlearnbench.runtime.timing import Forecast


def in_notebook() -> bool:
    """True in Jupyter and the like, where output is shown below a cell."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def usual_reporter() -> Reporter | None:
    """What shows progress where somebody is looking, in a terminal or a notebook; None elsewhere."""
    return Reporter() if in_notebook() or sys.stderr.isatty() else None


def line_below_cell() -> Callable[[str], None]:
    """Displays a text below the cell of a notebook; returns what changes it."""
    display: Any = import_module("IPython.display").display
    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)


class Reporter:
    """Prints progress to standard error, or displays it below the cell of a notebook."""

    def __init__(self) -> None:
        # A bar that moves is for terminals only, whatever FORCE_COLOR says.
        self._console = Console(file=sys.stderr, force_terminal=sys.stderr.isatty())
        self._bar: Progress | None = None
        self._display: Callable[[str], None] | None = None
        self._failures: list[str] = []
        self._start = time.monotonic()
        self._cells = self._done_cells = self._artefacts = self._done_artefacts = 0
        self._forecast = Forecast(0.0, 1)

    def start(self, plan: Plan, workers: int) -> None:
        """The run starts with this number of workers."""
        self._cells, self._artefacts = len(plan.to_run), sum(map(artefacts_in, plan.shared))
        self._done_cells = self._done_artefacts = 0
        self._forecast = Forecast(plan.ep + EVALUATION * self._cells, workers)
        self._failures, self._start = [], time.monotonic()
        if not self._cells:
            return
        if in_notebook():
            self._display = line_below_cell()
            return
        self._line(
            f"{self._cells} of {counted(len(plan.cells), 'cell')} to run, "
            f"{counted(self._artefacts, 'artefact')} to make first; "
            f"about {counted(round(plan.ep), 'pass')} over the training set, {plan.size / 1e6:.1f} MB"
        )
        if self._console.is_terminal:
            self._bar = bar(self._console)
            self._task = self._bar.add_task("", total=self._cells + self._artefacts, counts=self._counts(), left="")
            self._bar.start()

    def note(self, text: str) -> None:
        """Something has happened to the workers of a scheduler."""
        self._line(text)

    def done(self, outcome: Outcome) -> None:
        """An artefact or a cell is finished."""
        self._done_artefacts += outcome.artefacts
        if outcome.is_cell:
            self._done_cells += 1
        evaluation = EVALUATION if outcome.is_cell else 0.0
        self._forecast.add(outcome.ep + evaluation, outcome.seconds)
        reason = f": {outcome.reason}" if outcome.reason else ""
        if outcome.is_cell:
            line = f"[{self._done_cells}/{self._cells}] {outcome.status} {outcome.name} {outcome.seconds:.1f} s{reason}"
        else:
            count = f"{self._done_artefacts}/{self._artefacts} artefacts"
            line = f"[{count}] {outcome.status} {outcome.name} {outcome.seconds:.1f} s{reason}"
        if self._display:
            self._failures += [] if outcome.status in (MADE, *FINISHED) else [line]
            self._display("\n".join([f"{self._counts()}, {self._time_left()}: {outcome.name}", *self._failures]))
            return
        if not self._bar:
            self._line(f"{line}  ({self._time_left()})")
            return
        if outcome.status not in (MADE, *FINISHED):
            self._line(line)
        completed, left = self._done_cells + self._done_artefacts, self._time_left()
        self._bar.update(self._task, completed=completed, description=outcome.name, counts=self._counts(), left=left)

    def _counts(self) -> str:
        """The numbers of finished cells and artefacts."""
        artefacts = f", {self._done_artefacts}/{self._artefacts} artefacts" if self._artefacts else ""
        return f"{self._done_cells}/{self._cells} cells{artefacts}"

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=not self._console.is_terminal)

    def finish(self) -> None:
        """The run is over, or was interrupted."""
        if self._bar:
            self._bar.stop()
        if self._display:
            seconds = time.monotonic() - self._start
            self._display("\n".join([f"{self._counts()} in {seconds:.0f} s", *self._failures]))

    def _time_left(self) -> str:
        """An estimate of the time left, from the work done so far."""
        return "done" if self._done_cells == self._cells else str(self._forecast)


def bar(console: Console) -> Progress:
    """A line of counts, bar and times, and in the room that is left the name of what was finished last."""
    name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        TextColumn("{task.fields[counts]}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=10),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", markup=False, table_column=name),
        console=console,
        expand=True,
    )
