"""Differences to Retrain with the same seed, with intervals, in percentage points and in noise floors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearnbench import statistics
from unlearnbench.errors import counted
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting.cells import Cells, Group, groups
from unlearnbench.reporting.degenerate import of_attack
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.noise_floor import differences, floor, of_method

if TYPE_CHECKING:
    from unlearnbench.statistics import Floats

FEWEST = 3
"""The smallest number of seeds with an interval: of two, it is 13 times as wide as their range."""
LEVEL = 0.05
"""The level of significance; intervals have a confidence of 1 - LEVEL."""


@dataclass(frozen=True)
class Difference:
    """The mean difference of a method to Retrain in a metric.

    Attributes:
        mean: Over seeds, in percentage points.
        low: The lower end of its 95 % t-interval, cut off at -100; -100 for a single seed.
        high: The upper end, cut off at 100.
        seeds: The number of seeds.
        floor: The noise floor, in percentage points; None if there is no second Retrain.
    """

    mean: float
    low: float
    high: float
    seeds: int
    floor: float | None

    @property
    def spread(self) -> bool:
        """Whether it has an interval: not of two seeds, whose is too wide to tell anything, nor where all agree."""
        return self.seeds >= FEWEST and self.high > self.low

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
    lines = list(rows(cells))
    columns = [DATA, METHOD]
    columns += [Column(COLUMNS.get(c, c), lambda difference: str(difference or "-")) for c in cells.columns]
    seeds = max((d.seeds for *_, by_metric in lines for d in by_metric if d), default=0)
    title = f"{cells.title}: difference to Retrain with the same seed"
    flat = [[dataset, method, *by_metric] for dataset, method, by_metric in lines]
    return Grid(title, columns, flat, [*notes(seeds), *of_attack(cells.frame)], tidy(lines, cells.columns))


def rows(cells: Cells) -> Iterator[Row]:
    """A row for each method on each data set."""
    for group, by_metric in by_method(cells):
        yield group.dataset_title, group.method_title, by_metric


def by_method(cells: Cells) -> Iterator[tuple[Group, list[Difference | None]]]:
    """The differences of each method but Retrain on each data set, by metric."""
    by_dataset = dict(iter(cells.ok.groupby("dataset")))
    tables = {(d, c): differences(here, c) for d, here in by_dataset.items() for c in cells.columns}
    floors = {(d, c): floor(here, c) for d, here in by_dataset.items() for c in cells.columns}
    for group in groups(cells.ok):
        if group.method != REFERENCE:
            places = [(group.dataset, column) for column in cells.columns]
            yield group, [difference(of_method(tables[place], group.method), floors[place]) for place in places]


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
    """What these numbers are, and what they cannot show.

    Args:
        seeds: The largest number of seeds of a difference.
    """
    yield (
        "Mean difference over seeds in percentage points; in parentheses: in noise floors. The noise floor is the root "
        "mean square over seeds of the difference between two Retrains (control `retrain-2`), at least one sample. "
        f"With {counted(seeds, 'seed')}, another Retrain stays within {reach(seeds):.1f} noise floors in 95 % of cases."
    )
    if seeds < FEWEST:
        yield f"{'One seed has' if seeds == 1 else f'{seeds} seeds have'} no interval: {FEWEST} are needed."
        return
    yield (
        f"In brackets: the {1 - LEVEL:.0%} t-interval over {seeds} seeds, not corrected for multiple comparisons. It "
        "assumes normal differences, which so few seeds cannot show. None where all seeds agree or "
        f"fewer than {FEWEST} have numbers."
    )
    enough = next(n for n in range(2, 100) if statistics.least_p(n) < LEVEL)
    if seeds < enough:
        yield (
            f"Without that assumption, {seeds} seeds cannot distinguish any method from Retrain: the smallest p of a "
            f"signed-rank test is {statistics.least_p(seeds):.2g}, and one below {LEVEL} needs {enough} seeds."
        )


def reach(seeds: int) -> float:
    """The bound in noise floors that the mean difference of another Retrain over seeds keeps in 95 % of cases."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds, 1 - LEVEL / 2) / math.sqrt(seeds))


def tidy(rows: Sequence[Row], metrics: Sequence[str]) -> Data:
    """One row for each number, in percentage points."""
    headers = ["dataset", "method", "metric", "mean", "low", "high", "n", "noise floor"]
    lines = []
    for dataset, method, by_metric in rows:
        for metric, d in zip(metrics, by_metric, strict=True):
            if d is not None:
                ends = [d.low, d.high] if d.spread else [math.nan, math.nan]
                noise = math.nan if d.floor is None else d.floor
                lines.append([dataset, method, metric, d.mean, *ends, d.seeds, noise])
    return Data(headers, lines)
