"""Table 7: the four scenarios of label mismatch, in the layout of TARF's slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import CLEAN
from unlearnbench.reporting import absent
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.distance import by_records, summary
from unlearnbench.reporting.notes import Numbers
from unlearnbench.reporting.numbering import MISMATCH, SCENARIOS, place, position
from unlearnbench.reporting.record import Record
from unlearnbench.reporting.rendering import Number, Row, Table
from unlearnbench.reporting.standard import accesses, averages, ranked, seeds_of

METRICS = {"ua": "train_f", "ra": "train_r", "ta": "test_r", "mia": "mia"}
"""The metrics in records, by the name of their column."""
COLUMNS = (*METRICS, "gap", "minutes")
ORDER = ("retrain", "ft", "rl", "ga", "iu", "boundary", "l1-sparse", "salun", "scrub", "tarf")
"""The order of methods in the slides."""
LEGEND = (
    "UA: accuracy on the training samples of the concept that must be forgotten, hidden ones included; RA: on all "
    "other training samples; TA: on the test set without test samples of the concept. All in the labels that the "
    "network predicts. MIA: share of the concept's training samples that attack svc-released takes for non-members. "
    "The target of these four is Retrain's value. Bold: closest to Retrain; underlined: second closest.",
    "Gap: mean distance to Retrain with the same seed over these four columns; bold and underlined: the two lowest. "
    "TIME: minutes of preparing and unlearning on the machine that made the records.",
)


def view(tables: Sequence[Cells]) -> Table:
    """Table 7.

    Args:
        tables: The cells of each scenario that has records, with the preset's options of its task.
    """
    records = [record for cells in tables for record in cells.records]
    preset, choice = tables[0].preset, tables[0].choice
    names = sorted({r.cell.dataset for r in records}, key=lambda name: place(name, preset.datasets))
    datasets = {name: next(r.cell.dataset_title for r in records if r.cell.dataset == name) for name in names}
    numbers = [numbers_of(cells, datasets) for cells in tables]
    requested = max(len(choice.seeds or preset.seeds), len({record.cell.seed for record in records}))
    seeds = seeds_of({place: n for each in numbers for place, n in each.items() if place[1] != REFERENCE}, requested)
    rows = [row for cells, own in zip(tables, numbers, strict=True) for row in rows_of(cells, own, datasets)]
    return Table(
        number=MISMATCH,
        task="label-mismatch",
        title=f"Table {MISMATCH}: Label mismatch, preset {preset.name}",
        datasets=datasets,
        columns=COLUMNS,
        rows=rows,
        seeds=seeds,
        notes=list(notes(records, seeds, requested)),
    )


def numbers_of(cells: Cells, datasets: Mapping[str, str]) -> Numbers:
    """The numbers of a scenario by data set, method and column, with ranks."""
    means = averages(cells.ok, list(METRICS.values()), CLEAN)
    column_of = {metric: column for column, metric in METRICS.items()}
    numbers = {(dataset, method, column_of[metric]): n for (dataset, method, metric), n in means.items()}
    numbers |= gaps(cells) | minutes(cells)
    methods: dict[str, CellInfo] = {record.cell.method: record.cell for record in cells.records}
    competing = [name for name, info in methods.items() if cells.choice.ranks(info)]
    numbers |= ranked(numbers, competing, datasets, list(METRICS))
    none = {(dataset, REFERENCE, "gap"): Number(0.0, n=1) for dataset in datasets}  # the gap that is best
    return numbers | ranked(numbers | none, competing, datasets, ["gap"])


def gaps(cells: Cells) -> Numbers:
    """The gap of each method, over seeds that Retrain has too."""
    by_method: dict[tuple[str, str], list[float]] = {}
    for (dataset, method, _), distances in by_records(cells.ok).items() if len(cells.ok) else ():
        if method != REFERENCE and "gap" in distances:
            by_method.setdefault((dataset, method), []).append(distances["gap"])
    return {(*key, "gap"): summary(values) for key, values in by_method.items()}


def minutes(cells: Cells) -> Numbers:
    """The minutes that each method took."""
    frame, numbers = cells.ok, {}
    if "seconds_unlearn" not in frame:
        return {}
    spent = (frame["seconds_prepare"] + frame["seconds_unlearn"]).astype(float) / 60
    for (dataset, method), values in spent.groupby([frame["dataset"], frame["method"]]):
        known = values.dropna().to_numpy(dtype=np.float64)
        numbers[str(dataset), str(method), "minutes"] = summary(list(known))
    return numbers


def rows_of(cells: Cells, numbers: Numbers, datasets: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a scenario's block."""
    methods = {record.cell.method: record.cell for record in cells.records}
    for name, info in sorted(methods.items(), key=lambda item: position(item[0], item[1].role, ORDER)):
        own = {(d, c): numbers.get((d, name, c), Number()) for d in datasets for c in COLUMNS}
        yield Row(name, info.method_title, info.role, own, block=info.task_title, task=info.task)


def notes(records: Sequence[Record], seeds: int, requested: int) -> Iterator[str]:
    """What the numbers are, what methods saw, and which cells are stale or missing."""
    of = f" of {requested}" if seeds < requested else ""
    several = f"Mean ± sample standard deviation over {seeds} seeds{of} (n where fewer), in percent; TIME in minutes."
    yield several if seeds > 1 else f"One seed{of}, in percent: chance contributes to every difference."
    yield from LEGEND
    yield accesses(sorted(records, key=lambda record: "hidden" not in record.cell.access))
    for task in SCENARIOS:
        own = [record for record in records if record.cell.task == task]
        for note in absent.notes(own) if own else ():
            yield in_scenario(note, own[0].cell.task_title)


def in_scenario(note: str, scenario: str) -> str:
    """A note that says which scenario it is about."""
    return f"{scenario}: {note[0].lower()}{note[1:]}"
