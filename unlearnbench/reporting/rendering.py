"""Tables as text: markdown, LaTeX, CSV, and what a terminal shows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from unlearnbench.errors import UserError
from unlearnbench.planning.presets import ELSEWHERE
from unlearnbench.planning.protocols import COLUMNS

FILES = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}
"""The formats that are written to disk, with the ending of their files."""
GROUPS = {"method": "", "ablation": "", "variant": "Variants", ELSEWHERE: "Made elsewhere", "control": "Controls"}
"""Roles in the order of tables, with what is written above them."""
STYLES = {"markdown": "pipe", "terminal": "simple", "latex": "latex_booktabs", "csv": ""}
"""What tabulate calls the formats of plain grids."""
LATEX_NEEDS = r"% needs \usepackage{booktabs}"
SIDE_BY_SIDE = 2
"""Data sets next to each other, as the paper has them."""


@dataclass(frozen=True)
class Number:
    """A cell of a table.

    Attributes:
        mean: In percent; nan where there is none.
        deviation: Sample standard deviation over seeds, in percent; nan for a single seed.
        n: How many seeds there are.
        rank: 1 for the closest to Retrain, 2 for the second closest, otherwise 0.
    """

    mean: float = math.nan
    deviation: float = math.nan
    n: int = 0
    rank: int = 0

    def distance(self, reference: Number) -> float:
        """How far it is from Retrain's number, both as printed."""
        return round(abs(round(self.mean, 2) - round(reference.mean, 2)), 2)

    def text(self, asked: int, plus_minus: str = "±") -> str:
        """The number as the paper prints it, with n where seeds are missing."""
        if self.n == 0:
            return "-"
        deviation = "" if math.isnan(self.deviation) else f"{plus_minus}{self.deviation:.2f}"
        return f"{self.mean:.2f}{deviation}" + (f" (n={self.n})" if self.n < asked else "")


@dataclass(frozen=True)
class Row:
    """A method of a table: its name, title, role, and numbers by data set and column."""

    method: str
    title: str
    role: str
    numbers: Mapping[tuple[str, str], Number]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        number: 1 to 6 as in the paper, or the name of another task.
        task: The task's name, with options that differ from the preset's.
        title: What stands above it.
        datasets: Titles by name.
        columns: Names of metrics.
        rows: In order.
        asked: How many seeds the preset wants.
        notes: What stands below it.
    """

    number: int | str
    task: str
    title: str
    datasets: Mapping[str, str]
    columns: Sequence[str]
    rows: Sequence[Row]
    asked: int
    notes: Sequence[str]

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        _, plus, options = self.task.partition("+")
        return f"table{'' if isinstance(self.number, int) else '-'}{self.number}{plus}{options}"


def style_of(form: str) -> str:
    """What tabulate calls a format; "" for "csv".

    Raises:
        UserError: If there is no such format.
    """
    if form not in STYLES:
        raise UserError(f"format must be one of {', '.join(STYLES)}, not {form!r}")
    return STYLES[form]


def grid(title: str, headers: Sequence[str], lines: Sequence[Sequence[str]], notes: Iterable[str], form: str) -> str:
    """A plain table with what stands above and below it, as text that ends in a line break; not for "csv"."""
    from tabulate import tabulate

    text = tabulate(lines, headers, tablefmt=style_of(form), disable_numparse=True)
    if form == "latex":
        above = [LATEX_NEEDS, r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(title)}}}"]
        below = [*(rf"\par\footnotesize {escape_latex(note)}" for note in notes), r"\end{table}"]
        return "\n".join([*above, text, *below]) + "\n"
    if form == "markdown":
        title, notes = escape_markdown(title), [f"- {escape_markdown(note)}" for note in notes]
    return f"{title}\n\n{text}\n\n" + "".join(f"{note}\n" for note in notes)


def plain_csv(headers: Sequence[str], lines: Iterable[Sequence[str | float]]) -> str:
    """A plain table unrounded, empty where there is nothing (nan)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([["" if value != value else value for value in line] for line in lines])  # nan is not itself
    return text.getvalue()


def render(made: Table, form: str) -> str:
    """A table as text, ending in a line break."""
    renderers: dict[str, Callable[[Table], str]] = {
        "markdown": markdown,
        "terminal": terminal,
        "latex": latex,
        "csv": as_csv,
    }
    if form not in renderers:
        raise UserError(f"format must be one of {', '.join(renderers)}, not {form!r}")
    return renderers[form](made)


def blocks(made: Table) -> Iterable[dict[str, str]]:
    """The data sets that stand side by side: titles by name."""
    names = list(made.datasets)
    for first in range(0, len(names), SIDE_BY_SIDE):
        yield {name: made.datasets[name] for name in names[first : first + SIDE_BY_SIDE]}


def markdown(made: Table) -> str:
    """GitHub's markdown: best in bold, second best underlined."""
    text = grids(made, "pipe", {1: "**{}**", 2: "<u>{}</u>"}, "*{}*")
    notes = "\n".join(f"- {escape_markdown(note)}" for note in made.notes)
    return f"**{made.title}**\n\n{text}\n{notes}\n"


def terminal(made: Table) -> str:
    """As markdown, but with the terminal's own bold and underline."""
    text = grids(made, "simple", {1: "\033[1m{}\033[0m", 2: "\033[4m{}\033[0m"}, "{}")
    return f"{made.title}\n\n{text}\n" + "".join(f"{note}\n" for note in made.notes)


def grids(made: Table, form: str, marks: Mapping[int, str], group: str) -> str:
    """The blocks of a table, drawn by tabulate."""
    from tabulate import tabulate

    drawn = []
    for block in blocks(made):
        headers = ["Method"] + ["Data", *(COLUMNS.get(c, c) for c in made.columns)] * len(block)
        lines: list[list[str]] = []
        for row, heading in grouped(made.rows):
            if heading:
                lines.append([group.format(heading), *[""] * (len(headers) - 1)])
            cells = [row.title]
            for name, title in block.items():
                numbers = [row.numbers[name, column] for column in made.columns]
                cells += [title if row is made.rows[0] else ""]
                cells += [marks.get(number.rank, "{}").format(number.text(made.asked)) for number in numbers]
            lines.append(cells)
        drawn.append(tabulate(lines, headers, tablefmt=form, disable_numparse=True) + "\n")
    return "\n".join(drawn)


def grouped(rows: Sequence[Row]) -> Iterable[tuple[Row, str]]:
    """Rows with the heading to write above each, "" for none."""
    above = ""
    for row in rows:
        heading = GROUPS[row.role]
        yield row, heading if heading != above else ""
        above = heading


def latex(made: Table) -> str:
    """A LaTeX table for the package booktabs."""
    marks = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    lines = [
        LATEX_NEEDS,
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(made.title.partition(': ')[2])}}}",
    ]
    for block in blocks(made):
        lines += [r"\begin{tabular}{l" + ("l" + "r" * len(made.columns)) * len(block) + "}", r"\toprule"]
        columns = [subscripted(COLUMNS.get(column, column)) for column in made.columns]
        lines += [" & ".join(["Method"] + ["Data", *columns] * len(block)) + r" \\", r"\midrule"]
        for row, heading in grouped(made.rows):
            if heading:
                lines += [r"\midrule"]
            cells = [escape_latex(row.title)]
            for name, title in block.items():
                cells += [escape_latex(title) if row is made.rows[0] else ""]
                for column in made.columns:
                    number = row.numbers[name, column]
                    cells += [marks.get(number.rank, "{}").format(number.text(made.asked, r"$\pm$"))]
            lines += [" & ".join(cells) + r" \\"]
        lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape_latex(note)}" for note in made.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def as_csv(made: Table) -> str:
    """One line for each number: table, task, dataset, method, metric, mean, std, n; percent, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "task", "dataset", "method", "metric", "mean", "std", "n"])
    for row in made.rows:
        for (dataset, column), number in row.numbers.items():
            names = [made.number, made.task, made.datasets[dataset], row.title, column]
            mean = "" if number.n == 0 else number.mean
            writer.writerow([*names, mean, "" if number.n < 2 else number.deviation, number.n])
    return text.getvalue()


def subscripted(column: str) -> str:
    """A column's name for LaTeX: Train_r gets its subscript."""
    base, _, index = column.partition("_")
    return rf"{base}$_{{{escape_latex(index)}}}$" if index else escape_latex(base)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    special = {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
    return "".join(special.get(c, c) for c in text).replace("±", r"$\pm$")


def escape_markdown(text: str) -> str:
    """Text that markdown prints as it is."""
    return text.replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")
