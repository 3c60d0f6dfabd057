"""Computes a recorded cell again, in an empty cache of its own, and compares every number with the record."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError, counted
from unlearnbench.evaluation.record import library_changes
from unlearnbench.operations.recorded import selection_of
from unlearnbench.operations.work import Effort, Progress, execute
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.cells import planned, record_path
from unlearnbench.planning.presets import ELSEWHERE
from unlearnbench.planning.selection import Selection, Workspace, choose_device
from unlearnbench.reporting.frame import record_paths
from unlearnbench.reporting.show import find_record
from unlearnbench.runtime.arithmetic import NATIVE, processor, resolved
from unlearnbench.storage.keys import canonical, differences
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store


@dataclass(frozen=True)
class Comparison:
    """A number, or a digest, of the record and of the new computation.

    Attributes:
        name: Its path in the record, e.g. "clean asr".
        recorded: The value in the record; None if it has none.
        computed: The value now; None if there is none.
    """

    name: str
    recorded: Any
    computed: Any

    @property
    def equal(self) -> bool:
        """True if both are equal to the last bit."""
        return canonical(self.recorded) == canonical(self.computed)


@dataclass(frozen=True)
class Reproduction:
    """The result of computing a cell again.

    Attributes:
        cell: The name of the cell.
        path: The path of its record.
        comparisons: All numbers of both.
        changes: The differences between the record's key and that of the present code and data, and of libraries.
        failure: Why it could not be computed; "" if it could.
        other_processor: The processor of the record, if arithmetic is native and this processor differs; otherwise "".
    """

    cell: str
    path: Path
    comparisons: Sequence[Comparison] = ()
    changes: Sequence[str] = ()
    failure: str = ""
    other_processor: str = ""

    @property
    def equal(self) -> bool:
        """True if the cell was reproduced to the last bit."""
        return bool(self.comparisons) and all(one.equal for one in self.comparisons)

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if self.failure:
            return f"not computed: {self.failure}"
        unequal = [one.name for one in self.comparisons if not one.equal]
        if not unequal:
            since = f", although something has changed since: {'; '.join(self.changes)}" if self.changes else ""
            return f"reproduced: all {counted(len(self.comparisons), 'value')} are equal to the last bit{since}"
        why = "no reason is known: the record, this machine or a library is at fault"
        if self.changes:
            why = f"something has changed since: {'; '.join(self.changes)}"
        elif self.other_processor:
            why = f"the record has native arithmetic of another processor ({self.other_processor})"
        return f"not reproduced: {len(unequal)} of {counted(len(self.comparisons), 'value')} differ ({why})"


def reproduce(
    paths: Sequence[Path],
    selection: Selection,
    workspace: Workspace,
    *,
    effort: Effort = Effort(),
    progress: Progress | None = None,
) -> Iterator[Reproduction]:
    """Computes recorded cells again, each in an empty cache, and compares.

    Nothing is read from the workspace's cache, and nothing is written into its results.

    Args:
        paths: The files of the records.
        selection: The preset of the records.
        workspace: The folders of results and datasets. Device and arithmetic are those of each record.
        effort: Workers.
        progress: Receives progress events.

    Yields:
        The result for each record.

    Raises:
        UserError: If a record cannot be read, or its cell cannot be planned.
    """
    for path in paths:
        record = read_record(path)
        if record is None:
            raise UserError(f"there is no readable record in {path}")
        info = CellInfo.from_json(record["cell"])
        name = f"{info.dataset} {info.task} {info.method} {info.seed}"
        if record["status"] != CellStatus.OK:
            yield Reproduction(name, path, failure=f"the record has no numbers: {record.get('reason', '')}")
        elif info.role == ELSEWHERE:
            yield Reproduction(name, path, failure="the network was made elsewhere: use `unlearnbench score`")
        else:
            yield again(record, path, selection, workspace, effort, progress)


def again(
    record: Mapping[str, Any],
    path: Path,
    selection: Selection,
    workspace: Workspace,
    effort: Effort,
    progress: Progress | None,
) -> Reproduction:
    """Computes one cell again; arguments as of `reproduce`."""
    on = record["key"]["outputs"]["original"]["on"]
    device = choose_device(on["device"])
    arithmetic = resolved(on["arithmetic"], device)
    with tempfile.TemporaryDirectory(prefix="unlearnbench-reproduce-") as folder:
        results, store = Path(folder, "results"), Store(Path(folder, "cache"))
        empty = Workspace(results, store, workspace.root, device, arithmetic)
        plan = planned(selection_of(record, selection), empty)
        cell = next(one for one in plan.cells if one.method == CellInfo.from_json(record["cell"]).method_name)
        plan = replace(plan, cells=[cell])
        execute(plan, effort.workers(empty.device, len(plan.shared) + 1), effort, progress)
        computed = read_record(cell.path)
    if computed is None or computed["status"] != CellStatus.OK:
        why = computed["reason"] if computed else "it left no record"
        return Reproduction(str(cell), path, failure=why)
    elsewhere = arithmetic == NATIVE and record["observed"].get("processor") != processor()
    return Reproduction(
        cell=str(cell),
        path=path,
        comparisons=list(compared(record, computed)),
        changes=[*differences(record["key"], computed["key"]), *library_changes(record["observed"])],
        other_processor=record["observed"].get("processor", "unknown") if elsewhere else "",
    )


def compared(record: Mapping[str, Any], computed: Mapping[str, Any]) -> Iterator[Comparison]:
    """Compares the descriptions, all outputs and all metrics of two records of one cell."""
    other = CellInfo.from_json(computed["cell"]).contradictions(record["cell"])
    yield Comparison("description", "; ".join(other), "")
    for part in sorted({*record.get("outputs", {}), *computed["outputs"]}):
        yield Comparison(f"outputs {part}", record.get("outputs", {}).get(part), computed["outputs"].get(part))
    yield from numbers(record["metrics"], computed["metrics"], "")
    for name in sorted(record.get("roc", {})):
        yield Comparison(f"roc {name}", record["roc"][name], computed.get("roc", {}).get(name))


def numbers(recorded: Any, computed: Any, name: str) -> Iterator[Comparison]:
    """Compares all leaves of two trees of numbers."""
    if isinstance(recorded, dict) or isinstance(computed, dict):
        old, new = recorded or {}, computed or {}
        for part in sorted({*old, *new}):
            yield from numbers(old.get(part), new.get(part), f"{name} {part}".strip())
    else:
        yield Comparison(name, recorded, computed)


def record_of(selection: Selection, workspace: Workspace, dataset: str, task: str, method: str, seed: str) -> Path:
    """The file of a cell's record.

    Raises:
        UserError: If there is none.
    """
    if not seed.isdecimal():
        raise UserError(f"SEED must be a whole number, not {seed!r}")
    record = find_record(workspace.results, selection.preset_name, dataset, task, method, int(seed))
    return record_path(workspace.results / selection.preset.name, CellInfo.from_json(record["cell"]))


def drawn(selection: Selection, workspace: Workspace, count: int) -> list[Path]:
    """The files of records with numbers, drawn at random from those of a preset; all if there are no more.

    Networks that were made elsewhere cannot be made again, so they do not take part.
    """
    paths = record_paths(workspace.results, selection.preset_name)
    with_numbers = [path for path in paths if (record := read_record(path)) and can_be_made(record)]
    return random.sample(with_numbers, min(count, len(with_numbers)))


def can_be_made(record: Mapping[str, Any]) -> bool:
    """True if a record has numbers of a network that the suite made."""
    made_here: bool = record["cell"]["role"] != ELSEWHERE
    return made_here and record["status"] == CellStatus.OK
