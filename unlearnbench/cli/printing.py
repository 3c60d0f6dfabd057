"""Prints plans, the results of runs, and rows of lists."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from unlearnbench.cli.echo import echo
from unlearnbench.errors import counted
from unlearnbench.planning.cell_info import FINISHED
from unlearnbench.planning.staleness import State

if TYPE_CHECKING:
    from unlearnbench.operations.confirm import Confirmation
    from unlearnbench.operations.reproduce import Comparison, Reproduction
    from unlearnbench.operations.run import Summary

KINDS = {
    "original": "original",
    "shadow": "shadow model",
    "prepared": "preparation",
    "network": "saved network",
    "outputs": "unlearning",
}
"""Kinds of artefacts, as printed."""


def show_plan(summary: Summary) -> None:
    """Prints the state of each cell, and the work that a run would do."""
    plan = summary.plan
    changed: dict[str, list[str]] = {}
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        failed = status.state == State.FAILED
        echo(f"{status.state:8} {cell}" + (f"  ({status.why})" if failed else ""))
        for change in status.why.split("; ") if status.why and not failed else ():
            changed.setdefault(change, []).append(str(cell))
    show_changes(changed)
    counts = Counter(artefact.kind for artefact in plan.missing)
    parts = [counted(counts[kind], name) for kind, name in KINDS.items() if counts[kind]]
    echo(f"\n{len(plan.to_run)} of {counted(len(plan.cells), 'cell')} to run")
    if plan.failed_before:
        echo(f"{counted(len(plan.failed_before), 'cell')} failed in an earlier run: see --retry-failed")
    if parts:
        echo(f"artefacts to make: {', '.join(parts)}")
    passes = counted(round(plan.ep), "pass")
    echo(f"cost: about {passes} over the training set, {plan.size / 1e6:.1f} MB in {plan.store.root}")


def show_changes(changed: Mapping[str, Sequence[str]]) -> None:
    """Prints what has changed since the records of stale cells were made, each change once, with its cells."""
    if changed:
        echo("\nchanged since the records of stale cells were made:")
    stale = len({cell for cells in changed.values() for cell in cells})
    for change, cells in changed.items():
        which = cells[0] if len(cells) == 1 else f"all {stale} cells" if len(cells) == stale else f"{len(cells)} cells"
        echo(f"  {change}  ({which})")


def show_result(summary: Summary) -> None:
    """Prints the tables of a run, its time, and the cells that failed."""
    from unlearnbench.reporting.rendering import render

    labels = {cell.info.task for cell in summary.plan.cells}
    for table in summary.tables.values():
        if table.tasks & labels:
            click.echo(render(table, default_format()))
    done = [outcome for outcome in summary.outcomes if outcome.is_cell]
    failed = len([outcome for outcome in done if outcome.status not in FINISHED])
    finished_before = len(summary.plan.cells) - len(summary.plan.to_run)
    not_run = len(summary.plan.to_run) - len(done)
    echo(
        f"{counted(len(done), 'cell')} run{f' ({failed} failed)' if failed else ''}, {finished_before} finished before"
        f"{f', {not_run} not run' if not_run else ''}; tables in {summary.plan.results / 'tables'}"
    )
    if summary.report:
        echo(f"report: {summary.report}")
    if summary.outcomes:
        show_time(summary)
    show_failures(summary)


def show_time(summary: Summary) -> None:
    """Prints the time of a run by kind of work, and its speed."""
    total, ep = summary.workers * summary.seconds, sum(outcome.ep for outcome in summary.outcomes)
    shares = ", ".join(f"{kind} {seconds / total:.0%}" for kind, seconds in summary.spent.items())
    workers = counted(summary.workers, "worker")
    echo(f"{summary.seconds:.0f} s with {workers}, {counted(round(ep), 'pass')}: {shares}")
    if summary.speed:
        rates = ", ".join(f"{rate:.0f} {unit}" for unit, rate in summary.speed.items())
        echo(f"training speed per worker: {rates}")


def show_failures(summary: Summary) -> None:
    """Prints the cells that failed, and how to see their records."""
    for outcome in summary.failed:
        echo(f"{outcome.status}: {outcome.name}: {outcome.reason}", err=True)
    if summary.failed:
        echo("`unlearnbench show DATASET TASK METHOD SEED` prints the record of a failed cell", err=True)
    if summary.plan.failed_before:
        echo(
            f"{len(summary.plan.failed_before)} of them failed in an earlier run: --retry-failed runs them again",
            err=True,
        )


def show_reproduction(reproduction: Reproduction) -> None:
    """Prints the comparison of a record with its cell computed again, number by number, and the verdict."""
    from tabulate import tabulate

    echo(f"\n{reproduction.cell}  ({reproduction.path})\n")
    rows = [
        [one.name, *(shortened(value, one.equal) for value in (one.recorded, one.computed)), result_of(one)]
        for one in reproduction.comparisons
    ]
    if rows:
        click.echo(tabulate(rows, ["", "Record", "Now", ""], disable_numparse=True) + "\n")
    echo(reproduction.verdict)


CONFIRMED = {
    "raised": "versions raised",
    "confirmed": "versions kept, because the edited code gives equal bits",
    "new": "new versions",
}
"""What `confirm` does with versions, as printed."""


def show_confirmation(done: Confirmation) -> None:
    """Prints the result of `confirm`."""
    if done.problem:
        echo(done.problem)
    elif done.bits:
        changed = f"{len(done.different)} changed" if done.different else "equal bits"
        echo(f"{counted(done.outputs, 'output')} of the golden plan: {changed}")
    else:
        echo(f"{counted(done.outputs, 'output')} near the golden ones; bits were not compared: {done.why}")
    lists = [(text, getattr(done, name)) for name, text in CONFIRMED.items() if getattr(done, name)]
    for text, names in lists:
        echo(f"{text}: {', '.join(names)}")
    if done.written:
        echo("written to unlearnbench/artefacts/versions.toml and unlearnbench/golden/outputs.json")
    elif lists:
        echo("nothing was written, because of --check")
    if not done.bits and not done.written and not done.problem and "native" not in done.why:
        echo("to compare bits, install these versions; or --new-libraries stores these outputs as golden")


def shortened(value: Any, equal: bool) -> str:
    """A value in at most 22 characters; with all its digits if it is not equal to the other one."""
    if isinstance(value, float):
        return f"{value:.6g}" if equal else repr(value)
    if isinstance(value, list) and all(isinstance(part, float) for part in value):
        return " ".join(f"{part:.3f}" for part in value[:3]) + (" ..." if len(value) > 3 else "")
    return "-" if value is None else str(value)[:12]


def result_of(one: Comparison) -> str:
    """Whether two values are equal, in a word."""
    return "equal" if one.equal else "DIFFERS"


def as_data(summary: Summary) -> dict[str, Any]:
    """A run as JSON values."""
    plan = summary.plan
    outcomes = {outcome.name: outcome for outcome in summary.outcomes if outcome.is_cell}
    cells = []
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        outcome = outcomes.get(str(cell))
        cells.append(
            {
                **{name: getattr(cell.info, name) for name in ("dataset", "model", "task", "method", "seed")},
                "status": outcome.status if outcome else status.state,
                "why": outcome.reason if outcome else status.why,
                "record": str(cell.path),
            }
        )
    return {
        "preset": plan.results.name,
        "cells": cells,
        "ep": round(plan.ep, 3),
        "bytes": plan.size,
        "seconds": round(summary.seconds, 3),
        "spent": {kind: round(seconds, 3) for kind, seconds in summary.spent.items()},
        "speed": {unit: round(rate, 3) for unit, rate in summary.speed.items()},
        "tables": sorted(summary.tables),
        "report": str(summary.report) if summary.report else None,
    }


def default_format() -> str:
    """The format of tables: what fits into a terminal, or markdown if the output goes elsewhere."""
    return "terminal" if sys.stdout.isatty() else "markdown"


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Prints rows as JSON, or as blocks of text."""
    click.echo(json.dumps(rows, indent=1) if as_json else "\n\n".join(map(as_block, rows)))


def as_block(row: dict[str, Any]) -> str:
    """A row as text: its name, and a paragraph for each field that is not empty."""
    width, indent = shutil.get_terminal_size().columns, " " * 16
    lines = [click.style(row["name"], bold=True)]
    for name, value in row.items():
        text = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        if text not in (None, "", row["name"]):
            line = f"  {name:13} {text}"
            lines += textwrap.wrap(
                line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)
