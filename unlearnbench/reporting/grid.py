"""A plain table of raw values, and its text in each format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from unlearnbench.reporting import terminal
from unlearnbench.reporting.formats import ESCAPES, csv_text, latex_text, markdown_note


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        header: What stands above it.
        show: Makes text of a value.
        is_key: Whether it says what a row is about; such columns stand at the left.
    """

    header: str
    show: Callable[[Any], str] = str
    is_key: bool = False


DATA = Column("Data", is_key=True)
"""Titles of data sets; in a terminal they are headings instead."""
METHOD = Column("Method", is_key=True)
"""Titles of methods."""


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
    if form == "csv":
        data = grid.tidy or Data([column.header for column in grid.columns], grid.rows)
        return csv_text(data.headers, data.rows)
    escape = ESCAPES[form]
    headers = [escape(column.header) for column in grid.columns]
    lines = [[escape(column.show(value)) for column, value in zip(grid.columns, row, strict=True)] for row in grid.rows]
    return {"markdown": markdown, "terminal": in_terminal, "latex": latex}[form](grid, headers, lines)


def markdown(grid: Grid, headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A grid in GitHub's markdown, from escaped headers and cells; likewise the next two."""
    from tabulate import tabulate

    text = tabulate(lines, headers, tablefmt="pipe", disable_numparse=True)
    notes = "".join(f"- {markdown_note(note)}\n" for note in grid.notes)
    return f"{ESCAPES['markdown'](grid.title)}\n\n{text}\n\n{notes}"


def in_terminal(grid: Grid, headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A grid that fits into the terminal; the title of each data set is a heading."""
    first = 1 if grid.columns[0] is DATA else 0
    keys = sum(column.is_key for column in grid.columns) - first
    blocks = []
    for title, block in groupby(lines, lambda line: line[:first]):
        text = terminal.table_text(headers[first:], [line[first:] for line in block], keys)
        blocks.append("".join(f"{heading}\n\n" for heading in title) + text)
    return "\n".join([terminal.wrapped(grid.title), "", *blocks, *map(terminal.wrapped, grid.notes), ""])


def latex(grid: Grid, headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A grid for LaTeX's package booktabs."""
    return latex_text(grid.title, booktabs(headers, lines), grid.notes)


def booktabs(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a LaTeX tabular."""
    yield rf"\begin{{tabular}}{{{'l' * len(headers)}}}"
    yield r"\toprule"
    yield " & ".join(headers) + r" \\"
    yield r"\midrule"
    yield from (" & ".join(line) + r" \\" for line in lines)
    yield r"\bottomrule"
    yield r"\end{tabular}"
