"""A plain table of raw values, and its text in each format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.reporting.formats import LATEX_NEEDS, STYLES, csv_text, escape_latex, escape_markdown


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        header: What stands above it.
        show: Makes text of a value.
    """

    header: str
    show: Callable[[Any], str] = str


@dataclass(frozen=True)
class Data:
    """What the csv file of a grid has: headers and rows of raw values, nan where there is none."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Grid:
    """A plain table.

    Attributes:
        title: What stands above it.
        columns: Headers, and how values are shown.
        rows: Raw values, one for each column.
        notes: What stands below it.
        tidy: What its csv file has, if not these rows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str]
    tidy: Data | None = None


def grid_text(grid: Grid, form: str) -> str:
    """A grid as text, ending in a line break."""
    from tabulate import tabulate

    headers = [column.header for column in grid.columns]
    if form == "csv":
        data = grid.tidy or Data(headers, grid.rows)
        return csv_text(data.headers, data.rows)
    lines = [[column.show(value) for column, value in zip(grid.columns, row, strict=True)] for row in grid.rows]
    text = tabulate(lines, headers, tablefmt=STYLES[form], disable_numparse=True)
    if form == "latex":
        above = [LATEX_NEEDS, r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(grid.title)}}}"]
        below = [*(rf"\par\footnotesize {escape_latex(note)}" for note in grid.notes), r"\end{table}"]
        return "\n".join([*above, text, *below]) + "\n"
    title, notes = grid.title, grid.notes
    if form == "markdown":
        title, notes = escape_markdown(title), [f"- {escape_markdown(note)}" for note in notes]
    return f"{title}\n\n{text}\n\n" + "".join(f"{note}\n" for note in notes)
