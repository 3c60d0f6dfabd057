"""The published numbers of the papers of LAF (Tables 1 to 6) and TARF (Table 7), and which are known to be wrong."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearnbench.reporting.rendering import Number

HERE = Path(__file__).parent
SEEDS = 5
"""The number of seeds of the published means."""
TITLES = {"mnist": "DIGITS", "fashion-mnist": "FASHION", "cifar10": "CIFAR10", "svhn": "SVHN"}
"""The data sets as the paper calls them, by name."""
Place = tuple[str, str, str]
"""Data set, method, metric."""


@dataclass(frozen=True)
class Published:
    """The published numbers of a table.

    Attributes:
        number: Of the table: 1 to 6.
        numbers: In percent.
        wrong: Why a number contradicts others of the paper or is no measurement.
    """

    number: int | str
    numbers: Mapping[Place, Number]
    wrong: Mapping[Place, str]

    @property
    def datasets(self) -> list[str]:
        """The names of the data sets, sorted."""
        return sorted({dataset for dataset, _, _ in self.numbers})


def read(number: int | str) -> Published:
    """The published numbers of a table; none if the paper has no such table."""
    numbers = {
        place: Number(float(row["mean"]), float(row["std"]), SEEDS) for place, row in rows("laf.csv", number).items()
    }
    return Published(number, numbers, {place: row["reason"] for place, row in rows("laf_wrong.csv", number).items()})


def rows(name: str, number: int | str) -> dict[Place, dict[str, str]]:
    """The rows of a file that belong to a table."""
    here = [row for row in rows_of(name) if int(row["table"]) == number]
    return {(row["dataset"], row["method"], row["metric"]): row for row in here}


def rows_of(name: str) -> list[dict[str, str]]:
    """All rows of a file."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class PublishedMismatch:
    """The published numbers of Table 7 (Zhu et al., ICLR 2026), by task, data set, method and column.

    Attributes:
        numbers: Of one run each, in percent; "minutes" in minutes.
        wrong: Why a number contradicts others of the table.
    """

    numbers: Mapping[tuple[str, str, str, str], float]
    wrong: Mapping[tuple[str, str, str, str], str]


def published_mismatch() -> PublishedMismatch:
    """Reads the published numbers of Table 7."""

    def place(row: Mapping[str, str]) -> tuple[str, str, str, str]:
        return row["task"], row["dataset"], row["method"], row["metric"]

    return PublishedMismatch(
        {place(row): float(row["value"]) for row in rows_of("tarf.csv")},
        {place(row): row["reason"] for row in rows_of("tarf_wrong.csv")},
    )
