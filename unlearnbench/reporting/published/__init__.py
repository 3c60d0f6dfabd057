"""Our tables beside the published ones: differences, what chance explains of them, and what was wrong in print."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnbench import statistics
from unlearnbench.errors import UserError
from unlearnbench.planning import protocols
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting import rendering
from unlearnbench.reporting.rendering import Number, Table
from unlearnbench.reporting.tables import numbered, task_of
from unlearnbench.statistics import Interval

HERE = Path(__file__).parent
SEEDS = 5
"""How many seeds the published numbers are means of."""
CLOSE = 1.0
"""In percentage points: the difference up to which the summary calls numbers close."""
Place = tuple[str, str, str]
"""Data set, method, metric."""


@dataclass(frozen=True)
class Pair:
    """A published number and ours.

    Attributes:
        dataset: Its title.
        method: Its title.
        metric: Its name, e.g. "train_r".
        published: In percent, over five seeds.
        ours: In percent.
        is_reference: Whether the method is Retrain.
        wrong: Why the published number cannot be right; "" where nothing is known.
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
        sides = [(number.mean, number.deviation, number.n) for number in (self.published, self.ours)]
        return statistics.welch(sides[0], sides[1])


def compare(
    number: int | str,
    preset: str = "paper",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    protocol: str = protocols.RELEASED.name,
    accept_stale: bool = False,
) -> str:
    """One of the paper's tables, published and ours.

    Args:
        number: As in `table`, likewise the others.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        protocol: The published numbers are made as "released" has it.
        accept_stale: As in `table`.

    Raises:
        UserError: If a name is wrong, or there are no records of a published cell.
    """
    rendering.style_of(format)
    tables = numbered(number, preset, Path(results), protocols.get(protocol), accept_stale)
    found = list(pairs(tables[0])) if tables[0].task == task_of(number) else []  # not a task with other options
    if not found:
        known = sorted({dataset for dataset, _, _ in published(number)})
        raise UserError(
            f"table {number} of preset {preset} has no number to compare: published are those of {', '.join(known)}, "
            "with the options and networks of preset paper"
        )
    return as_csv(found) if format == "csv" else as_text(tables[0], found, format, protocol)


def published(number: int | str) -> dict[Place, Number]:
    """The numbers of a table of the LAF paper (Shen et al., ICLR 2024), in percent."""
    rows = read("laf.csv", number)
    return {place: Number(float(row["mean"]), float(row["std"]), SEEDS) for place, row in rows.items()}


def known_wrong(number: int | str) -> dict[Place, str]:
    """The numbers of a table that contradict others of the paper or are no measurements, with the reason."""
    return {place: row["reason"] for place, row in read("laf_wrong.csv", number).items()}


def read(name: str, number: int | str) -> dict[Place, dict[str, str]]:
    """The rows of a published table."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["table"]) == number]
    return {(row["dataset"], row["method"], row["metric"]): row for row in rows}


def pairs(made: Table) -> Iterator[Pair]:
    """The cells of a table that were published, too."""
    theirs, wrong = published(made.number), known_wrong(made.number)
    for dataset, title in made.datasets.items():
        for row in made.rows:
            for metric in made.columns:
                place = dataset, row.method, metric
                ours = row.numbers[dataset, metric]
                if place in theirs and ours.n:
                    is_reference = row.method == REFERENCE
                    yield Pair(title, row.title, metric, theirs[place], ours, is_reference, wrong.get(place, ""))


def as_text(made: Table, found: Sequence[Pair], form: str, protocol: str) -> str:
    """A comparison for people."""
    reasons = list(dict.fromkeys(pair.wrong for pair in found if pair.wrong))
    headers = ["Data", "Method", "Metric", "Published", "Ours", "Difference", "95 % interval", "Known wrong"]
    lines = []
    for pair in found:
        interval = pair.interval
        lines.append(
            [
                pair.dataset,
                pair.method,
                COLUMNS.get(pair.metric, pair.metric),
                pair.published.text(SEEDS),
                pair.ours.text(made.asked),
                f"{pair.difference:+.2f}",
                f"[{interval.low:+.2f}, {interval.high:+.2f}]" if interval else "n/a",
                f"({1 + reasons.index(pair.wrong)})" if pair.wrong else "",
            ]
        )
    notes = [*summary(made, found), *(f"({i}) {reason}" for i, reason in enumerate(reasons, start=1)), *made.notes[1:]]
    title = f"{made.title}, protocol {protocol}, beside the published numbers (five seeds)"
    return rendering.grid(title, headers, lines, notes, form)


def as_csv(found: Iterable[Pair]) -> str:
    """One line for each pair; percent, unrounded; empty where there is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["mean", "std", "n"]
    names = [f"{side}_{end}" for side in ("published", "ours") for end in ends]
    writer.writerow(["dataset", "method", "metric", *names, "difference", "low", "high", "known_wrong"])
    for pair in found:
        numbers = [
            v for side in (pair.published, pair.ours) for v in (side.mean, side.deviation if side.n > 1 else "", side.n)
        ]
        bounds = [pair.interval.low, pair.interval.high] if pair.interval else ["", ""]
        writer.writerow([pair.dataset, pair.method, pair.metric, *numbers, pair.difference, *bounds, pair.wrong])
    return text.getvalue()


def summary(made: Table, found: Sequence[Pair]) -> Iterator[str]:
    """How many cells agree, and whether the methods come in the same order."""
    everything = [place for place in published(made.number) if place[0] in made.datasets]
    trusted = [pair for pair in found if not pair.wrong]
    close = sum(abs(pair.difference) <= CLOSE for pair in trusted)
    yield (
        f"{len(found)} of {len(everything)} published numbers for these data have one of ours beside them. "
        f"{len(found) - len(trusted)} of them are known to be wrong in print and count for nothing below."
    )
    yield f"{close} of {len(trusted)} differ by at most {CLOSE:g} point."
    intervals = [pair.interval for pair in trusted if pair.interval]
    inside = sum(interval.low <= 0 <= interval.high for interval in intervals)
    if intervals:
        yield f"{inside} of {len(intervals)} intervals of the difference (95 %, Welch) include zero."
    else:
        yield "With one seed there is no interval: what is chance cannot be told from what is not."
    for dataset in dict.fromkeys(pair.dataset for pair in trusted):
        here = [pair for pair in trusted if pair.dataset == dataset]
        ranks = ", ".join(rank_correlation(here, m) for m in dict.fromkeys(p.metric for p in here))
        yield f"{dataset}: rank correlation (Spearman) of closeness to Retrain, published and ours: {ranks}."


def rank_correlation(here: Sequence[Pair], metric: str) -> str:
    """Whether methods that were close to Retrain in print are close in ours, in words."""
    from scipy.stats import spearmanr

    name = COLUMNS.get(metric, metric)
    reference = [pair for pair in here if pair.metric == metric and pair.is_reference]
    others = [pair for pair in here if pair.metric == metric and not pair.is_reference]
    if not reference:
        return f"{name} n/a (no trusted Retrain)"
    if len(others) < 3:
        return f"{name} n/a ({len(others)} methods, it takes three)"
    theirs = [pair.published.distance(reference[0].published) for pair in others]
    ours = [pair.ours.distance(reference[0].ours) for pair in others]
    if len(set(theirs)) < 2 or len(set(ours)) < 2:
        return f"{name} n/a (all equally close)"
    return f"{name} {spearmanr(theirs, ours).statistic:+.2f} ({len(others)} methods)"
