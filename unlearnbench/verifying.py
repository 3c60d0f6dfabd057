"""Reads everything again: is each record what its artefacts say, and would the same cell come out the same?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from unlearnbench import registry
from unlearnbench.artefacts import Job, attack_key
from unlearnbench.auditing import OF_A_FLEET, RELEARNING, Company, company, finding, seen_of
from unlearnbench.errors import UserError
from unlearnbench.plan import Cell, Plan
from unlearnbench.run import laboratory, one_thread, planned, reason_of
from unlearnbench.store import DamagedError, Store, canonical, opened, read_record, record_problem

EVERY = 10
"""How many lines of progress there are, about."""


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
    device: str = "auto",
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
        device: Where cells are run again.
        rerun: How many cells, drawn at random, to unlearn again; the same outputs and numbers must come out.
        say: Is told how it goes.

    Raises:
        UserError: If there are no records, or an argument is wrong.
    """
    if rerun < 0:
        raise UserError(f"--rerun wants a number of cells, not {rerun}")
    plans = partial(planned, preset, device=device, results=results, cache=cache, data=data)
    plan = plans()
    beside = lru_cache(partial(company, plan, plans))
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
    cells = {cell.path: cell for cell in plan.cells}
    unmeasured: Counter[str] = Counter()
    measured = 0
    for count, path in enumerate(paths, start=1):
        record = None if path in wrong else read_record(path)
        reason = why_unmeasured(record, cells.get(path), plan, bad)
        if record is not None and reason:
            unmeasured[reason] += 1
        elif record is not None:
            problems += remeasured(record, cells[path], plan.store)
            more, reasons = remeasured_more(record, cells[path], plan.store, beside, bad)
            problems += more
            unmeasured.update(reasons)
            measured += 1
        if count % max(1, len(paths) // EVERY) == 0:
            say(f"[{count}/{len(paths)}] records read and measured again")
    found = {path: read_record(path) for path in cells} if rerun else {}
    again = [cells[path] for path, record in found.items() if not why_unmeasured(record, cells[path], plan, bad)]
    chosen = random.sample(again, min(rerun, len(again)))
    for cell in chosen:
        say(f"running again: {cell}")
        problems += repeated(cell, plan.store)
    return Verified(len(paths), len(files), measured, [str(cell) for cell in chosen], problems, dict(unmeasured))


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


def why_unmeasured(record: dict[str, Any] | None, cell: Cell | None, plan: Plan, bad: Container[Path]) -> str:
    """Why a record cannot be measured again; "" if it can."""
    if record is None or record["status"] != "ok":
        return "no numbers"
    if cell is None:
        return "not in the preset's plan"
    if plan.status(cell).state == "stale":
        return "stale: made by other code, data or options than the present ones"
    if not intact((cell.outputs, *cell.shadows), plan.store, bad):
        return "its outputs, or those of shadow networks, are damaged, or no longer in the cache"
    return ""


def intact(jobs: Iterable[Job], store: Store, bad: Container[Path]) -> bool:
    """Whether artefacts are there, and as they were written."""
    paths = [store.path(job.key) for job in jobs]
    return all(path.exists() and path not in bad for path in paths)


def remeasured(record: dict[str, Any], cell: Cell, store: Store) -> Iterator[str]:
    """Where the numbers of a record differ from those that its outputs give."""
    with one_thread():
        again = laboratory(store).record(cell)
    yield from differing(record["metrics"], again["metrics"], str(cell))


def remeasured_more(
    record: dict[str, Any], cell: Cell, store: Store, beside: Callable[[int], Company], bad: Container[Path]
) -> tuple[list[str], list[str]]:
    """The same for what `measure` added.

    Returns:
        Where numbers differ, and why some could not be measured again.
    """
    more, known = record.get("more", {}), registry.entries("attacks")
    if not more:
        return [], []
    fleet = more[OF_A_FLEET]["key"]["fleet"] if OF_A_FLEET in more else 0
    attacks = {name: entry["key"]["options"] for name, entry in more.items() if name in known and usable(name, entry)}
    order = beside(fleet).order(cell, attacks, RELEARNING in more)
    outdated = {*order.missing(record), *(more.keys() - attacks.keys() - {RELEARNING})}
    again = [order.again] if order.again else []
    gone = {name for name in more.keys() - outdated if not intact([*order.jobs_of(name), *again], store, bad)}
    reasons = [f"{name}: measured by other code, or beside other networks, than there are now" for name in outdated]
    reasons += [f"{name}: what it was made of is damaged, or no longer in the cache" for name in gone]
    problems: list[str] = []
    with one_thread():
        lab = laboratory(store)
        seen = seen_of(order, lab)
        for name in sorted(more.keys() - outdated - gone):
            try:
                problems += differing(more[name]["found"], finding(order, name, seen, lab), f"{cell} {name}")
            except Exception as error:  # whatever a plugin raises
                problems.append(f"{cell} {name}: computed again, it fails: {reason_of(error)}")
    return problems, reasons


def usable(name: str, entry: dict[str, Any]) -> bool:
    """Whether an attack can be loaded and takes the options that it was measured with."""
    try:
        attack_key(name, entry["key"]["options"])
    except Exception:  # whatever a plugin raises
        return False
    return True


def repeated(cell: Cell, store: Store) -> Iterator[str]:
    """Where a cell differs when it is unlearned again, from the same originals and preparations."""
    lab = laboratory(store)
    try:
        with one_thread():
            outputs, _ = lab.workshop.made(replace(cell.outputs, keep=None))
    except (Exception, SystemExit) as error:  # whatever a plugin raised
        yield f"{cell}: run again, it fails: {reason_of(error)}"
        return
    stored, _ = lab.workshop.get(cell.outputs)
    for part, logits in outputs.items():
        if not torch.equal(logits.cpu(), stored[part]):
            yield f"{cell}: run again, it gives other outputs on {part} items"


def differing(old: Any, new: Any, path: str) -> Iterator[str]:
    """The numbers in which two records differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from differing(old.get(name), new.get(name), f"{path} {name}")
    elif canonical(old) != canonical(new):
        yield f"{path}: the record says {old}, its outputs say {new}"
