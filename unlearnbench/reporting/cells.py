"""The cells of a table, selected from the records of a preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.presets import NOTHING, REFERENCE, Preset
from unlearnbench.plugins import registry
from unlearnbench.reporting.frame import NOTHING_KNOWN, Known, differ, record_paths, rows_of
from unlearnbench.reporting.numbering import ABLATIONS, TABLES, number_of, position, task_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cells:
    """The cells of a table: those of one task with the same options.

    Attributes:
        number: 1 to 6 as in the paper, or the name of another task.
        preset: Whose cells.
        frame: A row for each cell as in `load`. Cells that do not belong beside the others have status "stale" and the
            `reason`; stale ones that are accepted have in `accepted` what has changed; `gone` has the files of plugins
            that are no longer where they were.
    """

    number: int | str
    preset: Preset
    frame: pd.DataFrame

    @property
    def ok(self) -> pd.DataFrame:
        """The cells that have numbers."""
        return self.frame[self.frame["status"] == "ok"]

    @property
    def task(self) -> str:
        """The name of the task, with the options that differ from the preset's."""
        return str(self.frame["task"].iloc[0])

    @property
    def columns(self) -> list[str]:
        """The metrics of the task."""
        return list(self.frame["columns"].iloc[0])

    @property
    def title(self) -> str:
        """The title of a table of these cells."""
        which = f"Table {self.number}: " if isinstance(self.number, int) else ""
        ablations = ", ablations" if self.number in ABLATIONS else ""
        return f"{which}{self.frame['task_title'].iloc[0]}{ablations}, preset {self.preset.name}"


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


def cells_of_table(number: int | str, preset: str, results: Path, accept_stale: bool = False) -> list[Cells]:
    """The cells of a table, first those with the preset's options of the task.

    Args:
        number: 1 to 6 as in the paper, or the name of a task, e.g. "data-removal" or "data-removal+fraction=0.1".
        preset: The name or the file of a preset.
        results: The folder of the records.
        accept_stale: Whether stale cells count.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    if isinstance(number, int) and number not in TABLES:
        raise UserError(f"there is no table {number}: choose one of {', '.join(map(str, TABLES))}, or name a task")
    chosen, label = presets.read(preset), task_of(number)
    task, plus, _ = label.partition("+")
    wanted = number_of(task) if isinstance(number, str) else number
    here = [
        cells
        for cells in cells_of_preset(results, chosen, accept_stale, task=task)
        if cells.number == wanted and (not plus or cells.task == label)
    ]
    if not here:
        if task not in registry.entries("tasks"):
            raise unknown("task", task, registry.entries("tasks"))
        what = f"ablations on {label}" if number in ABLATIONS else label
        raise UserError(
            f"no records of {what} in {results / chosen.name}: run `unlearnbench run --preset {preset} -t {task}`"
        )
    return here


def cells_of_preset(
    results: Path, preset: Preset, accept_stale: bool = False, known: Known = NOTHING_KNOWN, task: str = ""
) -> Iterator[Cells]:
    """The cells of each table for which a preset has records, the paper's first; only of one task if it is named.

    Cells are stale if the code, the recipe or the hyperparameters that made them are no longer the present ones.
    """
    import pandas as pd

    models = {dataset: training.model for dataset, training in preset.datasets.items()}
    read = rows_of(record_paths(results, preset.name, task), preset, accept_stale, known)
    rows = [row for row in read if row["model"] == models.get(row["dataset"], row["model"])]
    others = {row["task"].partition("+")[0] for row in rows} - {*TABLES.values()}
    for number, name in [*TABLES.items(), *((name, name) for name in sorted(others))]:
        here = shown([row for row in rows if row["task"].partition("+")[0] == name], number)
        for label in sorted({row["task"] for row in here}, key=lambda label: (label != name, label)):
            frame = comparable(pd.DataFrame([row for row in here if row["task"] == label]))
            yield Cells(number, preset, frame)


def shown(rows: Sequence[Mapping[str, Any]], number: int | str) -> list[Mapping[str, Any]]:
    """The rows of a table: ablations with the controls, Retrain and the methods they are like, or all but ablations."""
    if number not in ABLATIONS:
        return [row for row in rows if row["role"] != "ablation"]
    whole = {row.get("like") for row in rows if row["role"] == "ablation"}
    if not whole:
        return []
    return [row for row in rows if row["role"] == "ablation" or row["method"] in {REFERENCE, NOTHING, *whole}]


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Marks as stale what was made under other conditions than the newest Retrain of its data set.

    What `measure` added under other conditions is left out.
    """
    frame = frame.copy()
    for _, group in frame.groupby("dataset"):
        references = group[(group["method"] == REFERENCE) & (group["status"] == "ok")].sort_values("date")
        if len(references):
            newest = references["world"].iloc[-1]
            elsewhere = group["world"].map(lambda other, w=newest: differ(other, w))
            stale = group.index[elsewhere & (group["status"] == "ok")]
            frame.loc[stale, "status"] = "stale"
            frame.loc[stale, "reason"] = "made with another recipe, data, attack or code than Retrain; run again"
            for name, key in references["more"].iloc[-1].items():
                other = frame.index.isin(group.index) & frame["more"].map(lambda more, n=name, k=key: more.get(n) != k)
                columns = [column for column in map(str, frame.columns) if column.startswith(f"{name}.")]
                frame[columns] = frame[columns].mask(other)
    return frame.copy()  # in one piece: pandas is slow on, and warns of, frames that were changed column by column
