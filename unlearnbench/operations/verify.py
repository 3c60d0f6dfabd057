"""Reads everything again: is each record what its artefacts say, and would the same cell come out the same?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.jobs import Job, attack_key
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError
from unlearnbench.evaluation.record import digest_of
from unlearnbench.operations.measure import OF_A_FLEET, RELEARNING, Company, Order, company, finding, seen_of
from unlearnbench.operations.work import check_jobs, laboratory, reason_of, workers_on
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.selection import choose_device, planned
from unlearnbench.plugins import registry
from unlearnbench.runtime.arithmetic import NATIVE, processor
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record, record_problem
from unlearnbench.storage.store import DamagedError, Store, opened

EVERY = 10
"""How many lines of progress there are, about."""
GONE = "its outputs, or those of shadow models, are damaged, or no longer in the cache"


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes:
        records: How many records were read.
        artefacts: How many artefacts were read.
        measured: How many records were measured again from their outputs.
        rerun: Names of the cells that were run again.
        problems: What is wrong, a sentence each.
        unmeasured: How many records could not be measured again, by the reason.
    """

    records: int
    artefacts: int
    measured: int
    rerun: Sequence[str]
    problems: Sequence[str]
    unmeasured: dict[str, int]


def verify(
    results: str | Path = "results",
    *,
    preset: str | Path = "demo",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    rerun: int = 0,
    say: Callable[[str], object] = print,
) -> Verified:
    """Checks every record of a preset and every artefact in the cache.

    Metrics, and what `measure` added, are computed again from stored outputs.

    Args:
        results: Folder of the records.
        preset: Whose records.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        jobs: Workers; None: one for each core.
        device: Where cells are run again.
        arithmetic: With which the cells were made; as in `run`.
        rerun: How many cells, drawn at random, to unlearn again; the same bits must come out, on whatever machine the
            record was made. What is not in the cache is trained first.
        say: Is told how it goes.

    Raises:
        UserError: If there are no records, or an argument is wrong.
    """
    if rerun < 0:
        raise UserError(f"--rerun wants a number of cells, not {rerun}")
    check_jobs(jobs)
    plans = partial(planned, preset, device=device, arithmetic=arithmetic, results=results, cache=cache, data=data)
    plan = plans()
    paths = sorted(plan.results.glob("records/*/*/*/*/*.json"))
    if not paths:
        raise UserError(f"there are no records in {plan.results}: run `unlearnbench run --preset {preset}`")
    wrong = {path: why for path in paths if (why := record_problem(path))}
    problems = [f"{path}: {why}" for path, why in wrong.items()]
    files = sorted(plan.store.root.glob("*/*.safetensors"))
    files = [path for path in files if path.parent.name != "damaged"]
    say(f"{len(paths)} records and {len(files)} artefacts to read")
    bad = dict(damaged(files))
    problems += [f"{path}: {why}" for path, why in bad.items()]
    cells, unmeasured = {cell.path: cell for cell in plan.cells}, Counter[str]()
    records = {path: record for path in paths if path not in wrong and (record := read_record(path)) is not None}
    reasons = {path: why_unmeasured(record, cells.get(path), plan, bad) for path, record in records.items()}
    unmeasured.update(filter(None, reasons.values()))
    beside = lru_cache(partial(company, plan, plans))
    calls: list[tuple[Any, ...]] = []
    for path, record in records.items():
        if not reasons[path]:
            order, names, without = measured_more(record, cells[path], plan.store, beside, bad)
            unmeasured.update(without)
            calls.append((record, cells[path], plan.store, order, names))
    workers = workers_on(choose_device(device), jobs)
    for count, done in enumerate(in_parallel(remeasured, calls, workers, None, plan.environment), start=1):
        problems += done.result if done.result is not None else [f"{calls[done.index][1]}: measuring {done.reason}"]
        if count % max(1, len(calls) // EVERY) == 0:
            say(f"[{count}/{len(calls)}] records measured again")
    sound = [cells[path] for path, why in reasons.items() if why in ("", GONE)]
    chosen = random.sample(sound, min(rerun, len(sound)))
    again = [(records[cell.path], cell, plan.store) for cell in chosen]
    if again:
        say(f"running again: {', '.join(map(str, chosen))}")
    for done in in_parallel(repeated, again, min(workers, max(1, len(again))), None, plan.environment):
        problems += done.result if done.result is not None else [f"{chosen[done.index]}: run again, it {done.reason}"]
    return Verified(len(paths), len(files), len(calls), [str(cell) for cell in chosen], problems, dict(unmeasured))


def damaged(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The artefacts that are not as they were written, and how."""
    for path in files:
        try:
            _, facts = opened(path)
        except DamagedError as error:
            yield path, str(error)
            continue
        if Store(path.parent.parent).path(facts["key"]) != path:
            yield path, "it was made of something else than its name says"


def why_unmeasured(record: dict[str, Any], cell: Cell | None, plan: Plan, bad: Container[Path]) -> str:
    """Why a record cannot be measured again; "" if it can."""
    if record["status"] != "ok":
        return "no numbers"
    if cell is None:
        return "not in the preset's plan"
    if plan.status(cell).state == "stale":
        return "stale: made by other code, data or options than the present ones"
    if cell.scenario.arithmetic == NATIVE and record["observed"].get("processor") != processor():
        return "made with native arithmetic on another processor, where rounding differs"
    if not intact((cell.outputs, *cell.shadows), plan.store, bad):
        return GONE
    return ""


def intact(jobs: Iterable[Job], store: Store, bad: Container[Path]) -> bool:
    """Whether artefacts are there, and as they were written."""
    paths = [store.path(job.key) for job in jobs]
    return all(path.exists() and path not in bad for path in paths)


def measured_more(
    record: dict[str, Any], cell: Cell, store: Store, beside: Callable[[int], Company], bad: Container[Path]
) -> tuple[Order, list[str], list[str]]:
    """What of that which `measure` added to a record can be measured again.

    Returns:
        The order that it came of, the names of what can be measured again, and why the rest cannot.
    """
    more, known = record.get("more", {}), registry.entries("attacks")
    fleet = more[OF_A_FLEET]["key"]["fleet"] if OF_A_FLEET in more else 0
    attacks = {name: entry["key"]["options"] for name, entry in more.items() if name in known and usable(name, entry)}
    order = beside(fleet).order(cell, attacks, RELEARNING in more)
    outdated = {*order.missing(record), *(more.keys() - attacks.keys() - {RELEARNING})}
    again = [order.again] if order.again else []
    gone = {name for name in more.keys() - outdated if not intact([*order.jobs_of(name), *again], store, bad)}
    reasons = [f"{name}: measured by other code, or beside other networks, than there are now" for name in outdated]
    reasons += [f"{name}: what it was made of is damaged, or no longer in the cache" for name in gone]
    return order, sorted(more.keys() - outdated - gone), reasons


def remeasured(record: dict[str, Any], cell: Cell, store: Store, order: Order, names: Sequence[str]) -> list[str]:
    """What a worker does: where the numbers of a record differ from those that its outputs give."""
    with one_thread():
        lab = laboratory(store)
        again = lab.record(cell)
        problems = [
            f"{cell}: the cache has other outputs {where}" for where in other(record["outputs"], again["outputs"])
        ]
        problems += differing(record["metrics"], again["metrics"], str(cell))
        seen = seen_of(order, lab) if names else None
        for name in names:
            assert seen is not None
            try:
                problems += differing(record["more"][name]["found"], finding(order, name, seen, lab), f"{cell} {name}")
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
    """What a worker does: where a cell differs from its record when it is unlearned and measured again."""
    lab = laboratory(store)
    try:
        with one_thread():
            outputs, info = lab.workshop.made(replace(cell.outputs, keep=None))
            if not store.has(cell.outputs.key):
                store.save(cell.outputs.key, outputs, info)
            again = lab.record(cell)
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        return [f"{cell}: run again, it fails: {reason_of(error)}"]
    digests = {part: digest_of(logits) for part, logits in outputs.items()}
    return [
        *(f"{cell}: run again, it gives other outputs {where}" for where in other(record["outputs"], digests)),
        *differing(record["metrics"], again["metrics"], f"{cell}, run again,"),
    ]


def other(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Where the digests of two networks' outputs differ, in words."""
    return [f"on {part} items" for part in sorted({*old, *new}) if old.get(part) != new.get(part)]


def differing(old: Any, new: Any, path: str) -> list[str]:
    """The numbers in which two records differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [said for name in names for said in differing(old.get(name), new.get(name), f"{path} {name}")]
    return [] if canonical(old) == canonical(new) else [f"{path}: the record says {old}, its outputs say {new}"]
