"""Paired differences to Retrain with their intervals, in points and in units of the noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench import statistics
from unlearnbench.planning import presets
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting import rendering
from unlearnbench.reporting.noise_floor import differences, floor, of_method
from unlearnbench.reporting.tables import numbered_frames, position, titled

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.statistics import Floats

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A method's number less Retrain's.

    Attributes:
        mean: Over seeds, in percentage points.
        low: The lower end of its 95 % t-interval, as far as there are such differences; -100 for a single seed.
        high: The upper end.
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
        """How many noise floors the mean is away from zero."""
        return abs(self.mean) / self.floor if self.floor else None

    def __str__(self) -> str:
        around = f" [{self.low:+.2f}, {self.high:+.2f}]" if self.spread else ""
        return f"{self.mean:+.2f}{around}" + ("" if self.floors is None else f" ({self.floors:.1f})")


def paired(
    number: int | str,
    preset: str = "demo",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    accept_stale: bool = False,
) -> str:
    """The differences to Retrain of the methods of one of the paper's tables.

    Args:
        number: As in `table`, likewise the others.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        accept_stale: As in `table`.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    rendering.style_of(format)
    frame = numbered_frames(number, preset, Path(results), accept_stale)[0]
    columns = list(frame["columns"].iloc[0])
    lines = list(rows(frame[frame["status"] == "ok"], columns))
    if format == "csv":
        return as_csv(lines, columns)
    shown = [[place, name, *("-" if d is None else str(d) for d in found)] for place, name, found in lines]
    title = f"{titled(number, frame, presets.read(preset))}: less Retrain with the same seed"
    headers = ["Data", "Method", *(COLUMNS.get(column, column) for column in columns)]
    seeds = max((d.seeds for _, _, found in lines for d in found if d), default=0)
    return rendering.grid(title, headers, shown, notes(seeds), format)


def rows(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str, str, list[Difference | None]]]:
    """A line for each method on each data set, in the order of tables."""
    for _, group in frame.groupby("dataset"):
        tables = {column: differences(group, column) for column in columns}
        floors = {column: floor(group, column) for column in columns}
        about = group.drop_duplicates("method").set_index("method")
        for method in sorted(about.index, key=lambda name: position(name, str(about.loc[name, "role"]))):
            if method != REFERENCE:
                found = [difference(of_method(tables[c], method), floors[c]) for c in columns]
                yield str(about.loc[method, "dataset_title"]), str(about.loc[method, "method_title"]), found


def difference(between: Floats, noise: float | None) -> Difference | None:
    """What a method's differences in a column come to; None if there are none."""
    if not len(between):
        return None
    found = statistics.paired(100 * between, 1 - LEVEL)
    ends = max(found.low, -100.0), min(found.high, 100.0)
    return Difference(found.value, *ends, len(between), None if noise is None else 100 * noise)


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


def as_csv(lines: Sequence[tuple[str, str, list[Difference | None]]], columns: Sequence[str]) -> str:
    """One line for each number, unrounded, empty where there is nothing."""
    headers = ["dataset", "method", "metric", "mean", "low", "high", "n", "noise floor"]
    found: list[list[str | float]] = []
    for place, name, numbers in lines:
        for column, d in zip(columns, numbers, strict=True):
            if d is not None:
                ends = [d.low, d.high] if d.spread else [math.nan] * 2
                found.append([place, name, column, d.mean, *ends, d.seeds, math.nan if d.floor is None else d.floor])
    return rendering.plain_csv(headers, found)
