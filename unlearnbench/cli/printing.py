"""What commands print: plans, what a run did, rows of facts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from unlearnbench.planning.cell_info import CellStatus

if TYPE_CHECKING:
    from unlearnbench.operations.reproduce import Reproduction
    from unlearnbench.operations.run import Summary

KINDS = {
    "original": "originals",
    "shadow": "shadow models",
    "prepared": "preparations",
    "network": "kept networks",
    "outputs": "unlearnings",
}
"""Kinds of artefacts in plain words."""


def show_plan(summary: Summary) -> None:
    """Prints what a run would do."""
    plan = summary.plan
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        click.echo(f"{status.state:8} {cell}" + (f"  ({status.why})" if status.why else ""))
    kinds = [artefact.kind for artefact in plan.missing]
    made = [f"{kinds.count(kind)} {name}" for kind, name in KINDS.items() if kinds.count(kind)]
    what = f", with {', '.join(made)}" if made else ""
    click.echo(f"\n{len(plan.to_run)} of {len(plan.cells)} cells to run{what}")
    if plan.failed_before:
        click.echo(f"{len(plan.failed_before)} cells failed before and are left as they are: see --retry-failed")
    click.echo(f"about {plan.ep:.0f} passes over the training set, and {plan.size / 1e6:.1f} MB in {plan.store.root}")


def show_result(summary: Summary) -> None:
    """Prints the tables of a run, the number of cells, the time, and failures."""
    from unlearnbench.reporting.rendering import render

    labels = {cell.info.task for cell in summary.plan.cells}
    for table in summary.tables.values():
        if table.task in labels:
            click.echo(render(table, default_format()))
    done = [o for o in summary.outcomes if o.is_cell]
    folder, total = summary.plan.results, len(summary.plan.cells)
    bad = len([o for o in done if o.status != CellStatus.OK])
    there = total - len(summary.plan.to_run)
    left = total - there - len(done)
    click.echo(
        f"{len(done)} cells run{f', {bad} of them failed' if bad else ''}; {there} were there"
        f"{f'; {left} not run' if left else ''}; tables in {folder / 'tables'}"
    )
    if summary.outcomes:
        show_time(summary)
    show_failures(summary)


def show_time(summary: Summary) -> None:
    """Prints where the time of a run went."""
    whole, ep = summary.workers * summary.seconds, sum(outcome.ep for outcome in summary.outcomes)
    shares = ", ".join(f"{kind} {seconds / whole:.0%}" for kind, seconds in summary.spent.items())
    click.echo(f"{summary.seconds:.0f} s with {summary.workers} workers, {ep:.0f} passes: {shares}")
    if summary.speed:
        click.echo(f"trainings: {', '.join(f'{rate:.0f} {unit}' for unit, rate in summary.speed.items())} a worker")


def show_failures(summary: Summary) -> None:
    """Says which cells did not work, and how to see more."""
    for outcome in summary.failed:
        click.echo(f"{outcome.status}: {outcome.name}: {outcome.reason}", err=True)
    if summary.failed:
        click.echo("`unlearnbench show DATASET TASK METHOD SEED` prints all that is known of such a cell", err=True)
    if summary.plan.failed_before:
        click.echo(f"{len(summary.plan.failed_before)} of them failed before: --retry-failed runs them again", err=True)


def show_reproduction(reproduction: Reproduction) -> None:
    """Prints the comparison of a record with its cell computed again, number by number, and the verdict."""
    from tabulate import tabulate

    click.echo(f"\n{reproduction.cell}  ({reproduction.path})\n")
    rows = [
        [one.name, shortened(one.recorded), shortened(one.computed), "equal" if one.equal else "DIFFERS"]
        for one in reproduction.comparisons
    ]
    if rows:
        click.echo(tabulate(rows, ["", "Record", "Now", ""], disable_numparse=True) + "\n")
    click.echo(reproduction.verdict)


def shortened(value: Any) -> str:
    """A value in at most 22 characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(f"{part:.3f}" for part in value)
    return "-" if value is None else str(value)[:12]


def as_data(summary: Summary) -> dict[str, Any]:
    """A run as JSON values."""
    plan = summary.plan
    found = {o.name: o for o in summary.outcomes if o.is_cell}
    cells = []
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        outcome = found.get(str(cell))
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
    }


def default_format() -> str:
    """What fits into a terminal if the output goes to one, otherwise markdown."""
    return "terminal" if sys.stdout.isatty() else "markdown"


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Prints rows as JSON or for people."""
    click.echo(json.dumps(rows, indent=1) if as_json else "\n\n".join(map(as_block, rows)))


def as_block(row: dict[str, Any]) -> str:
    """A row for people: its name, and a line for everything that there is to say."""
    lines = [click.style(row["name"], bold=True)]
    for name, value in row.items():
        text = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        if text not in (None, "", row["name"]):
            lines.append(f"  {name:13} {text}")
    return "\n".join(lines)
