"""Plans cells from their records: those that a preset does not plan, such as experiments with `-m FILE.py` or `-p`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import ELSEWHERE, SECOND_RETRAIN
from unlearnbench.planning.selection import Selection, datasets_of, tasks_of
from unlearnbench.planning.supplied import options_of_task
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
        try:
            theirs = selection_of(first, selection)
            seeds = sorted(record["cell"]["seed"] for record in records.values())
            theirs = replace(theirs, methods=[*theirs.methods, SECOND_RETRAIN], seeds=seeds)
            of_records = planned(theirs, plan.workspace)
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

    Raises:
        UserError: If a file that the record names is gone, or has no such plugin.
    """
    info, preset = CellInfo.from_json(record["cell"]), selection.preset
    files, methods = record["observed"].get("files", {}), methods_of(record["key"])
    names = [info.method_name, *(name for name in methods if name in files and name != info.method_name)]
    attacks = {attack["name"]: attack["options"] for attack in record["key"]["attacks"].values()}
    of_task = options_of_task(info, record["key"]["outputs"], files)
    options = {**attacks, **methods, info.task_name: of_task}
    return replace(
        selection,
        datasets=datasets_of(preset, [place_in(files, info.dataset)]),
        tasks=tasks_of(preset, [place_in(files, info.task_name)]),
        methods=named([place_in(files, name) for name in names]),
        seeds=[info.seed],
        overrides={name: values for name, values in options.items() if values},
    )


def methods_of(key: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The options in the key of a record of its method, and of those that it starts from, by name."""
    methods: dict[str, Mapping[str, Any]] = {}
    outputs = key["outputs"]
    while outputs and "method" in outputs:  # what it starts from may also be given weights
        methods[outputs["method"]["name"]] = outputs["method"]["options"]
        outputs = outputs.get("parent")
    return methods


def place_in(files: Mapping[str, str], name: str) -> str:
    """The name of a plugin as on the command line, FILE.py:FUNCTION if a record has a file of it."""
    return f"{files[name]}:{name.rpartition('.')[2]}" if name in files else name
