"""A table beside the published one: differences with their intervals, and which published numbers are wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unlearnbench import statistics
from unlearnbench.errors import UserError, counted
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import COLUMNS, Protocol
from unlearnbench.reporting import standard
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.numbering import task_of
from unlearnbench.reporting.published import SEEDS, TITLES, Published
from unlearnbench.reporting.rendering import Number, Table
from unlearnbench.statistics import Interval

CLOSE = 1.0
"""In percentage points: the difference up to which the summary calls numbers close."""


@dataclass(frozen=True)
class Pair:
    """A published number and ours.

    Attributes:
        dataset: Its title in print.
        method: Its title.
        metric: Its name, e.g. "train_r".
        published: In percent, over five seeds.
        ours: In percent.
        is_reference: Whether the method is Retrain.
        wrong: Why the published number cannot be right; "" if nothing is known against it.
    """

    dataset: str
    method: str
    metric: str
    published: Number
    ours: Number
    is_reference: bool
    wrong: str

    @property
    def difference(self) -> float:
        """Ours minus published, in percentage points."""
        return self.ours.mean - self.published.mean

    @property
    def interval(self) -> Interval | None:
        """The difference with its Welch interval; None for a single seed."""
        published, ours = ((number.mean, number.deviation, number.n) for number in (self.published, self.ours))
        return statistics.welch(published, ours)


def view(cells: Cells, protocol: Protocol, published: Published) -> Grid:
    """Our numbers beside the published ones.

    Args:
        cells: Ours.
        protocol: Which of our numbers; the published ones are made as in protocol "released".
        published: The published numbers.

    Raises:
        UserError: If no published number has one of ours.
    """
    table = standard.view(cells, protocol)
    pairs = list(paired(table, published)) if cells.task == task_of(cells.number) else []  # the preset's options only
    if not published.numbers:
        raise UserError(f"table {cells.number} has no number to compare: published are tables 1 to 7")
    if not pairs:
        raise UserError(
            f"table {cells.number} of preset {cells.preset.name} has no number to compare: published are those of "
            f"{', '.join(published.datasets)}, with the options and networks of preset paper"
        )
    reasons = list(dict.fromkeys(pair.wrong for pair in pairs if pair.wrong))
    marks = {reason: f" ({i})" for i, reason in enumerate(reasons, start=1)}
    columns = [
        DATA,
        METHOD,
        Column("Metric", lambda metric: COLUMNS.get(metric, metric), is_key=True),
        Column("Published", lambda pair: pair.published.text(SEEDS) + marks.get(pair.wrong, "")),
        Column("Ours", lambda number: number.text(table.seeds)),
        Column("Difference", "{:+.2f}".format),
        Column("95 % interval", lambda interval: f"[{interval.low:+.2f}, {interval.high:+.2f}]" if interval else "n/a"),
    ]
    rows = [(p.dataset, p.method, p.metric, p, p.ours, p.difference, p.interval) for p in pairs]
    numbered = [f"Known to be wrong in print:{marks[reason]} {reason}" for reason in reasons]
    notes = [*summary(table, pairs, published), *numbered, *table.notes[1:]]
    title = f"{cells.title}, protocol {protocol.name}, beside the published numbers ({SEEDS} seeds; ours {table.seeds})"
    return Grid(title, columns, rows, notes, tidy(pairs))


def paired(table: Table, published: Published) -> Iterator[Pair]:
    """The cells of a table that were published too."""
    for dataset, title in table.datasets.items():
        for row in table.rows:
            for metric in table.columns:
                place, ours = (dataset, row.method, metric), row.numbers[dataset, metric]
                if place in published.numbers and ours.n:
                    theirs, wrong = published.numbers[place], published.wrong.get(place, "")
                    yield Pair(
                        TITLES.get(dataset, title), row.title, metric, theirs, ours, row.method == REFERENCE, wrong
                    )


def tidy(pairs: Sequence[Pair]) -> Data:
    """One row for each pair, in percent."""
    sides = [f"{side}_{end}" for side in ("published", "ours") for end in ("mean", "std", "n")]
    headers = ["dataset", "method", "metric", *sides, "difference", "low", "high", "known_wrong"]
    rows = []
    for pair in pairs:
        numbers = [value for side in (pair.published, pair.ours) for value in (side.mean, side.deviation, side.n)]
        ends = [pair.interval.low, pair.interval.high] if pair.interval else [math.nan, math.nan]
        rows.append([pair.dataset, pair.method, pair.metric, *numbers, pair.difference, *ends, pair.wrong])
    return Data(headers, rows)


def summary(table: Table, pairs: Sequence[Pair], published: Published) -> Iterator[str]:
    """How many numbers agree, and whether the methods are in the same order."""
    everything = [place for place in published.numbers if place[0] in table.datasets]
    trusted = [pair for pair in pairs if not pair.wrong]
    close = [pair for pair in trusted if abs(pair.difference) <= CLOSE]
    yield (
        f"{len(pairs)} of {len(everything)} published numbers for these data have one of ours beside them. "
        f"{len(pairs) - len(trusted)} of them are known to be wrong in print and are not counted below."
    )
    yield f"{len(close)} of {len(trusted)} differ by at most {CLOSE:g} point."
    intervals = [pair.interval for pair in trusted if pair.interval]
    inside = [interval for interval in intervals if interval.low <= 0 <= interval.high]
    if intervals:
        yield f"{len(inside)} of {len(intervals)} intervals of the difference (95 %, Welch) include zero."
    else:
        yield "One seed has no interval: any difference may be chance."
    for dataset in dict.fromkeys(pair.dataset for pair in trusted):
        here = [pair for pair in trusted if pair.dataset == dataset]
        ranks = ", ".join(rank_correlation(here, m) for m in dict.fromkeys(p.metric for p in here))
        yield f"{dataset}: rank correlation (Spearman) of the distances to Retrain, published and ours: {ranks}."


def rank_correlation(pairs: Sequence[Pair], metric: str) -> str:
    """The rank correlation of the methods' distances to Retrain in print and in ours, in words.

    Args:
        pairs: Of one data set.
        metric: The metric.
    """
    from scipy.stats import spearmanr

    name = COLUMNS.get(metric, metric)
    reference = [pair for pair in pairs if pair.metric == metric and pair.is_reference]
    others = [pair for pair in pairs if pair.metric == metric and not pair.is_reference]
    if not reference:
        return f"{name} n/a (no trusted Retrain)"
    if len(others) < 3:
        return f"{name} n/a ({counted(len(others), 'method')}; needs three)"
    theirs = [pair.published.distance(reference[0].published) for pair in others]
    ours = [pair.ours.distance(reference[0].ours) for pair in others]
    if len(set(theirs)) < 2 or len(set(ours)) < 2:
        return f"{name} n/a (all equally close)"
    return f"{name} {spearmanr(theirs, ours).statistic:+.2f} ({counted(len(others), 'method')})"
