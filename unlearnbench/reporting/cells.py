"""The cells of a table, selected from the records of a preset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import CellStatus, plugin_name
from unlearnbench.planning.presets import ORIGINAL, REFERENCE, Preset, PresetLike
from unlearnbench.plugins import registry
from unlearnbench.reporting.choice import EVERYTHING, Choice
from unlearnbench.reporting.comparable import comparable
from unlearnbench.reporting.frame import NOTHING_KNOWN, Known, marked_records, record_paths
from unlearnbench.reporting.numbering import ABLATIONS, TABLES, number_of, position, task_of
from unlearnbench.reporting.record import Record
from unlearnbench.storage.folders import folder_name

if TYPE_CHECKING:
    import pandas as pd

OF_SCENARIO = ("dataset", "dataset_title", "model", "task", "task_title", "task_options", "columns", "preset")
"""What all records in a folder of a task have in common."""
DAMAGED = "its file is no readable record: restore it, or run again"
"""Why a damaged record has no numbers."""


@dataclass(frozen=True)
class Cells:
    """The cells of a table: those of one task with the same options.

    Attributes:
        number: 1 to 6 as in the paper, or the name of another task.
        preset: Whose cells.
        records: Their records, at least one; marked as stale if they do not belong beside the others.
        choice: Which cells were asked for.
    """

    number: int | str
    preset: Preset
    records: Sequence[Record]
    choice: Choice = EVERYTHING

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cell, as in `load`, with status "stale" and the reason where that is so."""
        import pandas as pd

        return pd.DataFrame([record.row() for record in self.records])

    @property
    def ok(self) -> pd.DataFrame:
        """The rows of the cells whose numbers are shown."""
        return self.frame[self.frame["status"] == CellStatus.OK]

    @property
    def task(self) -> str:
        """The label of the task."""
        return self.records[0].cell.task

    @property
    def task_title(self) -> str:
        """The title of the task."""
        return self.records[0].cell.task_title + (", ablations" if self.number in ABLATIONS else "")

    def of_dataset(self, dataset: str) -> Cells:
        """The cells of one data set."""
        return replace(self, records=[record for record in self.records if record.cell.dataset == dataset])

    @property
    def columns(self) -> Sequence[str]:
        """The metrics of the task."""
        return self.records[0].cell.columns

    @property
    def title(self) -> str:
        """The title of a table of these cells."""
        which = f"Table {self.number}: " if isinstance(self.number, int) else ""
        return f"{which}{self.task_title}, preset {self.preset.name}"


class Group(NamedTuple):
    """The cells of a method on a data set, with both names and both titles."""

    dataset: str
    method: str
    dataset_title: str
    method_title: str
    cells: pd.DataFrame


def groups(frame: pd.DataFrame) -> Iterator[Group]:
    """The cells of each method on each data set, in the order of tables."""
    for _, here in frame.groupby("dataset"):
        by_method: Mapping[Any, pd.DataFrame] = dict(iter(here.groupby("method", sort=False)))
        for method in sorted(by_method, key=lambda name: position(name, by_method[name]["role"].iloc[0])):
            cells = by_method[method]
            first = cells.iloc[0]
            yield Group(first["dataset"], method, first["dataset_title"], first["method_title"], cells)


def cells_of_table(
    number: int | str, preset: PresetLike, results: Path, accept_stale: bool = False, choice: Choice = EVERYTHING
) -> list[Cells]:
    """The cells of a table, first those with the preset's options of the task.

    Args:
        number: 1 to 6 as in the paper, or the name of a task, e.g. "data-removal" or "data-removal+fraction=0.1".
        preset: Whose cells.
        results: The folder of the records.
        accept_stale: Whether stale cells count.
        choice: Which cells.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    chosen, label = presets.read(preset), task_of(number)
    task = plugin_name(label)
    wanted = number_of(task) if isinstance(number, str) else number
    here = [
        cells
        for cells in cells_of_preset(results, chosen, accept_stale, task=task, choice=choice)
        if cells.number == wanted and label in (task, cells.task)
    ]
    if not here:
        if task not in registry.entries("tasks"):
            raise unknown("task", task, registry.entries("tasks"))
        what = f"ablations on {label}" if number in ABLATIONS else label
        command = f"unlearnbench run --preset {chosen.source} -t {task}"
        raise UserError(f"no records of {what} in {results / chosen.name}: run `{command}`")
    return here


def cells_of_preset(
    results: Path,
    preset: Preset,
    accept_stale: bool = False,
    known: Known = NOTHING_KNOWN,
    task: str = "",
    choice: Choice = EVERYTHING,
) -> Iterator[Cells]:
    """The cells of each table for which a preset has records, first the paper's tables.

    Args:
        results: The folder of the records.
        preset: Whose cells.
        accept_stale: Whether stale cells count.
        known: Records that have been read already.
        task: Only tables of tasks whose names begin like this.
        choice: Which cells.

    Raises:
        UserError: If there is no results folder, or no record of a chosen name.
    """
    models = {dataset: training.model for dataset, training in preset.datasets.items()}
    paths = record_paths(results, preset.source, task)
    read = list(marked_records(paths, preset, accept_stale, known))
    read += damaged_records(paths, read)
    records = [record for record in read if record.cell.model == models.get(record.cell.dataset, record.cell.model)]
    choice.check(record.cell for record in records)
    records = [record for record in records if choice.includes(record.cell)]
    others = {record.cell.task_name for record in records} - {*TABLES.values()}
    tables: list[tuple[int | str, str]] = [*TABLES.items(), *((name, name) for name in sorted(others))]
    for number, name in tables:
        here = shown([record for record in records if record.cell.task_name == name], number)
        for label in sorted({record.cell.task for record in here}, key=lambda label: (label != name, label)):
            yield Cells(number, preset, comparable([record for record in here if record.cell.task == label]), choice)


def damaged_records(paths: Iterable[Path], read: Sequence[Record]) -> Iterator[Record]:
    """What stands for the records that could not be read; their folders say which cells they are of.

    Args:
        paths: The files of all records.
        read: Those that could be read.
    """
    beside = {record.path.parents[1]: record for record in read if record.path}
    methods = {folder_name(record.cell.method): record.cell for record in read}
    for path in sorted(set(paths) - {record.path for record in read}):
        scenario, name = beside.get(path.parents[1]), path.parent.name
        if scenario and path.stem.isdecimal():
            unknown_one = replace(scenario.cell, method=name, method_title=name, role="method", like="")
            cell = methods.get(name, unknown_one)
            cell = replace(cell, **{part: getattr(scenario.cell, part) for part in OF_SCENARIO}, seed=int(path.stem))
            yield Record(cell, CellStatus.DAMAGED, scenario.key, scenario.observed, reason=DAMAGED, path=path)


def shown(records: Sequence[Record], number: int | str) -> list[Record]:
    """The records of a table: ablations with the original, Retrain and what they are like, or all but ablations."""
    ablations = [record for record in records if record.cell.role == "ablation"]
    if number not in ABLATIONS:
        return [record for record in records if record.cell.role != "ablation"]
    if not ablations:
        return []
    beside = {REFERENCE, ORIGINAL, *(record.cell.like for record in ablations)}
    return [record for record in records if record.cell.role == "ablation" or record.cell.method in beside]
