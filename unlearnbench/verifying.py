"""Reads everything again: is each record what its artefacts say, and would the same cell come out the same?"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unlearnbench.code import outdated
from unlearnbench.errors import UserError
from unlearnbench.measuring import attacked
from unlearnbench.plan import Cell, Plan
from unlearnbench.run import laboratory, one_thread, planned, reason_of
from unlearnbench.store import DamagedError, Store, canonical, opened, read_record, record_problem

SELF_SUFFICIENT = ("loss", "confidence", "entropy", "modified-entropy", "svc")
"""Attacks of `measure` that look at a cell's own outputs only, so that they can be repeated from these."""
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

    Metrics, and what `SELF_SUFFICIENT` attacks found, are computed again; what needs other networks is only read.

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
    plan = planned(
        preset, datasets=(), tasks=(), methods=(), seeds=(), overrides=None, device=device, results=results,
        cache=cache, data=data,
    )  # fmt: skip
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
    cells = {plan.results / cell.path: cell for cell in plan.cells}
    unmeasured: dict[str, int] = {}
    measured = 0
    for count, path in enumerate(paths, start=1):
        record = None if path in wrong else read_record(path)
        reason = why_unmeasured(record, cells.get(path), plan, bad)
        if record is not None and reason:
            unmeasured[reason] = unmeasured.get(reason, 0) + 1
        elif record is not None:
            problems += remeasured(record, cells[path], plan.store)
            measured += 1
        if count % max(1, len(paths) // EVERY) == 0:
            say(f"[{count}/{len(paths)}] records read and measured again")
    found = {path: read_record(path) for path in cells} if rerun else {}
    again = [cells[path] for path, record in found.items() if not why_unmeasured(record, cells[path], plan, bad)]
    chosen = random.sample(again, min(rerun, len(again)))
    for cell in chosen:
        say(f"running again: {cell}")
        problems += repeated(cell, plan.store)
    return Verified(len(paths), len(files), measured, [str(cell) for cell in chosen], problems, unmeasured)


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
    artefacts = [plan.store.path(job.key) for job in (cell.outputs, *cell.shadows)]
    if any(path in bad for path in artefacts):
        return "artefacts damaged"
    if not all(path.exists() for path in artefacts):
        return "outputs no longer in the cache"
    return ""


def remeasured(record: dict[str, Any], cell: Cell, store: Store) -> Iterator[str]:
    """Where the numbers of a record differ from those that its outputs give."""
    lab = laboratory(store)
    outputs, _ = lab.workshop.get(cell.outputs)
    with one_thread():
        again = lab.record(cell)
        audit = lab.audit(cell, outputs["train"], outputs["test"])
        for name, entry in record.get("more", {}).items():
            if name in SELF_SUFFICIENT and not outdated({"attacks": {name: entry["key"]}}):
                found = attacked(audit, name, entry["key"]["options"])
                yield from differing(entry["found"], found, f"{cell} {name}")
    yield from differing(record["metrics"], again["metrics"], str(cell))


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
