"""Our tables beside the published ones: differences, what chance explains of them, and what was wrong in print."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnbench import protocols, rendering, stats
from unlearnbench.errors import UserError
from unlearnbench.presets import REFERENCE
from unlearnbench.rendering import COLUMNS, Number, Table
from unlearnbench.stats import Interval
from unlearnbench.tables import numbered

HERE = Path(__file__).parent / "published"
SEEDS = 5
"""How many seeds the published numbers are means of."""
CLOSE = 1.0
"""In percentage points: the difference up to which numbers count as the same where no interval can be had."""
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
        return stats.welch(sides[0], sides[1])


def compare(
    number: int,
    preset: str = "paper",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    protocol: str = protocols.RELEASED.name,
) -> str:
    """One of the paper's tables, published and ours.

    Args:
        number: As in `table`, likewise the others.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        protocol: The published numbers are made as "released" has it.

    Raises:
        UserError: If a name is wrong, or there are no records of a published cell.
    """
    style = rendering.style_of(format)
    made = numbered(number, preset, Path(results), protocols.get(protocol))[0]
    found = list(pairs(made))
    if not found:
        known = sorted({dataset for dataset, _, _ in published(number)})
        raise UserError(f"nothing to compare in table {number} of preset {preset}: published are {', '.join(known)}")
    if format == "csv":
        return as_csv(found)
    return as_text(made, found, style, "- " if format == "markdown" else "", protocol)


def published(number: int) -> dict[Place, Number]:
    """The numbers of a table of the LAF paper (Shen et al., ICLR 2024), in percent."""
    rows = read("laf.csv", number)
    return {place: Number(float(row["mean"]), float(row["std"]), SEEDS) for place, row in rows.items()}


def known_wrong(number: int) -> dict[Place, str]:
    """The numbers of a table that contradict others of the paper or are no measurements, with the reason."""
    return {place: row["reason"] for place, row in read("laf_wrong.csv", number).items()}


def read(name: str, number: int) -> dict[Place, dict[str, str]]:
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


def as_text(made: Table, found: Sequence[Pair], style: str, bullet: str, protocol: str) -> str:
    """A comparison for people."""
    from tabulate import tabulate

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
    notes = [*summary(found), *(f"({i}) {reason}" for i, reason in enumerate(reasons, start=1))]
    text = tabulate(lines, headers, tablefmt=style, disable_numparse=True)
    title = f"{made.title}, protocol {protocol}, beside the published numbers (five seeds)"
    return f"{title}\n\n{text}\n\n" + "".join(f"{bullet}{note}\n" for note in notes)


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


def summary(found: Sequence[Pair]) -> Iterator[str]:
    """How many cells agree, and whether the methods come in the same order."""
    trusted = [pair for pair in found if not pair.wrong]
    close = sum(abs(pair.difference) <= CLOSE for pair in trusted)
    yield f"{close} of {len(trusted)} numbers differ by at most {CLOSE:g} point; those known to be wrong do not count."
    intervals = [pair.interval for pair in trusted if pair.interval]
    inside = sum(interval.low <= 0 <= interval.high for interval in intervals)
    untested = "" if len(intervals) == len(trusted) else "; one seed gives no interval"
    yield f"{inside} of {len(intervals)} intervals of the difference include zero{untested}."
    for dataset in dict.fromkeys(pair.dataset for pair in trusted):
        here = [pair for pair in trusted if pair.dataset == dataset]
        ranks = [text for m in dict.fromkeys(p.metric for p in here) if (text := rank_correlation(here, m))]
        if ranks:
            yield (
                f"{dataset}: rank correlation (Spearman) of the methods' closeness to Retrain, published and ours: "
                f"{', '.join(ranks)}."
            )
        else:
            yield f"{dataset}: too few methods for a rank correlation, which takes three beside Retrain."


def rank_correlation(here: Sequence[Pair], metric: str) -> str:
    """Whether methods that were close to Retrain in print are close in ours; "" for fewer than three of them."""
    from scipy.stats import spearmanr

    reference = [pair for pair in here if pair.metric == metric and pair.is_reference]
    others = [pair for pair in here if pair.metric == metric and not pair.is_reference]
    if not reference or len(others) < 3:
        return ""
    theirs = [abs(pair.published.mean - reference[0].published.mean) for pair in others]
    ours = [abs(pair.ours.mean - reference[0].ours.mean) for pair in others]
    if len(set(theirs)) < 2 or len(set(ours)) < 2:
        return f"{COLUMNS.get(metric, metric)} n/a (all the same)"
    return f"{COLUMNS.get(metric, metric)} {spearmanr(theirs, ours).statistic:+.2f} ({len(others)} methods)"
