"""Every column of a table against the values of options that several runs varied, such as `run --sweep`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import changed_options
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import CLEAN, COLUMNS
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.numbering import position
from unlearnbench.reporting.record import Record
from unlearnbench.reporting.rendering import Number
from unlearnbench.reporting.standard import averages, seeds_of

NOTE = (
    "One row for each value of an option. The row of the preset's own value has the options that the other rows do not "
    "change. Mean ± sample standard deviation over seeds, in percent; the target is Retrain's value. A study, not a "
    "choice: the test set is read, so no value may be chosen from it; see `unlearnbench tune`."
)
PRESET = " (preset)"
"""What follows the preset's own value."""


@dataclass(frozen=True)
class Point:
    """A method with some values of the options that were varied.

    Attributes:
        record: Any of its records.
        values: The values.
        is_preset: Whether they are the preset's.
    """

    record: Record
    values: tuple[Any, ...]
    is_preset: bool

    @property
    def text(self) -> str:
        """The values."""
        return ", ".join(map(str, self.values)) + (PRESET if self.is_preset else "")

    @property
    def order(self) -> list[tuple[bool, float, str]]:
        """The sort key: numbers by size, before anything else."""
        is_number = [isinstance(value, int | float) and not isinstance(value, bool) for value in self.values]
        numbers = zip(is_number, self.values, strict=True)
        return [(not number, value if number else 0.0, str(value)) for number, value in numbers]


@dataclass(frozen=True)
class Series:
    """The points of a method on a data set in which the same options were varied.

    Attributes:
        options: Their names, as NAME.OPTION.
        points: In the order of their values; the one of the preset among them if it has a record.
    """

    options: tuple[str, ...]
    points: Sequence[Point]


def view(cells: Cells) -> Grid:
    """The columns of a table against the values of options, with Retrain in front.

    Raises:
        UserError: If no method has records with several values of an option.
    """
    found = list(series(cells.records))
    if not found:
        raise UserError(
            f"no method has records of {cells.task} with several values of an option: run e.g. `unlearnbench run "
            f"--preset {cells.preset.source} --sweep laf.tau=5,20`"
        )
    numbers = averages(cells.ok, cells.columns, CLEAN)
    seeds = seeds_of(numbers, len(cells.choice.seeds or cells.preset.seeds))
    lines: list[list[Any]] = []

    def line(record: Record, option: str, value: str) -> list[Any]:
        info = record.cell
        own = [numbers.get((info.dataset, info.method, column), Number()) for column in cells.columns]
        title = info.method_title if not option else base_title(record)
        return [info.dataset_title, title, option, value, *own]

    references = {r.cell.dataset: r for r in cells.records if r.cell.method == REFERENCE}
    for dataset in sorted({one.points[0].record.cell.dataset for one in found}):
        lines += [line(references[dataset], "", "")] if dataset in references else []
        for one in (one for one in found if one.points[0].record.cell.dataset == dataset):
            lines += [line(point.record, ", ".join(one.options), point.text) for point in one.points]
    headers = [Column("Option", is_key=True), Column("Value", is_key=True)]
    columns = [Column(COLUMNS[column], lambda number: number.text(seeds)) for column in cells.columns]
    names = [f"{COLUMNS[column]}{end}" for column in cells.columns for end in (" mean", " std", " n")]
    tidy = [[*row[:4], *(part for n in row[4:] for part in (n.mean, n.deviation, n.n))] for row in lines]
    return Grid(
        f"{cells.title}: sensitivity",
        [DATA, METHOD, *headers, *columns],
        lines,
        [NOTE],
        Data(["Data", "Method", "Option", "Value", *names], tidy),
    )


def base_title(record: Record) -> str:
    """The title of a method without the options in it; with its file, if it has one."""
    return re.sub(r" \((?:([^(),=]+\.py), )?[^()]*=[^()]*\)$", with_file, record.cell.method_title)


def with_file(remarks: re.Match[str]) -> str:
    """What remains of the remarks on a method."""
    return f" ({remarks[1]})" if remarks[1] else ""


def series(records: Sequence[Record]) -> Iterator[Series]:
    """What was varied, by data set, method and options."""
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        first.setdefault((record.cell.dataset, record.cell.method), record)
    groups: dict[tuple[str, str, tuple[str, ...]], list[Record]] = {}
    for (dataset, method), record in first.items():
        if changed := tuple(sorted(changed_options(method))):
            groups.setdefault((dataset, record.cell.method_name, changed), []).append(record)
    for dataset, name, options in sorted(groups, key=lambda key: (key[0], position(key[1], "method"), key[2])):
        variants = groups[dataset, name, options]
        own = first.get((dataset, name))
        points = [Point(record, values_of(record, options), False) for record in variants]
        points += [Point(own, values_of(own, options), True)] if own else []
        yield Series(options, sorted(points, key=lambda point: point.order))


def values_of(record: Record, options: Sequence[str]) -> tuple[Any, ...]:
    """The values of options; None where a record does not have one."""
    return tuple(record.options.get(option) for option in options)
