"""What methods cost beside Retrain: passes over the training set, and seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.cells import Cells, Group, groups
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid

UNITS = {"ep": "ep", "seconds": "s"}
"""The units of costs, with their symbols."""
PHASES = ("prepare", "unlearn")
NOTES = (
    "ep, epoch-equivalent: one forward and backward pass over the training set; a forward pass alone is 1/3. Methods "
    "declare their ep; n/a: not declared. Seconds are measured on the machine that made the records. Means over seeds.",
    "prepare: before the forget set is known. Work that methods share, or that a method starts from, is charged in "
    "full to each of them, also if it is cached.",
    "beside Retrain: both phases together, divided by those of Retrain.",
)


def view(cells: Cells) -> Grid:
    """What each method costs in both phases, and together as multiples of Retrain's cost."""
    by_unit = [
        [*(f"{phase} ({symbol})" for phase in PHASES), f"beside Retrain ({symbol})"] for symbol in UNITS.values()
    ]
    columns = [DATA, METHOD, *(Column(header, shown) for unit in by_unit for header in unit)]
    return Grid(f"{cells.title}: cost", columns, rows(cells), NOTES)


def rows(cells: Cells) -> list[list[str | float]]:
    """A row for each method on each data set."""
    return [[group.dataset_title, group.method_title, *costs] for group, costs in by_method(cells)]


def by_method(cells: Cells) -> Iterator[tuple[Group, list[float]]]:
    """The costs of each method on each data set, in the order of columns."""
    names = [f"{unit}_{phase}" for unit in UNITS for phase in PHASES]
    spent = cells.ok.reindex(columns=["dataset", "method", *names]).groupby(["dataset", "method"]).mean()
    means: Any = spent.to_dict("index")
    for group in groups(cells.ok):
        row: list[float] = []
        for unit in UNITS:
            phases = [means[group.dataset, group.method][f"{unit}_{phase}"] for phase in PHASES]
            reference = means.get((group.dataset, REFERENCE), {})
            retrained = sum(reference.get(f"{unit}_{phase}", math.nan) for phase in PHASES)
            row += [*phases, sum(phases) / retrained if retrained else math.nan]
        yield group, row


def shown(value: float) -> str:
    """A cost in a table."""
    return "n/a" if math.isnan(value) else f"{value:.2f}"
