"""Accuracies on groups of samples apart: those that were given, those that are hidden, and their siblings."""

from __future__ import annotations

import math
from collections.abc import Iterable

from unlearnbench.errors import UserError
from unlearnbench.reporting.cells import Cells, groups
from unlearnbench.reporting.distance import summary
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid
from unlearnbench.reporting.rendering import Number

PARTS = {"train": "Train", "test": "Test"}
NOTE = (
    "Accuracies in percent, mean ± sample standard deviation over seeds, in the labels that the network predicts. "
    "given: samples of the classes of the forget set; hidden: other samples of the concept that must be forgotten; "
    "siblings: samples of other classes of the same superclasses, which must be kept."
)


def view(cells: Cells) -> Grid:
    """The accuracies on each group that the task reports apart.

    Raises:
        UserError: If it reports none.
    """
    frame = cells.ok
    names = [name for name in ("given", "hidden", "siblings") if f"train_{name}" in frame]
    columns = [f"{part}_{name}" for part in PARTS for name in names if f"{part}_{name}" in frame]
    if not columns:
        raise UserError(f"{cells.task} reports no group of samples apart: the tasks of label mismatch do")
    rows = [
        [group.dataset_title, group.method_title, *(number(group.cells[column].dropna()) for column in columns)]
        for group in groups(frame)
    ]
    titles = [f"{PARTS[part]} {name}" for part, _, name in (column.partition("_") for column in columns)]
    return Grid(
        f"{cells.title}: groups apart", [DATA, METHOD, *(Column(title, shown) for title in titles)], rows, [NOTE]
    )


def number(values: Iterable[float]) -> Number:
    """Fractions of seeds as a number in percent."""
    return summary([100 * float(value) for value in values])


def shown(number: Number) -> str:
    """A number in a table."""
    if not number.n:
        return "-"
    return f"{number.mean:.2f}" + ("" if math.isnan(number.deviation) else f"±{number.deviation:.2f}")
