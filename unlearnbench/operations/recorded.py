"""Plans cells from their records: those that a preset does not plan, such as experiments with `-m FILE.py` or `-p`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import ELSEWHERE, SECOND_RETRAIN
from unlearnbench.planning.selection import Selection
from unlearnbench.plugins.files import named
from unlearnbench.storage.records import read_record

Label = tuple[str, str, str]
"""Data set, and labels of task and method."""


@dataclass(frozen=True)
class Part:
    """Cells that are planned together.

    Attributes:
        selection: What they are planned from.
        plan: Their plan, which has other cells, too.
        cells: The cells.
    """

    selection: Selection
    plan: Plan
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Unplanned:
    """The records of a preset's results that its plan lacks.

    Attributes:
        parts: Their cells, by label.
        failures: Why others cannot be planned, by path.
    """

    parts: Sequence[Part]
    failures: Mapping[Path, str]


def unplanned(selection: Selection, plan: Plan) -> Unplanned:
    """Plans the cells of records that a plan lacks.

    Args:
        selection: Which records: those of its data sets, tasks and seeds.
        plan: The plan of the selection.
    """
    parts: list[Part] = []
    failures: dict[Path, str] = {}
    for records in by_label(selection, plan).values():
        first = next(iter(records.values()))
        if first["cell"]["role"] == ELSEWHERE:
            failures |= dict.fromkeys(records, "made elsewhere: only `score` can evaluate its network")
            continue
        theirs = selection_of(first, selection)
        methods = [*theirs.methods, SECOND_RETRAIN]
        theirs = replace(theirs, methods=methods, seeds=sorted(record["cell"]["seed"] for record in records.values()))
        try:
            of_records = planned(replace(theirs, methods=named(methods)), plan.workspace)
        except UserError as error:
            failures |= dict.fromkeys(records, f"cannot be planned: {error}")
            continue
        cells = [cell for cell in of_records.cells if cell.path in records]
        parts.append(Part(theirs, of_records, cells))
        failures |= dict.fromkeys(records.keys() - {cell.path for cell in cells}, "not in the preset's plan")
    return Unplanned(parts, failures)


def by_label(selection: Selection, plan: Plan) -> dict[Label, dict[Path, dict[str, Any]]]:
    """The records that a plan lacks, by label and path."""
    known = {cell.path for cell in plan.cells}
    groups: dict[Label, dict[Path, dict[str, Any]]] = {}
    for path in sorted(plan.results.glob("records/*/*/*/*/*.json")):
        record = read_record(path) if path not in known else None
        if record is None:
            continue
        info = CellInfo.from_json(record["cell"])
        if all(
            not chosen or value in chosen
            for chosen, value in (
                (selection.datasets, info.dataset),
                (selection.tasks, info.task_name),
                (selection.seeds, info.seed),
            )
        ):
            groups.setdefault((info.dataset, info.task, info.method), {})[path] = record
    return groups


def selection_of(record: Mapping[str, Any], selection: Selection) -> Selection:
    """The selection of a record's cell, with the options in the record.

    Args:
        record: The record.
        selection: Has the preset.
    """
    info = CellInfo.from_json(record["cell"])
    return replace(
        selection,
        datasets=[info.dataset],
        tasks=[info.task_name],
        methods=list(places_of(info, record["observed"].get("files", {}))),
        seeds=[info.seed],
        overrides={name: values for name, values in options_of(record["key"]).items() if values},
    )


def places_of(info: CellInfo, files: Mapping[str, str]) -> Iterator[str]:
    """The method of a record, and those in files that it starts from, as on the command line."""
    for name in [info.method_name, *(name for name in files if name != info.method_name)]:
        yield f"{files[name]}:{name.rpartition('.')[2]}" if name in files else name


def options_of(key: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The options in the key of a record by name of the task, of the methods and of the attacks."""
    outputs = key["outputs"]
    options: dict[str, Mapping[str, Any]] = {outputs["task"]["name"]: outputs["task"]["options"]}
    while outputs:
        options[outputs["method"]["name"]] = outputs["method"]["options"]
        outputs = outputs.get("parent")
    return options | {attack["name"]: attack["options"] for attack in key["attacks"].values()}
