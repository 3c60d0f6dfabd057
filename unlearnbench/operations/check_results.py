"""Checks a folder of records that is to be published, without artefacts, and finds everything that is wrong with it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.evaluation.submission import Expected
from unlearnbench.operations import report
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.sweep import swept
from unlearnbench.reporting import origin, tables
from unlearnbench.reporting.absent import seeds_text
from unlearnbench.reporting.record import Record
from unlearnbench.runtime.arithmetic import NATIVE
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.records import read_checked
from unlearnbench.storage.store import DamagedError
from unlearnbench.tuning.evidence import faults_of_choice

README = "README.md"
"""The page of a preset's folder."""
RECORDS = "records/*/*/*/*/*.json"
WRITE = "run `unlearnbench check-results --write`"
Records = Mapping[Path, Mapping[str, Any]]
"""Readable records, by file."""
Faults = Iterable[tuple[Path, str]]
"""What is wrong, by file."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is wrong with a folder of records.

    Attributes:
        what: What is wrong.
        where: The file, relative to the folder of results, or the cells.
    """

    what: str
    where: str


@dataclass(frozen=True)
class Checked:
    """The result of `check_results`.

    Attributes:
        records: Number of records.
        missing: Number of selected cells without a record.
        problems: All problems, sorted.
    """

    records: int
    missing: int
    problems: Sequence[Problem]


def check_results(selection: Selection, workspace: Workspace, *, write: bool = False) -> Checked:
    """Checks the records of a preset, its tables and its page, as they are to be published.

    Nothing is computed again: this needs the files of data sets, whose checksums are in keys, but no artefacts.

    Args:
        selection: The preset, and the part of it that must be complete; all records are checked.
        workspace: The folders. Device and arithmetic are those of most records of each data set.
        write: First write the tables and the page from the records.

    Raises:
        UserError: If there are no records, or a data set is missing.
    """
    root, folder = workspace.results, workspace.results / selection.preset.name
    read = {path: content_or_fault(path) for path in sorted(folder.glob(RECORDS))}
    if not read:
        raise UserError(f"there are no records in {folder}: name the --results folder of a run, and its --preset")
    records = {path: content for path, content in read.items() if not isinstance(content, str)}
    cells = cells_of(records, selection, workspace)
    expected = Expected(folder, cells, workspace.datasets)
    without = [cell for cell in cells.values() if cell.path not in read and is_wanted(cell, selection)]
    faults = [(path, content) for path, content in read.items() if isinstance(content, str)]
    faults += [(path, text) for path, record in records.items() for text in expected.faults(path, record)]
    faults += [*duplicates(records), *unequal_measures(records)]
    try:
        derived = derived_files(selection, workspace, records, cells)
    except Exception as error:  # whatever a record of another form raises
        faults.append((folder, f"no tables can be made of the records: {type(error).__name__}: {error}"))
        derived = {}
    for path, content in derived.items() if write else ():
        write_atomically(path, content)
    faults += faults_of_files(folder, read, derived)
    problems = [Problem(text, path.relative_to(root).as_posix()) for path, text in faults]
    problems += missing(without)
    for choice in selection.preset.tuned.values():
        problems += [Problem(text, choice.log) for text in faults_of_choice(choice, root)]
    return Checked(len(read), len(without), sorted(set(problems)))


def content_or_fault(path: Path) -> Mapping[str, Any] | str:
    """The content of a record, or why it cannot be used."""
    try:
        record = read_checked(path)
        Record.from_json(record)
    except (DamagedError, UserError) as error:
        return f"it cannot be used: {error}".replace(str(path), "it")
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"its form is not that of a record: {type(error).__name__}: {error}"
    return record


def cells_of(records: Records, selection: Selection, workspace: Workspace) -> dict[Path, Cell]:
    """All cells of the preset for the selected data sets, or else those that have records, by the records' files."""
    used: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in selection.datasets}
    for record in records.values():
        on = record["key"].get("outputs", {}).get("original", {}).get("on", {})
        kind = str(on.get("device", "cpu")), str(on.get("arithmetic", NATIVE))
        used.setdefault(record["cell"]["dataset"], Counter())[kind] += 1
    cells: dict[Path, Cell] = {}
    for dataset in sorted(used.keys() & selection.preset.datasets.keys()):
        usual = (workspace.device, workspace.arithmetic)
        device, arithmetic = next(iter(used[dataset].most_common(1)), (usual, 0))[0]
        whole = replace(selection, datasets=[dataset], tasks=(), methods=(), seeds=())
        here = replace(workspace, device=device, arithmetic=arithmetic)
        plan = swept(whole, here) if whole.preset.sweep else planned(whole, here)
        cells |= {cell.path: cell for cell in plan.cells}
    return cells


def is_wanted(cell: Cell, selection: Selection) -> bool:
    """Whether a cell must have a record: it is selected, or Retrain of a selected scenario."""
    scenario, methods = cell.scenario, selection.methods
    pairs: list[tuple[object, Sequence[object]]] = [
        (scenario.dataset, selection.datasets),
        (scenario.task, selection.tasks),
        (scenario.seed, selection.seeds),
        (cell.method, [*methods, REFERENCE] if methods else ()),
    ]
    return all(not chosen or name in chosen for name, chosen in pairs)


def missing(cells: Iterable[Cell]) -> Iterator[Problem]:
    """One problem for all seeds of a method that have no record."""
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for cell in cells:
        place = cell.info.dataset, cell.info.task, cell.info.method
        seeds.setdefault(place, []).append(cell.info.seed)
    for place, without in seeds.items():
        why = ", which all methods are compared with" if place[-1] == REFERENCE else ""
        yield Problem(f"there is no record of {place[-1]}{why}: {seeds_text(without)}", " ".join(place[:-1]))


def duplicates(records: Records) -> Faults:
    """Yields the records of cells that have several."""
    paths: dict[object, list[Path]] = {}
    for path, record in records.items():
        paths.setdefault(origin.place(CellInfo.from_json(record["cell"])), []).append(path)
    for several in paths.values():
        for path in several[1:]:
            yield path, f"it is a second record of the cell of {several[0].name}"


def unequal_measures(records: Records) -> Faults:
    """Yields the records that lack attacks which `measure` added to others of the data set."""
    added: dict[str, set[str]] = {}
    ok = {path: record for path, record in records.items() if record["status"] == CellStatus.OK}
    for record in ok.values():
        added.setdefault(record["cell"]["dataset"], set()).update(record.get("more", {}))
    for path, record in ok.items():
        if lacking := added[record["cell"]["dataset"]] - record.get("more", {}).keys():
            yield path, f"it lacks {', '.join(sorted(lacking))}, which others have: run `unlearnbench measure`"


def derived_files(
    selection: Selection, workspace: Workspace, records: Records, cells: Mapping[Path, Cell]
) -> dict[Path, bytes]:
    """The content of the tables and of the page that the records give, by file."""
    folder = workspace.results / selection.preset.name
    with warnings.catch_warnings(action="ignore"):  # records that cannot be used are problems already
        shown = tables.tables_of(workspace.results, selection.preset)
    files = tables.files_of({table.name: table for table in shown})
    typed = [Record.from_json(record) for record in records.values()]
    page = origin.page(selection.preset, typed, [cell.info for cell in cells.values()])
    return {folder / README: page.encode(), **{folder / tables.FOLDER / name: text for name, text in files.items()}}


def faults_of_files(folder: Path, known: Iterable[Path], derived: Mapping[Path, bytes]) -> Faults:
    """Yields the tables and pages that do not follow from the records, and all files that do not belong there."""
    for path, content in derived.items():
        if not path.is_file():
            yield path, f"it is missing: {WRITE}"
        elif path.read_bytes() != content:
            yield path, f"it is not what the records give: {WRITE}"
    expected = {*known, *derived, folder / report.NAME}  # every run writes a report, of the records there are
    for path in sorted(set(folder.rglob("*")) - expected):
        if not path.is_dir():
            yield path, "it is no record, table or page of a preset: delete it"
