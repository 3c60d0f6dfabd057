"""More attacks on cells that are there: from stored outputs alone, nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from unlearnbench import presets, registry
from unlearnbench.artefacts import attack_key, core
from unlearnbench.attacks import Attack
from unlearnbench.errors import UserError, unknown
from unlearnbench.measuring import attacked
from unlearnbench.plan import Cell
from unlearnbench.protocols import PROTOCOLS
from unlearnbench.run import laboratory, one_thread, planned, reason_of, several
from unlearnbench.store import Store, canonical, read_record, write_record

EVERY = 10
"""How many lines of progress there are, about."""


@dataclass(frozen=True)
class Measured:
    """What `measure` did.

    Attributes:
        attacks: The attacks that were asked for.
        cells: How many cells have a valid record.
        done: Names of the cells that got something new.
        failed: Why an attack failed, by cell and attack.
        without: Why a cell could not be measured, by its name.
    """

    attacks: Sequence[str]
    cells: int
    done: Sequence[str]
    failed: Mapping[str, str]
    without: Mapping[str, str]


def measure(
    attacks: str | Sequence[str] = (),
    *,
    preset: str | Path = "demo",
    datasets: str | Sequence[str] = (),
    tasks: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: str | int | Sequence[int] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    say: Callable[[str], object] = print,
) -> Measured:
    """Adds attacks to the records of finished cells, out of their stored outputs.

    Args:
        attacks: Names of attacks; all that are installed and that runs do not measure anyway if empty.
        preset: Whose records.
        datasets: As in `run`, likewise the next two.
        tasks: Names of tasks.
        methods: Names of methods.
        overrides: Options by name of an attack.
        seeds: As in `run`.
        jobs: Workers.
        device: Where the networks were made; nothing is computed there.
        results: Folder of the records.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        say: Is told how it goes.

    Raises:
        UserError: If a name or an option is wrong, or no cell has a record.
    """
    wanted = chosen(several(attacks), overrides or {})
    plan = planned(
        preset,
        datasets=several(datasets),
        tasks=several(tasks),
        methods=several(methods),
        seeds=() if seeds is None else presets.parse_seeds(seeds),
        overrides=None,
        device=device,
        results=results,
        cache=cache,
        data=data,
    )
    finished = [cell for cell, status in zip(plan.cells, plan.statuses, strict=True) if status.state == "cached"]
    if not finished:
        raise UserError(f"no cell of preset {preset} has a valid record in {plan.results}: run it first")
    gone = "its outputs, or those of shadow networks, are no longer in the cache"
    without = {str(cell): gone for cell in finished if not complete(cell, plan.store)}
    ready = [cell for cell in finished if str(cell) not in without]
    say(f"{len(wanted)} attacks on {len(ready)} cells, from stored outputs: {', '.join(wanted)}")
    began = time.perf_counter()
    done: list[str] = []
    failed: dict[str, str] = {}
    work = joblib.Parallel(jobs or joblib.cpu_count(), return_as="generator_unordered", batch_size=1)(
        joblib.delayed(audit)(cell, wanted, plan.store, plan.results) for cell in ready
    )
    for count, (name, new, reasons) in enumerate(work, start=1):
        failed |= {f"{name}, {attack}": reason for attack, reason in reasons.items()}
        done += [name] * new
        if count == 1 or count % max(1, len(ready) // EVERY) == 0:
            left = (time.perf_counter() - began) / count * (len(ready) - count)
            say(f"[{count}/{len(ready)}] about {left:.0f} s left")
    return Measured(list(wanted), len(finished), done, failed, without)


def chosen(names: Sequence[str], overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The attacks with their options; raises as `measure`."""
    known = registry.entries("attacks")
    ordinary = {protocol.attack for protocol in PROTOCOLS.values()}
    for name in (*names, *overrides):
        if name not in known:
            raise unknown("attack", name, known)
    names = names or [name for name in registry.usable("attacks") if name not in ordinary]
    for name in names:
        if name in ordinary:
            raise UserError(f"every run measures attack {name} anyway: its numbers are in the records")
    return {name: registry.get(Attack, name).resolve(name, overrides.get(name, {})) for name in names}


def complete(cell: Cell, store: Store) -> bool:
    """Whether everything that attacks look at is there."""
    return all(store.has(job.key) for job in (cell.outputs, *cell.shadows))


def audit(
    cell: Cell, attacks: Mapping[str, Mapping[str, Any]], store: Store, results: Path
) -> tuple[str, bool, dict[str, str]]:
    """What a worker does: adds to a cell's record what is not there of some attacks.

    Returns:
        The cell's name, whether anything was added, and why an attack failed, by its name.
    """
    record = read_record(results / cell.path)
    assert record is not None
    keys = {name: {**attack_key(name, options), "core": core("record")} for name, options in attacks.items()}
    more = record.setdefault("more", {})
    missing = [n for n in attacks if n not in more or canonical(more[n]["key"]) != canonical(keys[n])]
    failed: dict[str, str] = {}
    if missing:
        lab = laboratory(store)
        outputs, _ = lab.workshop.get(cell.outputs)
        with one_thread():
            seen = lab.audit(cell, outputs["train"], outputs["test"])
            for name in missing:
                try:
                    more[name] = {"key": keys[name], "found": attacked(seen, name, attacks[name])}
                except Exception as error:  # whatever a plugin raised
                    failed[name] = reason_of(error)
        write_record(results / cell.path, record)
    return str(cell), len(missing) > len(failed), failed
