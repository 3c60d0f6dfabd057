"""More about cells that are there: attacks out of stored outputs, and what takes networks of its own if asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib

from unlearnbench.artefacts.jobs import Job, attack_key, relearning
from unlearnbench.artefacts.relearning import found_in
from unlearnbench.artefacts.versions import core
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, unknown
from unlearnbench.evaluation.record import Laboratory, attacked
from unlearnbench.operations.run import several
from unlearnbench.operations.work import check_jobs, laboratory, perished, reason_of, work
from unlearnbench.planning import presets
from unlearnbench.planning.plan import Cell, Plan, unmade
from unlearnbench.planning.presets import AGAIN, REFERENCE
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import planned
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Audit
from unlearnbench.plugins.files import named
from unlearnbench.runtime.threads import one_thread
from unlearnbench.runtime.timing import left
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Store

EVERY = 10
"""How many lines of progress there are, about."""
RELEARNING = "relearning"
"""The name, in records, of what is no attack."""
OF_A_FLEET = "u-lira"
"""The attack that asks a fleet of unlearned networks."""
GONE = "its outputs, or those of shadow models, are no longer in the cache"
Key = tuple[str, str, str, int]
"""Data set, task, method and seed."""


@dataclass(frozen=True)
class Measured:
    """What `measure` did.

    Attributes:
        attacks: The attacks that were asked for.
        cells: How many cells were asked for.
        done: Names of the cells that got something new.
        failed: Why something failed, by cell and what.
        without: Why a cell could not be measured, by its name.
    """

    attacks: Sequence[str]
    cells: int
    done: Sequence[str]
    failed: Mapping[str, str]
    without: Mapping[str, str]


@dataclass(frozen=True)
class Order:
    """What is to be found out about a cell.

    Attributes:
        cell: The cell.
        attacks: Which attacks, with their options.
        again: The outputs of a second Retrain (for that one of the first), if there is one: one more network that never
            saw what was forgotten.
        fleet: The outputs of the same cell in the worlds of a fleet.
        relearning: How it learns again.
    """

    cell: Cell
    attacks: Mapping[str, Mapping[str, Any]]
    again: Job | None = None
    fleet: Sequence[Job] = ()
    relearning: Job | None = None

    @property
    def jobs(self) -> list[Job]:
        """What it takes beside stored outputs."""
        return [*self.jobs_of(OF_A_FLEET), *self.jobs_of(RELEARNING)]

    def jobs_of(self, name: str) -> list[Job]:
        """What one thing that is to be found out takes beside stored outputs."""
        if name == RELEARNING:
            return [self.relearning] if self.relearning else []
        return list(self.fleet) if name == OF_A_FLEET else []

    def feasible(self, name: str, store: Store) -> bool:
        """Whether all of that is there."""
        return all(store.has(job.key) for job in self.jobs_of(name))

    def keys(self) -> dict[str, dict[str, Any]]:
        """What goes into everything that is to be found out, by name: how ("key"), and of which artefacts ("of")."""
        found: dict[str, dict[str, Any]] = {}
        for name, options in self.attacks.items():
            fleet = [job.digest for job in self.fleet] if name == OF_A_FLEET else []
            key = {**attack_key(name, options), "core": core("record"), "again": bool(self.again), "fleet": len(fleet)}
            found[name] = {"key": key, "of": {"again": self.again and self.again.digest, "fleet": fleet}}
        if self.relearning:
            key = {"how": self.relearning.key["how"], "code": self.relearning.key["code"]}
            found[RELEARNING] = {"key": key, "of": self.relearning.digest}
        return found

    def missing(self, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What a record does not have yet, as in `keys`."""
        more = record.get("more", {})
        there = {name: {part: entry.get(part) for part in ("key", "of")} for name, entry in more.items()}
        return {name: key for name, key in self.keys().items() if canonical(there.get(name)) != canonical(key)}


@dataclass(frozen=True)
class Company:
    """What cells are measured beside.

    Attributes:
        retrained: The outputs that are there of both Retrains.
        worlds: The outputs of every cell in the worlds of a fleet.
    """

    retrained: Mapping[Key, Job]
    worlds: Sequence[Mapping[Key, Job]]

    def order(self, cell: Cell, attacks: Mapping[str, Mapping[str, Any]], relearn: bool) -> Order:
        """An order for a cell, with all the company that there is."""
        return Order(
            cell=cell,
            attacks=attacks,
            again=self.retrained.get(key_of(cell, REFERENCE if cell.method == AGAIN else AGAIN)),
            fleet=[world[key_of(cell)] for world in self.worlds],
            relearning=relearning(cell.outputs) if relearn else None,
        )


def company(plan: Plan, plans: Callable[..., Plan], fleet: int) -> Company:
    """The company of a plan's cells; `plans(fleet=index)` makes the same plan in a world of a fleet."""
    found = {key_of(cell): cell.outputs for cell in plan.cells if cell.method in (REFERENCE, AGAIN)}
    retrained = {key: outputs for key, outputs in found.items() if plan.store.has(outputs.key)}
    worlds = [{key_of(cell): cell.outputs for cell in plans(fleet=index).cells} for index in range(fleet)]
    return Company(retrained, worlds)


def measure(
    attacks: str | Sequence[str] = (),
    *,
    preset: str | Path = "demo",
    datasets: str | Sequence[str] = (),
    tasks: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: str | int | Sequence[int] | None = None,
    fleet: int = 0,
    relearn: bool = False,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    dry_run: bool = False,
    say: Callable[[str], object] = print,
) -> Measured:
    """Adds attacks to the records of finished cells, out of their stored outputs; nothing is trained for that.

    Args:
        attacks: Names of attacks; all that are installed and that runs do not measure anyway if empty.
        preset: Whose records.
        datasets: As in `run`, likewise the next two.
        tasks: Names of tasks.
        methods: Names of methods; FILE.py:FUNCTION for one that is not installed.
        overrides: Options by name of an attack; or of a method or task, to measure cells that were run with them.
        seeds: As in `run`.
        fleet: For attack u-lira: how many networks to train, and to treat with every method; even. 0: without it.
        relearn: Also unlearn every cell again, to see how soon it knows again what it has forgotten.
        jobs: Workers.
        device: Where the networks were made, and where a fleet is made.
        arithmetic: With which the cells were made; as in `run`.
        results: Folder of the records.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        dry_run: Only say what it takes.
        say: Is told how it goes.

    Raises:
        UserError: If a name or an option is wrong, or no cell has a record.
    """
    check_jobs(jobs)
    overrides = overrides or {}
    of_attacks = {name: options for name, options in overrides.items() if name in registry.entries("attacks")}
    wanted = chosen(several(attacks), of_attacks, fleet)
    names = named(several(methods))
    plans = partial(
        planned,
        preset,
        datasets=several(datasets),
        tasks=several(tasks),
        methods=[*names, AGAIN] if names else (),
        seeds=() if seeds is None else presets.parse_seeds(seeds),
        overrides={name: options for name, options in overrides.items() if name not in of_attacks},
        device=device,
        arithmetic=arithmetic,
        results=results,
        cache=cache,
        data=data,
    )
    plan = plans()
    asked = [cell for cell in plan.cells if not names or cell.method in (*names, REFERENCE)]
    without = reasons_not_to(plan, asked)
    ready = [cell for cell in asked if str(cell) not in without]
    if not ready:
        raise UserError(f"no cell of preset {preset} can be measured: {next(iter(without.values()))}")
    beside = company(plan, plans, fleet)
    orders = [beside.order(cell, wanted, relearn) for cell in ready]
    orders = [order for order in orders if order.missing(read_record(order.cell.path) or {})]
    what = ", ".join([*wanted, *([RELEARNING] if relearn else [])])
    say(f"{what}: {len(orders)} of {len(asked)} cells lack some of it; attacks need stored outputs only")
    workers = jobs or joblib.cpu_count()
    failed = prepared(orders, plan, workers, dry_run, say)
    done: list[str] = []
    if not dry_run:
        done = carried_out(orders, plan, workers, failed, say)
    return Measured(list(wanted), len(asked), done, failed, without)


def carried_out(
    orders: Sequence[Order], plan: Plan, workers: int, failed: dict[str, str], say: Callable[[str], object]
) -> list[str]:
    """Adds to records what was ordered; returns the cells that got something new, and adds to `failed` what was not."""
    began, done = time.perf_counter(), []
    found = in_parallel(audit, [(order, plan.store) for order in orders], workers, None, plan.environment)
    for count, end in enumerate(found, start=1):
        name, new, reasons = end.result or (str(orders[end.index].cell), False, {"measuring": end.reason})
        failed |= {f"{name}, {what}": reason for what, reason in reasons.items()}
        done += [name] * new
        if count == 1 or count % max(1, len(orders) // EVERY) == 0:
            say(f"[{count}/{len(orders)}] {left(began, count / len(orders))}")
    return done


def reasons_not_to(plan: Plan, cells: Sequence[Cell]) -> dict[str, str]:
    """Why cells cannot be measured, by their names."""
    to_run = {str(cell) for cell in plan.to_run}
    missing = {str(cell): f"no valid record in {plan.results}: run it first" for cell in cells if str(cell) in to_run}
    gone = {str(cell): GONE for cell in cells if str(cell) not in to_run and not complete(cell, plan.store)}
    return missing | gone


def chosen(names: Sequence[str], overrides: Mapping[str, Mapping[str, Any]], fleet: int) -> dict[str, dict[str, Any]]:
    """The attacks with their options; raises as `measure`."""
    known = registry.entries("attacks")
    ordinary = {protocol.attack for protocol in PROTOCOLS.values()}
    for name in (*names, *overrides):
        if name not in known:
            raise unknown("attack", name, known)
    if fleet < 0 or fleet % 2 or fleet == 2:
        raise UserError(f"a fleet has 4, 6, 8, ... networks, because they come in pairs, not {fleet}")
    if OF_A_FLEET in names and not fleet:
        raise UserError(f"{OF_A_FLEET} needs a fleet of unlearned networks: say how many, e.g. --fleet 16")
    names = names or [name for name in registry.usable("attacks") if name not in (*ordinary, OF_A_FLEET)]
    for name in names:
        if name in ordinary:
            raise UserError(f"every run measures attack {name} anyway: its numbers are in the records")
    names = list(dict.fromkeys([*names, *([OF_A_FLEET] if fleet else [])]))
    return {name: registry.get(Attack, name).resolve(name, overrides.get(name, {})) for name in names}


def key_of(cell: Cell, method: str = "") -> Key:
    """What a cell and its like in a fleet's world have in common; with another method, what names that one's cell."""
    return cell.scenario.dataset, cell.scenario.task, method or cell.method, cell.scenario.seed


def complete(cell: Cell, store: Store) -> bool:
    """Whether everything that attacks look at is there."""
    return all(store.has(job.key) for job in (cell.outputs, *cell.shadows))


def prepared(
    orders: Sequence[Order], plan: Plan, workers: int, dry_run: bool, say: Callable[[str], object]
) -> dict[str, str]:
    """Makes what orders need beside stored outputs; returns why something could not be made, by its name."""
    missing = {job.digest: job for order in orders for wanted in order.jobs for job in unmade(wanted, plan.store)}
    by_products = {job.keep.digest for job in missing.values() if job.keep}
    missing = {digest: job for digest, job in missing.items() if digest not in by_products}
    if not missing:
        return {}
    total = sum(map(passes, missing.values()))
    say(f"{len(missing)} artefacts to make for that, about {total:.0f} passes over the training set")
    if dry_run:
        return {}
    began, ep, failed = time.perf_counter(), 0.0, {}
    first = ("original", "prepared")
    queue = sorted(missing.values(), key=lambda job: first.index(job.kind) if job.kind in first else len(first))
    size = {str(job): passes(job) for job in queue}
    calls = [(job, plan.store, False) for job in queue]
    for count, end in enumerate(in_parallel(work, calls, workers, None, plan.environment)):
        made = end.result or perished(queue[end.index], end, None)
        ep += size[made.name]
        if made.status != "made":
            failed[made.name] = made.reason
        if count % max(1, len(queue) // (2 * EVERY)) == 0:
            say(f"[{count + 1}/{len(queue)}] {made.name}  ({left(began, ep / total if ep else 1 / len(queue))})")
    return failed


def passes(job: Job) -> float:
    """The work of a job, in passes over the data set's training set; that of a fleet's world is about half of it."""
    return job.ep * (1 if job.scenario.fleet is None else 0.5)


def audit(order: Order, store: Store) -> tuple[str, bool, dict[str, str]]:
    """What a worker does: adds to a cell's record what is not there of what was ordered.

    Returns:
        The cell's name, whether anything was added, and why something failed, by its name.
    """
    cell = order.cell
    record = read_record(cell.path)
    assert record is not None
    more = record.setdefault("more", {})
    # What could not be made for it has been said.
    missing = {name: key for name, key in order.missing(record).items() if order.feasible(name, store)}
    failed: dict[str, str] = {}
    if missing:
        lab = laboratory(store)
        with one_thread():
            seen = seen_of(order, lab)
            for name, key in missing.items():
                try:
                    found = finding(order, name, seen, lab)
                    canonical(found)  # whatever is no number, or no JSON at all, fails here
                    more[name] = {**key, "found": found}
                except Exception as error:  # whatever a plugin raised
                    failed[name] = reason_of(error)
        write_record(cell.path, record)
    return str(cell), len(missing) > len(failed), failed


def seen_of(order: Order, lab: Laboratory) -> Audit:
    """What attacks see of a cell, in its company."""
    outputs, _ = lab.workshop.get(order.cell.outputs)
    return lab.audit(order.cell, outputs["train"], outputs["test"], order.again, order.fleet)


def finding(order: Order, name: str, seen: Audit, lab: Laboratory) -> dict[str, Any]:
    """What comes of one thing that was ordered, by its name."""
    if name != RELEARNING:
        return attacked(seen, name, order.attacks[name])
    assert order.relearning is not None
    return found_in(lab.workshop.get(order.relearning)[0])
