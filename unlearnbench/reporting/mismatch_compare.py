"""Table 7 beside the published one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unlearnbench.errors import UserError
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.published import published_mismatch
from unlearnbench.reporting.rendering import Number, Table

TYPE = Column("Type", is_key=True)
"""Titles of scenarios."""


@dataclass(frozen=True)
class Pair:
    """A published number and ours.

    Attributes:
        scenario: Title of the task.
        dataset: Title of the data set.
        method: Title of the method.
        metric: Name of the column.
        published: In percent, or minutes; of one run.
        ours: Likewise.
        wrong: Why the published number contradicts others; "" if nothing is known against it.
    """

    scenario: str
    dataset: str
    method: str
    metric: str
    published: float
    ours: Number
    wrong: str

    @property
    def difference(self) -> float:
        """Ours minus published."""
        return self.ours.mean - self.published


def view(table: Table) -> Grid:
    """Our numbers of Table 7 beside the published ones.

    Raises:
        UserError: If no published number has one of ours.
    """
    pairs = list(paired(table))
    if not pairs:
        raise UserError("no number of Table 7 to compare: published are cifar10 and cifar100, as in preset tarf")
    reasons = list(dict.fromkeys(pair.wrong for pair in pairs if pair.wrong))
    marks = {reason: f" ({number})" for number, reason in enumerate(reasons, start=1)}
    columns = [
        DATA,
        TYPE,
        METHOD,
        Column("Metric", lambda metric: COLUMNS[metric], is_key=True),
        Column("Published", lambda pair: f"{pair.published:.2f}{marks.get(pair.wrong, '')}"),
        Column("Ours", lambda number: number.text(table.seeds)),
        Column("Difference", "{:+.2f}".format),
    ]
    rows = [(p.dataset, p.scenario, p.method, p.metric, p, p.ours, p.difference) for p in pairs]
    numbered = [f"This cell in print{marks[reason]} {reason}." for reason in reasons]
    notes = [
        f"{len(pairs)} published numbers have one of ours beside them. They are of one run each, so there is no "
        "interval. TIME is in minutes on other machines.",
        *numbered,
        *table.notes[1:],
    ]
    return Grid(f"{table.title}, beside the published numbers", columns, rows, notes, tidy(pairs))


def paired(table: Table) -> Iterator[Pair]:
    """The cells of Table 7 that were published too."""
    published = published_mismatch()
    for dataset, title in table.datasets.items():
        for row in table.rows:
            for metric in table.columns:
                place, ours = (row.task, dataset, row.method, metric), row.numbers[dataset, metric]
                if place in published.numbers and ours.n:
                    wrong = published.wrong.get(place, "")
                    yield Pair(row.block, title, row.title, metric, published.numbers[place], ours, wrong)


def tidy(pairs: Sequence[Pair]) -> Data:
    """One row for each pair."""
    headers = ["scenario", "dataset", "method", "metric", "published", "ours_mean", "ours_std", "ours_n"]
    rows = [
        [p.scenario, p.dataset, p.method, p.metric, p.published, *numbers(p.ours), p.difference, p.wrong] for p in pairs
    ]
    return Data([*headers, "difference", "known_wrong"], rows)


def numbers(number: Number) -> tuple[float, float, int]:
    """Mean, deviation and number of seeds."""
    return number.mean, number.deviation, number.n
