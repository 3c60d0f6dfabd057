"""Differences to Retrain with the same seed: their intervals, in percentage points and in units of the noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearnbench import statistics
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting.cells import Cells, groups
from unlearnbench.reporting.grid import Column, Data, Grid
from unlearnbench.reporting.noise_floor import differences, floor, of_method

if TYPE_CHECKING:
    from unlearnbench.statistics import Floats

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A method's number less Retrain's.

    Attributes:
        mean: Over seeds, in percentage points.
        low: The lower end of its 95 % t-interval, at least -100; -100 for a single seed.
        high: The upper end, at most 100.
        seeds: How many there are.
        floor: The noise floor, in percentage points; None if there is no second Retrain.
    """

    mean: float
    low: float
    high: float
    seeds: int
    floor: float | None

    @property
    def spread(self) -> bool:
        """Whether seeds differ: if all agree to the last digit, they do not say how much others would."""
        return self.seeds > 1 and self.high > self.low

    @property
    def floors(self) -> float | None:
        """The distance of the mean from zero in noise floors."""
        return abs(self.mean) / self.floor if self.floor else None

    def __str__(self) -> str:
        around = f" [{self.low:+.2f}, {self.high:+.2f}]" if self.spread else ""
        return f"{self.mean:+.2f}{around}" + ("" if self.floors is None else f" ({self.floors:.1f})")


Row = tuple[str, str, list[Difference | None]]
"""Titles of data set and method, and differences by metric."""


def view(cells: Cells) -> Grid:
    """The difference of each method to Retrain in each metric of the task."""
    found = list(rows(cells))
    columns = [Column("Data"), Column("Method")]
    columns += [Column(COLUMNS.get(c, c), lambda difference: str(difference or "-")) for c in cells.columns]
    seeds = max((d.seeds for *_, by_metric in found for d in by_metric if d), default=0)
    title = f"{cells.title}: less Retrain with the same seed"
    lines = [[dataset, method, *by_metric] for dataset, method, by_metric in found]
    return Grid(title, columns, lines, list(notes(seeds)), tidy(found, cells.columns))


def rows(cells: Cells) -> Iterator[Row]:
    """A row for each method on each data set."""
    by_dataset = dict(iter(cells.ok.groupby("dataset")))
    tables = {(d, c): differences(here, c) for d, here in by_dataset.items() for c in cells.columns}
    floors = {(d, c): floor(here, c) for d, here in by_dataset.items() for c in cells.columns}
    for group in groups(cells.ok):
        if group.method != REFERENCE:
            places = [(group.dataset, column) for column in cells.columns]
            by_metric = [difference(of_method(tables[place], group.method), floors[place]) for place in places]
            yield group.dataset_title, group.method_title, by_metric


def difference(between: Floats, noise: float | None) -> Difference | None:
    """A method's difference in a metric; None if no seed has one.

    Args:
        between: Its differences to Retrain in [-1, 1], float64 [seeds].
        noise: The noise floor in [0, 1], or None.
    """
    if not len(between):
        return None
    interval = statistics.paired(100 * between, 1 - LEVEL)
    ends = max(interval.low, -100.0), min(interval.high, 100.0)
    return Difference(interval.value, *ends, len(between), None if noise is None else 100 * noise)


def notes(seeds: int) -> Iterator[str]:
    """What these numbers can and cannot say."""
    yield (
        "In percentage points, averaged over seeds. In parentheses: how many noise floors that is. A noise floor is "
        "the root mean square, over seeds, of what a second Retrain differs by (control `retrain-2`), but at least one "
        f"item. With {seeds} seeds another Retrain would stay within {reach(seeds):.1f} of them, 95 times in 100."
    )
    if seeds < 2:
        yield "One seed has no interval: it takes two."
        return
    yield (
        f"In brackets: the {1 - LEVEL:.0%} t-interval over {seeds} seeds, for each number by itself. It takes "
        "differences to be normal, which so few seeds cannot show. Where all seeds agree there is none: they do "
        "not say how far others would be."
    )
    enough = next(n for n in range(2, 100) if statistics.least_p(n) < LEVEL)
    if seeds < enough:
        yield (
            f"Without that assumption {seeds} seeds cannot tell anybody from Retrain: a signed-rank test does not fall "
            f"below p = {statistics.least_p(seeds):.2g}. For {LEVEL} it takes {enough} seeds."
        )


def reach(seeds: int) -> float:
    """How many noise floors the mean over seeds of another Retrain's differences reaches in 95 of 100 cases."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds, 1 - LEVEL / 2) / math.sqrt(seeds))


def tidy(found: Sequence[Row], metrics: Sequence[str]) -> Data:
    """One row for each number, in percentage points."""
    headers = ["dataset", "method", "metric", "mean", "low", "high", "n", "noise floor"]
    lines = []
    for dataset, method, by_metric in found:
        for metric, d in zip(metrics, by_metric, strict=True):
            if d is not None:
                ends = [d.low, d.high] if d.spread else [math.nan, math.nan]
                noise = math.nan if d.floor is None else d.floor
                lines.append([dataset, method, metric, d.mean, *ends, d.seeds, noise])
    return Data(headers, lines)
