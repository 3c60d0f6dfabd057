"""The standard table of numbers by method, data set and metric, and its text in each format."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unlearnbench.planning.cell_info import plugin_name
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting import terminal
from unlearnbench.reporting.formats import (
    ESCAPES,
    check_format,
    csv_text,
    escape_latex,
    escape_markdown,
    latex_text,
    markdown_note,
    printable,
)
from unlearnbench.reporting.grid import Grid, grid_text
from unlearnbench.reporting.numbering import GROUPS

MARKDOWN_MARKS = {1: "**{}**", 2: "<u>{}</u>"}
"""How the best and the second best number are marked in markdown, by rank."""
HTML_MARKS = {1: "<b>{}</b>", 2: "<u>{}</u>"}
"""Likewise in HTML."""
SIDE_BY_SIDE = 2
"""How many data sets stand next to each other, as in the paper."""


@dataclass(frozen=True)
class Number:
    """A number over seeds.

    Attributes:
        mean: In percent; nan where there is none.
        deviation: Sample standard deviation over seeds, in percent; nan for a single seed.
        n: The number of seeds.
        rank: 1 for the closest to Retrain, 2 for the second closest, otherwise 0.
        absent: What stands in its place where there is none.
    """

    mean: float = math.nan
    deviation: float = math.nan
    n: int = 0
    rank: int = 0
    absent: str = "-"

    def distance(self, reference: Number) -> float:
        """The distance to Retrain's number in percentage points, both as printed."""
        return round(abs(round(self.mean, 2) - round(reference.mean, 2)), 2)

    def text(self, seeds: int) -> str:
        """The number as the paper prints it, with n if there are fewer than `seeds`."""
        if self.n == 0:
            return self.absent
        deviation = "" if math.isnan(self.deviation) else f"±{self.deviation:.2f}"
        return f"{self.mean:.2f}{deviation}" + (f" (n={self.n})" if self.n < seeds else "")


@dataclass(frozen=True)
class Row:
    """A method of a table.

    Attributes:
        method: Its name.
        title: Its title.
        role: Its role.
        numbers: By data set and metric.
        block: The heading of the part of the table that it is in; "" if the table has no parts.
        task: The label of the task of its numbers, if not the table's.
    """

    method: str
    title: str
    role: str
    numbers: Mapping[tuple[str, str], Number]
    block: str = ""
    task: str = ""

    def labelled(self, seeds: int) -> tuple[str, int]:
        """The title, with n where all numbers have the same fewer seeds; and the number of seeds that needs no n."""
        counts = {number.n for number in self.numbers.values()} - {0}
        if len(counts) == 1 and (n := counts.pop()) < seeds:
            return f"{self.title} (n={n})", n
        return self.title, seeds


@dataclass(frozen=True)
class Table:
    """A standard table.

    Attributes:
        number: 1 to 7 as in the papers, or the name of another task.
        task: The task's name, with options that differ from the preset's.
        title: What stands above it.
        datasets: Titles by name.
        columns: Names of metrics.
        rows: In order.
        seeds: The number of seeds that a method should have.
        notes: What stands below it.
        warnings: Those of the notes that name methods.
    """

    number: int | str
    task: str
    title: str
    datasets: Mapping[str, str]
    columns: Sequence[str]
    rows: Sequence[Row]
    seeds: int
    notes: Sequence[str]
    warnings: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        options = self.task.removeprefix(plugin_name(self.task))
        return f"table{'' if isinstance(self.number, int) else '-'}{self.number}{options}"

    def blocks(self) -> Iterator[Mapping[str, str]]:
        """The data sets that stand side by side: titles by name."""
        names = list(self.datasets)
        for first in range(0, len(names), SIDE_BY_SIDE):
            yield {name: self.datasets[name] for name in names[first : first + SIDE_BY_SIDE]}

    def headed(self) -> Iterator[tuple[Row, str]]:
        """Rows with the heading above each, "" for none: that of a block, or of a group of roles in it."""
        block = above = ""
        for row in self.rows:
            group = GROUPS[row.role]
            if row.block != block:
                yield row, row.block
            else:
                yield row, group if group != above else ""
            block, above = row.block, group

    @property
    def tasks(self) -> set[str]:
        """The labels of the tasks of its rows."""
        return {row.task or self.task for row in self.rows}


def render(table: Table | Grid, form: str) -> str:
    """A table as text, ending in a line break.

    Raises:
        UserError: If there is no such format.
    """
    check_format(form)
    if isinstance(table, Grid):
        return grid_text(table, form)
    return {"markdown": markdown, "terminal": in_terminal, "latex": latex, "csv": tidy}[form](table)


def markdown(table: Table) -> str:
    """GitHub's markdown: best in bold, second best underlined."""
    from tabulate import tabulate

    blocks = []
    for block in table.blocks():
        headers, lines = drawn(table, block, "markdown", MARKDOWN_MARKS, "*{}*")
        blocks.append(tabulate(lines, headers, tablefmt="pipe", disable_numparse=True) + "\n")
    text, notes = "\n".join(blocks), "\n".join(f"- {markdown_note(note)}" for note in table.notes)
    return f"**{escape_markdown(table.title)}**\n\n{text}\n{notes}\n"


def html(table: Table) -> str:
    """HTML, for notebooks: best in bold, second best underlined."""
    from tabulate import tabulate

    escape, blocks = ESCAPES["html"], []
    for block in table.blocks():
        headers, lines = drawn(table, block, "html", HTML_MARKS, "<i>{}</i>")
        blocks.append(tabulate(lines, headers, tablefmt="unsafehtml", disable_numparse=True))
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return f"<p><b>{escape(table.title)}</b></p>\n{''.join(blocks)}\n<ul>{notes}</ul>"


def in_terminal(table: Table) -> str:
    """A table that fits into the terminal, with its bold and underlined type unless NO_COLOR is set."""
    marks = MARKDOWN_MARKS if os.environ.get("NO_COLOR") else {1: "\033[1m{}\033[0m", 2: "\033[4m{}\033[0m"}
    blocks = []
    for name, title in table.datasets.items():
        headers, lines = drawn(table, {name: title}, "terminal", marks, "{}")
        without_data = [[line[0], *line[2:]] for line in lines]
        blocks.append(f"{printable(title)}\n\n{terminal.table_text([headers[0], *headers[2:]], without_data, 1)}")
    return "\n".join([terminal.wrapped(table.title), "", *blocks, *map(terminal.wrapped, table.notes), ""])


def drawn(
    table: Table, block: Mapping[str, str], form: str, marks: Mapping[int, str], group: str
) -> tuple[list[str], list[list[str]]]:
    """The headers and the lines of a block, as escaped texts.

    Args:
        table: The table.
        block: Titles of data sets by name.
        form: The format.
        marks: How numbers of rank 1 and 2 are marked.
        group: How the heading of a group of rows is marked.
    """
    escape = ESCAPES[form]
    headers = ["Method"] + ["Data", *(escape(COLUMNS.get(c, c)) for c in table.columns)] * len(block)
    lines: list[list[str]] = []
    for row, heading in table.headed():
        if heading:
            lines.append([group.format(heading), *[""] * (len(headers) - 1)])
        lines.append([escape(row.labelled(table.seeds)[0]), *values(table, row, block, form, marks)])
    return headers, lines


def values(table: Table, row: Row, block: Mapping[str, str], form: str, marks: Mapping[int, str]) -> list[str]:
    """The texts of a row of a block: of each data set its title, in the first row only, and the numbers."""
    escape, seeds, texts = ESCAPES[form], row.labelled(table.seeds)[1], []
    for name, title in block.items():
        texts.append(escape(title) if row is table.rows[0] else "")
        for column in table.columns:
            number = row.numbers[name, column]
            texts.append(marks.get(number.rank, "{}").format(escape(number.text(seeds))))
    return texts


def latex(table: Table) -> str:
    """A LaTeX table for the package booktabs."""
    marks = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    caption = table.title.removeprefix(f"Table {table.number}: ")  # LaTeX counts tables itself
    columns = [subscripted(COLUMNS.get(column, column)) for column in table.columns]
    lines = []
    for block in table.blocks():
        lines += [r"\begin{tabular}{l" + ("l" + "r" * len(columns)) * len(block) + "}", r"\toprule"]
        lines += [" & ".join(["Method"] + ["Data", *columns] * len(block)) + r" \\", r"\midrule"]
        for row, heading in table.headed():
            if heading and not (row.block and row is table.rows[0]):
                lines.append(r"\midrule")
            if heading and heading == row.block:
                width = 1 + (1 + len(columns)) * len(block)
                lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape_latex(heading)}}}}} \\")
            cells = [escape_latex(row.labelled(table.seeds)[0]), *values(table, row, block, "latex", marks)]
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
    return latex_text(caption, lines, table.notes)


def tidy(table: Table) -> str:
    """One line of csv for each number; percent, unrounded."""
    rows = [
        [
            *(table.number, row.task or table.task, table.datasets[dataset], row.title, column),
            *(number.mean, number.deviation, number.n),
        ]
        for row in table.rows
        for (dataset, column), number in row.numbers.items()
    ]
    return csv_text(["table", "task", "dataset", "method", "metric", "mean", "std", "n"], rows)


def subscripted(column: str) -> str:
    """A column's name for LaTeX: Train_r gets its subscript."""
    base, _, index = column.partition("_")
    return rf"{base}$_{{{escape_latex(index)}}}$" if index else escape_latex(base)
