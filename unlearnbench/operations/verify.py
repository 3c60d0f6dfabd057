"""Verifies that records agree with their artefacts, and that cells give the same outputs when run again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.features_rule import FEATURES
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, counted
from unlearnbench.evaluation.record import digest_of, library_changes
from unlearnbench.operations.measure import U_LIRA, References, Request, audit_of, numbers_of
from unlearnbench.operations.recorded import Part, unplanned
from unlearnbench.operations.work import Effort, evaluator_of, reason_of
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.staleness import State
from unlearnbench.plugins import registry
from unlearnbench.runtime.arithmetic import NATIVE, processor
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record, record_problem
from unlearnbench.storage.store import DamagedError, Store, read_checked

PROGRESS_LINES = 10
"""Approximate number of progress lines."""
UNAVAILABLE = "its outputs, or those of shadow models, are damaged or not in the cache"
UNPLANNED = "not in the preset's plan"

Recorded = tuple[dict[str, Any], Cell]
"""A record and its cell."""


@dataclass(frozen=True)
class Verified:
    """The result of `verify`.

    Attributes:
        records: Number of records that were read.
        artefacts: Number of artefacts that were read.
        measured: Number of records that were recomputed from their outputs.
        rerun: Names of the cells that were unlearned again.
        problems: One message for each problem.
        unmeasured: Number of records that could not be recomputed, by the reason.
    """

    records: int
    artefacts: int
    measured: int
    rerun: Sequence[str]
    problems: Sequence[str]
    unmeasured: dict[str, int]


def verify(
    selection: Selection,
    workspace: Workspace,
    *,
    rerun: int = 0,
    effort: Effort = Effort(),
    say: Callable[[str], object] = print,
) -> Verified:
    """Checks every record of a preset and every artefact in the cache.

    Metrics, and the numbers that `measure` added, are recomputed from stored outputs.

    Args:
        selection: The preset.
        workspace: The folders with its records and artefacts.
        rerun: Number of cells, drawn at random, to unlearn again. They must give the same bits, also if the record was
            made on another machine. Missing artefacts are made first.
        effort: Workers.
        say: Receives progress lines.

    Raises:
        UserError: If there are no records, or an argument is wrong.
    """
    if rerun < 0:
        raise UserError(f"--rerun must be a number of cells, not {rerun}")
    plan = planned(selection, workspace)
    paths = sorted(plan.results.glob("records/*/*/*/*/*.json"))
    if not paths:
        raise UserError(
            f"there are no records in {plan.results}: run `unlearnbench run --preset {selection.preset_name}` first"
        )
    files = [path for path in sorted(plan.store.root.glob("*/*.safetensors")) if path.parent.name != "damaged"]
    say(f"{counted(len(paths), 'record')} and {counted(len(files), 'artefact')} to read")
    damaged_records = {path: why for path in paths if (why := record_problem(path))}
    damaged_files = dict(find_damaged(files))
    problems = [f"{path}: {why}" for path, why in {**damaged_records, **damaged_files}.items()]
    sound = [path for path in paths if path not in damaged_records]
    records = {path: record for path in sound if (record := read_record(path)) is not None}
    others = unplanned(selection, plan)
    parts = [Part(selection, plan, plan.cells), *others.parts]
    cells = {cell.path: cell for part in parts for cell in part.cells}
    reasons = {path: why_unmeasured(record, cells.get(path), plan, damaged_files) for path, record in records.items()}
    reasons |= {path: why for path, why in others.failures.items() if reasons.get(path) == UNPLANNED}
    measurable = [(records[path], cells[path]) for path, why in reasons.items() if not why]
    differences, not_measured = recompute(measurable, plan, parts, damaged_files, effort, say)
    can_rerun = [(records[path], cells[path]) for path, why in reasons.items() if why in ("", UNAVAILABLE)]
    drawn = random.sample(can_rerun, min(rerun, len(can_rerun)))
    problems += [*differences, *rerun_cells(drawn, plan, effort, say)]
    unmeasured = Counter([*filter(None, reasons.values()), *not_measured])
    names = [str(cell) for _, cell in drawn]
    return Verified(len(paths), len(files), len(measurable), names, problems, dict(unmeasured))


def recompute(
    recorded: Sequence[Recorded],
    plan: Plan,
    parts: Sequence[Part],
    damaged: Container[Path],
    effort: Effort,
    say: Callable[[str], object],
) -> tuple[list[str], list[str]]:
    """Recomputes records from stored outputs.

    Returns:
        One message for each difference, and for each number that `measure` added and that cannot be recomputed.
    """
    references: dict[Path, Callable[[int], References]] = {}
    for part in parts:
        of_part = cache(partial(References.of, part.plan, part.selection))
        references |= dict.fromkeys((cell.path for cell in part.cells), of_part)
    calls: list[tuple[Any, ...]] = []
    not_measured: list[str] = []
    for record, cell in recorded:
        request, names, reasons = added_numbers(record, cell, plan.store, references[cell.path], damaged)
        not_measured += reasons
        calls.append((record, cell, plan.store, request, names))
    problems: list[str] = []
    workers = effort.workers(plan.workspace.device, len(calls))
    for count, done in enumerate(in_parallel(recompute_record, calls, workers, None, plan.environment), start=1):
        failure = [f"{recorded[done.index][1]}: recomputing failed: {done.reason}"]
        problems += failure if done.result is None else done.result
        if count % max(1, len(calls) // PROGRESS_LINES) == 0:
            say(f"[{count}/{len(calls)}] records recomputed")
    return problems, not_measured


def rerun_cells(
    recorded: Sequence[Recorded], plan: Plan, effort: Effort, say: Callable[[str], object]
) -> Iterator[str]:
    """Unlearns cells again; yields the differences."""
    if recorded:
        say(f"running again: {', '.join(str(cell) for _, cell in recorded)}")
    calls = [(record, cell, plan.store) for record, cell in recorded]
    workers = effort.workers(plan.workspace.device, len(calls))
    for done in in_parallel(rerun_cell, calls, workers, None, plan.environment):
        failure = [f"{recorded[done.index][1]}: running it again failed: {done.reason}"]
        yield from failure if done.result is None else done.result


def find_damaged(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yields the damaged artefacts, and why each cannot be used."""
    for path in files:
        try:
            _, facts = read_checked(path)
        except DamagedError as error:
            yield path, str(error)
            continue
        if Store(path.parent.parent).path(facts["key"]) != path:
            yield path, "its name does not match its key"


def why_unmeasured(record: dict[str, Any], cell: Cell | None, plan: Plan, damaged: Container[Path]) -> str:
    """Why a record cannot be recomputed; "" if it can."""
    if record["status"] != CellStatus.OK:
        return "no numbers"
    if cell is None:
        return UNPLANNED
    if plan.status(cell).state == State.STALE:
        return "stale: made by other code, data or options"
    if cell.scenario.arithmetic == NATIVE and record["observed"].get("processor") != processor():
        return "made with native arithmetic on another processor, where rounding differs"
    if not intact((cell.outputs, *cell.shadows), plan.store, damaged):
        return UNAVAILABLE
    return ""


def intact(artefacts: Iterable[Artefact], store: Store, damaged: Container[Path]) -> bool:
    """True if the cache has all of these artefacts, undamaged."""
    paths = [store.path(artefact.key) for artefact in artefacts]
    return all(path.exists() and path not in damaged for path in paths)


def added_numbers(
    record: Mapping[str, Any],
    cell: Cell,
    store: Store,
    references: Callable[[int], References],
    damaged: Container[Path],
) -> tuple[Request, list[str], list[str]]:
    """The numbers that `measure` added to a record.

    Returns:
        The request that they came from, the names of those that can be recomputed, and why the others cannot.
    """
    more, known = record.get("more", {}), registry.entries("attacks")
    unlearned = more[U_LIRA]["key"]["fleet"] if U_LIRA in more else 0
    attacks = {
        name: entry["key"]["options"] for name, entry in more.items() if name in known and is_usable(name, entry)
    }
    request = references(unlearned).request(cell, attacks, RELEARNING in more, FEATURES in more)
    outdated = {*request.outdated(record), *(more.keys() - attacks.keys() - {RELEARNING, FEATURES})}
    present = more.keys() - outdated
    shared = [request.second_retrain] if request.second_retrain else []
    unavailable = {name for name in present if not intact([*request.artefacts_of(name), *shared], store, damaged)}
    reasons = [f"{name}: made by other code, or with other reference models" for name in outdated]
    reasons += [f"{name}: an artefact that it needs is damaged or not in the cache" for name in unavailable]
    return request, sorted(present - unavailable), reasons


def recompute_record(
    record: dict[str, Any], cell: Cell, store: Store, request: Request, names: Sequence[str]
) -> list[str]:
    """In a worker: the differences between a record and the numbers that its stored outputs give."""
    with one_thread():
        evaluator = evaluator_of(store)
        try:
            recomputed = evaluator.record(cell)
            audit = audit_of(request, evaluator) if names else None
        except (Exception, SystemExit) as error:  # plugins may raise anything
            return [f"{cell}: recomputing it fails: {reason_of(error)}"]
        problems = [f"{cell}: it is described otherwise: {text}" for text in cell.info.contradictions(record["cell"])]
        changed = changed_outputs(record["outputs"], recomputed["outputs"])
        problems += [f"{cell}: the cache has other outputs {where}" for where in changed]
        problems += changed_numbers(record["metrics"], recomputed["metrics"], str(cell))
        if "roc" in record:  # old records have none
            problems += changed_numbers(record["roc"], recomputed["roc"], f"{cell} roc")
        for name in names:
            assert audit is not None
            try:
                numbers = numbers_of(request, name, audit, evaluator)
                for part in (part for part in numbers if part in record["more"][name]):  # old records have no "roc"
                    path = f"{cell} {name}" if part == "found" else f"{cell} {name} {part}"
                    problems += changed_numbers(record["more"][name][part], numbers[part], path)
            except Exception as error:  # plugins may raise anything
                problems.append(f"{cell} {name}: recomputing it fails: {reason_of(error)}")
    libraries = "; ".join(library_changes(record["observed"]))
    return [f"{problem} (since then {libraries})" if libraries else problem for problem in problems]


def is_usable(name: str, entry: dict[str, Any]) -> bool:
    """True if an attack can be loaded and accepts the options in an entry of a record."""
    try:
        attack_key(name, entry["key"]["options"])
    except Exception:  # plugins may raise anything
        return False
    return True


def rerun_cell(record: dict[str, Any], cell: Cell, store: Store) -> list[str]:
    """In a worker: the differences between a record and its cell, unlearned and measured again."""
    evaluator = evaluator_of(store)
    try:
        with one_thread():
            outputs, info = evaluator.context.make(replace(cell.outputs, network=None))
            if not store.has(cell.outputs.key):
                store.save(cell.outputs.key, outputs, info)
            repeated = evaluator.record(cell)
    except (Exception, SystemExit) as error:  # plugins may raise anything
        return [f"{cell}: running it again fails: {reason_of(error)}"]
    digests = {part: digest_of(logits) for part, logits in outputs.items()}
    return [
        *(f"{cell}: run again, it gives other outputs {part}" for part in changed_outputs(record["outputs"], digests)),
        *changed_numbers(record["metrics"], repeated["metrics"], f"{cell}, run again,"),
    ]


def changed_outputs(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The parts whose digests of outputs differ, as text."""
    return [f"on {part} samples" for part in sorted({*old, *new}) if old.get(part) != new.get(part)]


def changed_numbers(old: Any, new: Any, path: str) -> list[str]:
    """The differences between the numbers of a record and recomputed ones, one message each."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [text for name in names for text in changed_numbers(old.get(name), new.get(name), f"{path} {name}")]
    return [] if canonical(old) == canonical(new) else [f"{path}: the record has {old}, its outputs give {new}"]
