"""Verifies results: is each record what its artefacts say, and does a cell come out the same again?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError
from unlearnbench.evaluation.record import digest_of
from unlearnbench.operations.measure import RELEARNING, U_LIRA, References, Request, audit_of, measured
from unlearnbench.operations.work import Effort, evaluator_of, reason_of
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan, State
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.runtime.arithmetic import NATIVE, processor
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record, record_problem
from unlearnbench.storage.store import DamagedError, Store, opened

EVERY = 10
"""Number of progress lines, about."""
GONE = "its outputs, or those of shadow models, are damaged, or no longer in the cache"


Recorded = tuple[dict[str, Any], Cell]
"""A record and its cell."""


@dataclass(frozen=True)
class Verified:
    """The result of `verify`.

    Attributes:
        records: Number of records that were read.
        artefacts: Number of artefacts that were read.
        measured: Number of records that were computed again from their outputs.
        rerun: Names of the cells that were unlearned again.
        problems: What is wrong, a sentence each.
        unmeasured: Number of records that could not be computed again, by the reason.
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

    Metrics, and the numbers that `measure` added, are computed again from stored outputs.

    Args:
        selection: The preset.
        workspace: Where its records and artefacts are.
        rerun: Number of cells, drawn at random, to unlearn again; the same bits must come out, whatever machine the
            record was made on. Artefacts that the cache lacks are made first.
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
            f"there are no records in {plan.results}: run `unlearnbench run --preset {selection.preset_name}`"
        )
    files = [path for path in sorted(plan.store.root.glob("*/*.safetensors")) if path.parent.name != "damaged"]
    say(f"{len(paths)} records and {len(files)} artefacts to read")
    bad_records = {path: why for path in paths if (why := record_problem(path))}
    bad_files = dict(damaged(files))
    problems = [f"{path}: {why}" for path, why in {**bad_records, **bad_files}.items()]
    records = {path: record for path in paths if path not in bad_records and (record := read_record(path)) is not None}
    cells = {cell.path: cell for cell in plan.cells}
    reasons = {path: why_unmeasured(record, cells.get(path), plan, bad_files) for path, record in records.items()}
    measurable = [(records[path], cells[path]) for path, why in reasons.items() if not why]
    differences, not_measured = measure_again(measurable, plan, selection, bad_files, effort, say)
    sound = [(records[path], cells[path]) for path, why in reasons.items() if why in ("", GONE)]
    drawn = random.sample(sound, min(rerun, len(sound)))
    problems += [*differences, *run_again(drawn, plan, effort, say)]
    unmeasured = Counter([*filter(None, reasons.values()), *not_measured])
    names = [str(cell) for _, cell in drawn]
    return Verified(len(paths), len(files), len(measurable), names, problems, dict(unmeasured))


def measure_again(
    recorded: Sequence[Recorded],
    plan: Plan,
    selection: Selection,
    bad: Container[Path],
    effort: Effort,
    say: Callable[[str], object],
) -> tuple[list[str], list[str]]:
    """Computes records again from stored outputs.

    Returns:
        The differences, and why numbers that `measure` added cannot be computed again, a sentence each.
    """
    references = cache(partial(References.of, plan, selection))
    calls: list[tuple[Any, ...]] = []
    not_measured: list[str] = []
    for record, cell in recorded:
        request, names, reasons = measured_more(record, cell, plan.store, references, bad)
        not_measured += reasons
        calls.append((record, cell, plan.store, request, names))
    problems: list[str] = []
    workers = effort.workers(plan.workspace.device, len(calls))
    for count, done in enumerate(in_parallel(remeasured, calls, workers, None, plan.environment), start=1):
        problems += done.result if done.result is not None else [f"{calls[done.index][1]}: measuring {done.reason}"]
        if count % max(1, len(calls) // EVERY) == 0:
            say(f"[{count}/{len(calls)}] records measured again")
    return problems, not_measured


def run_again(recorded: Sequence[Recorded], plan: Plan, effort: Effort, say: Callable[[str], object]) -> Iterator[str]:
    """Unlearns cells again; yields the differences."""
    if recorded:
        say(f"running again: {', '.join(str(cell) for _, cell in recorded)}")
    calls = [(record, cell, plan.store) for record, cell in recorded]
    workers = effort.workers(plan.workspace.device, len(calls))
    for done in in_parallel(repeated, calls, workers, None, plan.environment):
        yield from done.result if done.result is not None else [f"{calls[done.index][1]}: run again, it {done.reason}"]


def damaged(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The artefacts that are damaged, and how."""
    for path in files:
        try:
            _, facts = opened(path)
        except DamagedError as error:
            yield path, str(error)
            continue
        if Store(path.parent.parent).path(facts["key"]) != path:
            yield path, "its name does not match its key"


def why_unmeasured(record: dict[str, Any], cell: Cell | None, plan: Plan, bad: Container[Path]) -> str:
    """Why a record cannot be computed again; "" if it can."""
    if record["status"] != CellStatus.OK:
        return "no numbers"
    if cell is None:
        return "not in the preset's plan"
    if plan.status(cell).state == State.STALE:
        return "stale: made by other code, data or options than the present ones"
    if cell.scenario.arithmetic == NATIVE and record["observed"].get("processor") != processor():
        return "made with native arithmetic on another processor, where rounding differs"
    if not intact((cell.outputs, *cell.shadows), plan.store, bad):
        return GONE
    return ""


def intact(artefacts: Iterable[Artefact], store: Store, bad: Container[Path]) -> bool:
    """Whether the cache has artefacts, undamaged."""
    paths = [store.path(artefact.key) for artefact in artefacts]
    return all(path.exists() and path not in bad for path in paths)


def measured_more(
    record: Mapping[str, Any],
    cell: Cell,
    store: Store,
    references: Callable[[int], References],
    bad: Container[Path],
) -> tuple[Request, list[str], list[str]]:
    """The numbers that `measure` added to a record and that can be computed again.

    Returns:
        The request that they came from, the names of those that can be computed again, and why the others cannot.
    """
    more, known = record.get("more", {}), registry.entries("attacks")
    unlearned = more[U_LIRA]["key"]["fleet"] if U_LIRA in more else 0
    attacks = {name: entry["key"]["options"] for name, entry in more.items() if name in known and usable(name, entry)}
    request = references(unlearned).request(cell, attacks, RELEARNING in more)
    outdated = {*request.missing(record), *(more.keys() - attacks.keys() - {RELEARNING})}
    again = [request.again] if request.again else []
    gone = {n for n in more.keys() - outdated if not intact([*request.artefacts_of(n), *again], store, bad)}
    reasons = [f"{name}: measured by other code, or beside other networks, than there are now" for name in outdated]
    reasons += [f"{name}: an artefact that it needs is damaged, or no longer in the cache" for name in gone]
    return request, sorted(more.keys() - outdated - gone), reasons


def remeasured(record: dict[str, Any], cell: Cell, store: Store, request: Request, names: Sequence[str]) -> list[str]:
    """In a worker: the numbers of a record that differ from those that its outputs give."""
    with one_thread():
        evaluator = evaluator_of(store)
        again = evaluator.record(cell)
        problems = [
            f"{cell}: the cache has other outputs {where}" for where in other(record["outputs"], again["outputs"])
        ]
        problems += differing(record["metrics"], again["metrics"], str(cell))
        seen = audit_of(request, evaluator) if names else None
        for name in names:
            assert seen is not None
            try:
                numbers = measured(request, name, seen, evaluator)
                problems += differing(record["more"][name]["found"], numbers, f"{cell} {name}")
            except Exception as error:  # whatever a plugin raises
                problems.append(f"{cell} {name}: computed again, it fails: {reason_of(error)}")
    return problems


def usable(name: str, entry: dict[str, Any]) -> bool:
    """Whether an attack can be loaded and takes the options that it was measured with."""
    try:
        attack_key(name, entry["key"]["options"])
    except Exception:  # whatever a plugin raises
        return False
    return True


def repeated(record: dict[str, Any], cell: Cell, store: Store) -> list[str]:
    """In a worker: the differences between a record and its cell, unlearned and measured again."""
    evaluator = evaluator_of(store)
    try:
        with one_thread():
            outputs, info = evaluator.context.make(replace(cell.outputs, network=None))
            if not store.has(cell.outputs.key):
                store.save(cell.outputs.key, outputs, info)
            again = evaluator.record(cell)
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        return [f"{cell}: run again, it fails: {reason_of(error)}"]
    digests = {part: digest_of(logits) for part, logits in outputs.items()}
    return [
        *(f"{cell}: run again, it gives other outputs {where}" for where in other(record["outputs"], digests)),
        *differing(record["metrics"], again["metrics"], f"{cell}, run again,"),
    ]


def other(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The parts in which the digests of two networks' outputs differ, in words."""
    return [f"on {part} samples" for part in sorted({*old, *new}) if old.get(part) != new.get(part)]


def differing(old: Any, new: Any, path: str) -> list[str]:
    """The numbers in which two records differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [text for name in names for text in differing(old.get(name), new.get(name), f"{path} {name}")]
    return [] if canonical(old) == canonical(new) else [f"{path}: the record says {old}, its outputs say {new}"]
