"""The page of a folder of published records: which cells it has, and how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from tabulate import tabulate

from unlearnbench.planning.cell_info import FINISHED, CellInfo
from unlearnbench.planning.presets import Preset
from unlearnbench.reporting.absent import runs_of
from unlearnbench.reporting.record import Record


def observed(name: str) -> Callable[[Record], str]:
    """A function that reads an entry of `observed`."""
    return lambda record: str(record.observed.get(name, "unknown"))


def computed_on(name: str) -> Callable[[Record], str]:
    """A function that reads what a record's networks were computed on."""
    return lambda record: str(record.key.get("outputs", {}).get("original", {}).get("on", {}).get(name, "unknown"))


FACTS: Mapping[str, Callable[[Record], str]] = {
    "unlearnbench": observed("unlearnbench"),
    "commit": observed("commit"),
    "torch": observed("torch"),
    "Python": observed("python"),
    "processor": observed("processor"),
    "device": computed_on("device"),
    "arithmetic": computed_on("arithmetic"),
    "precision": computed_on("precision"),
}
"""What records are counted by."""


def page(preset: Preset, records: Sequence[Record], planned: Sequence[CellInfo]) -> str:
    """The page as markdown.

    Args:
        preset: The preset.
        records: Its records.
        planned: All cells that the preset has for the data sets of these records.
    """
    dates = sorted(record.date[:10] for record in records if record.date)
    cells = tabulate(
        [row_of(dataset, records, planned) for dataset in sorted({record.cell.dataset for record in records})],
        ["data set", "network", "seeds", "cells", "with numbers", "n/a", "failed", "missing"],
        "github",
    )
    facts = tabulate([row for name in FACTS for row in counted(name, records)], ["", "", "records"], "github")
    parts = [
        f"# Results of preset {preset.name}",
        preset.title,
        "`unlearnbench check-results --write` wrote this page and `tables/` from `records/`.",
        cells,
        f"The records were made from {dates[0]} to {dates[-1]}, with" if dates else "The records were made with",
        facts,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def row_of(dataset: str, records: Sequence[Record], planned: Sequence[CellInfo]) -> list[object]:
    """The row of a data set: how many of its planned cells have a record, and what became of them."""
    wanted = [info for info in planned if info.dataset == dataset]
    own = [record for record in records if record.cell.dataset == dataset]
    present = {place(record.cell) for record in own}
    good, useless = (sum(record.status is status for record in own) for status in FINISHED)
    missing = sum(place(info) not in present for info in wanted)
    models = ", ".join(sorted({record.cell.model for record in own}))
    seeds = ", ".join(runs_of(record.cell.seed for record in own))
    return [dataset, models, seeds, len(wanted), good, useless, len(own) - good - useless, missing]


def counted(name: str, records: Sequence[Record]) -> Iterator[list[object]]:
    """The rows of a fact: each value that records have, and how many have it, the most frequent first."""
    for value, number in Counter(map(FACTS[name], records)).most_common():
        yield [name, value, number]
        name = ""


def place(info: CellInfo) -> tuple[str, str, str, str, int]:
    """What only one record of a preset may be about."""
    return info.dataset, info.model, info.task, info.method, info.seed
