"""What a report lacks: cells that failed, are stale or were never run, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from unlearnbench.planning.presets import THIRD_PARTY, Preset
from unlearnbench.plugins import registry
from unlearnbench.plugins.fingerprint import CORE
from unlearnbench.reporting import absent
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.record import Record


def counts(records: Sequence[Record]) -> dict[str, int]:
    """The number of records by state, ok first."""
    found = Counter(record.state for record in records)
    return {state: found[state] for state in sorted(found, key=lambda state: (state != "ok", state))}


def problems(tables: Sequence[Cells], preset: Preset) -> Iterator[tuple[str, list[str]]]:
    """What is missing, with a heading for each table, and what was never run."""
    for cells in tables:
        notes = [*absent.notes(cells.records), *unrecorded(cells, preset)]
        if notes:
            yield cells.task_title, notes
    if never := list(never_run(tables, preset)):
        yield "Not in this report", never


def unrecorded(cells: Cells, preset: Preset) -> Iterator[str]:
    """Methods of a table that lack seeds of the preset without a record that says why."""
    seeds = cells.choice.seeds or preset.seeds
    present: dict[tuple[str, str], set[int]] = {}
    for record in cells.records:
        place = record.cell.method_title, record.cell.dataset_title
        present.setdefault(place, set()).add(record.cell.seed)
    alike: dict[tuple[str, str], list[str]] = {}
    for (method, dataset), recorded in present.items():
        if lacking := [seed for seed in seeds if seed not in recorded]:
            alike.setdefault((dataset, absent.seeds_text(lacking)), []).append(method)
    for (dataset, text), methods in alike.items():
        yield f"Not run on {dataset}, {text}: {', '.join(methods)}."


def never_run(tables: Sequence[Cells], preset: Preset) -> Iterator[str]:
    """Names that the preset selects and no record has; which tasks it has without a list depends on the data sets."""
    infos = [record.cell for cells in tables for record in cells.records]
    wanted = {
        "data sets": (preset.datasets, {info.dataset for info in infos}),
        "tasks": (preset.tasks or (), {info.task_name for info in infos}),
        "methods": (preset.methods or own("methods"), {info.method_name for info in infos}),
    }
    for kind, (names, recorded) in wanted.items():
        if lacking := [name for name in names if name not in (*recorded, THIRD_PARTY)]:
            yield f"The preset's {kind} without a record: {', '.join(lacking)}."


def own(group: str) -> list[str]:
    """The names of the suite's own plugins, which a preset without a list selects."""
    return [name for name, entry in registry.entries(group).items() if entry.origin == CORE]
