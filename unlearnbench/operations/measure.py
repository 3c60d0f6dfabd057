"""Adds numbers to the records of finished cells: attacks on stored outputs, unlearned shadow models, relearning."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearnbench.artefacts.artefact import Artefact, unmade
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.artefacts.relearning import Relearning, summary
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.artefacts.versions import core
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, unknown
from unlearnbench.evaluation.record import Evaluator, attacked
from unlearnbench.operations.work import Effort, evaluator_of, perished, reason_of, work
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import AGAIN, REFERENCE
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import Overrides, Selection, Workspace, several
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Audit
from unlearnbench.runtime.threads import one_thread
from unlearnbench.runtime.timing import left
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Store

EVERY = 10
"""Number of progress lines, about."""
RELEARNING = "relearning"
"""Its name in records, beside those of attacks."""
U_LIRA = "u-lira"
"""The attack that needs unlearned shadow models."""
GONE = "its outputs, or those of shadow models, are no longer in the cache"
Key = tuple[str, str, str, int]
"""Data set, task, method and seed."""


@dataclass(frozen=True)
class Measured:
    """The result of `measure`.

    Attributes:
        attacks: The attacks that were requested.
        cells: Number of cells that were requested.
        done: Names of the cells that have new numbers.
        failed: Why something failed, by cell and attack.
        without: Why a cell could not be measured, by its name.
    """

    attacks: Sequence[str]
    cells: int
    done: Sequence[str]
    failed: Mapping[str, str]
    without: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """The numbers to add to a cell's record.

    Attributes:
        cell: The cell.
        attacks: The options of the attacks, by name.
        again: The outputs of a second Retrain (of the first, if the cell is the second): one more reference model.
        unlearned: The outputs of the cell's unlearned shadow models.
        relearning: Its relearning, if that is requested.
    """

    cell: Cell
    attacks: Mapping[str, Mapping[str, Any]]
    again: Outputs | None = None
    unlearned: Sequence[Outputs] = ()
    relearning: Relearning | None = None

    @property
    def artefacts(self) -> list[Artefact]:
        """The artefacts that it needs beside stored outputs."""
        return [*self.artefacts_of(U_LIRA), *self.artefacts_of(RELEARNING)]

    def artefacts_of(self, name: str) -> list[Artefact]:
        """The artefacts that one attack, or relearning, needs beside stored outputs."""
        if name == RELEARNING:
            return [self.relearning] if self.relearning else []
        return list(self.unlearned) if name == U_LIRA else []

    def feasible(self, name: str, store: Store) -> bool:
        """Whether the cache has the artefacts that one attack, or relearning, needs."""
        return all(store.has(artefact.key) for artefact in self.artefacts_of(name))

    def keys(self) -> dict[str, dict[str, Any]]:
        """The keys of the requested numbers by name: how they are computed ("key"), from which artefacts ("of")."""
        keys: dict[str, dict[str, Any]] = {}
        for name, options in self.attacks.items():
            unlearned = [outputs.digest for outputs in self.unlearned] if name == U_LIRA else []
            key = {
                **attack_key(name, options),
                "core": core("record"),
                "again": bool(self.again),
                "fleet": len(unlearned),
            }
            keys[name] = {"key": key, "of": {"again": self.again and self.again.digest, "fleet": unlearned}}
        if self.relearning:
            key = {"how": self.relearning.key["how"], "code": self.relearning.key["code"]}
            keys[RELEARNING] = {"key": key, "of": self.relearning.digest}
        return keys

    def missing(self, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The keys of the requested numbers that a record lacks."""
        more = record.get("more", {})
        present = {name: {part: entry.get(part) for part in ("key", "of")} for name, entry in more.items()}
        return {name: key for name, key in self.keys().items() if canonical(present.get(name)) != canonical(key)}


@dataclass(frozen=True)
class References:
    """The networks that cells are compared with.

    Attributes:
        retrained: The stored outputs of both Retrains.
        unlearned: The outputs of every cell's unlearned shadow models, one entry for each index.
    """

    retrained: Mapping[Key, Outputs]
    unlearned: Sequence[Mapping[Key, Outputs]]

    @classmethod
    def of(cls, plan: Plan, selection: Selection, count: int) -> References:
        """The references of a plan's cells.

        Args:
            plan: The plan.
            selection: Its selection.
            count: The number of unlearned shadow models of each cell.
        """
        outputs = {key_of(cell): cell.outputs for cell in plan.cells if cell.method in (REFERENCE, AGAIN)}
        retrained = {key: made for key, made in outputs.items() if plan.store.has(made.key)}
        plans = [planned(selection, plan.workspace, shadow=index) for index in range(count)]
        return cls(retrained, [{key_of(cell): cell.outputs for cell in plan.cells} for plan in plans])

    def request(self, cell: Cell, attacks: Mapping[str, Mapping[str, Any]], relearn: bool) -> Request:
        """A request for a cell, with all of its references."""
        return Request(
            cell=cell,
            attacks=attacks,
            again=self.retrained.get(key_of(cell, REFERENCE if cell.method == AGAIN else AGAIN)),
            unlearned=[outputs[key_of(cell)] for outputs in self.unlearned],
            relearning=Relearning.of(cell.outputs) if relearn else None,
        )


def measure(
    selection: Selection,
    workspace: Workspace,
    *,
    attacks: str | Sequence[str] = (),
    unlearned_shadows: int = 0,
    relearn: bool = False,
    effort: Effort = Effort(),
    dry_run: bool = False,
    say: Callable[[str], object] = print,
) -> Measured:
    """Adds attacks to the records of finished cells, from their stored outputs; no attack trains a network.

    Args:
        selection: The cells. Its overrides also have options by name of an attack.
        workspace: Where they were computed.
        attacks: Names of attacks; all that are installed and that runs do not measure if empty.
        unlearned_shadows: Unlearned shadow models for attack u-lira, trained and unlearned for every method; even.
        relearn: Also unlearn every cell again and measure how soon it relearns the forget set.
        effort: Workers.
        dry_run: Only print what it takes.
        say: Receives progress lines.

    Raises:
        UserError: If a name or an option is wrong, or no cell has a record.
    """
    of_attacks = {name: o for name, o in selection.overrides.items() if name in registry.entries("attacks")}
    of_cells = {name: o for name, o in selection.overrides.items() if name not in of_attacks}
    requested = chosen(several(attacks), of_attacks, unlearned_shadows)
    names = selection.methods
    selection = replace(selection, methods=[*names, AGAIN] if names else [], overrides=of_cells)
    plan = planned(selection, workspace)
    cells = [cell for cell in plan.cells if not names or cell.method in (*names, REFERENCE)]
    without = reasons_not_to(plan, cells)
    ready = [cell for cell in cells if str(cell) not in without]
    if not ready:
        preset = selection.preset_name
        raise UserError(f"no cell of preset {preset} can be measured: {next(iter(without.values()))}")
    references = References.of(plan, selection, unlearned_shadows)
    requests = [references.request(cell, requested, relearn) for cell in ready]
    requests = [request for request in requests if request.missing(read_record(request.cell.path) or {})]
    what = ", ".join([*requested, *([RELEARNING] if relearn else [])])
    say(f"{what}: {len(requests)} of {len(cells)} cells lack some of it; attacks need stored outputs only")
    failed = make_artefacts(requests, plan, effort, dry_run, say)
    done: list[str] = []
    if not dry_run:
        done = add_numbers(requests, plan, effort, failed, say)
    return Measured(list(requested), len(cells), done, failed, without)


def add_numbers(
    requests: Sequence[Request], plan: Plan, effort: Effort, failed: dict[str, str], say: Callable[[str], object]
) -> list[str]:
    """Adds the requested numbers to records.

    Returns:
        The names of the cells that have new numbers; `failed` gets the reasons of those that have not.
    """
    began, done = time.perf_counter(), []
    workers = effort.workers(plan.workspace.device, len(requests))
    calls = [(request, plan.store) for request in requests]
    for count, end in enumerate(in_parallel(audit, calls, workers, None, plan.environment), start=1):
        name, new, reasons = end.result or (str(requests[end.index].cell), False, {"measuring": end.reason})
        failed |= {f"{name}, {what}": reason for what, reason in reasons.items()}
        done += [name] if new else []
        if count == 1 or count % max(1, len(requests) // EVERY) == 0:
            say(f"[{count}/{len(requests)}] {left(began, count / len(requests))}")
    return done


def reasons_not_to(plan: Plan, cells: Sequence[Cell]) -> dict[str, str]:
    """Why cells cannot be measured, by their names."""
    to_run = {str(cell) for cell in plan.to_run}
    missing = {str(cell): f"no valid record in {plan.results}: run it first" for cell in cells if str(cell) in to_run}
    gone = {str(cell): GONE for cell in cells if str(cell) not in to_run and not complete(cell, plan.store)}
    return missing | gone


def chosen(names: Sequence[str], overrides: Overrides, unlearned_shadows: int) -> dict[str, dict[str, Any]]:
    """The attacks with their options; raises as `measure`."""
    known = registry.entries("attacks")
    ordinary = {protocol.attack for protocol in PROTOCOLS.values()}
    for name in (*names, *overrides):
        if name not in known:
            raise unknown("attack", name, known)
    if unlearned_shadows < 0 or unlearned_shadows % 2 or unlearned_shadows == 2:
        raise UserError(
            f"unlearned shadow models come in complementary pairs: --unlearned-shadows must be 4, 6, 8, ..., not "
            f"{unlearned_shadows}"
        )
    if U_LIRA in names and not unlearned_shadows:
        raise UserError(f"{U_LIRA} needs unlearned shadow models: say how many, e.g. --unlearned-shadows 16")
    names = names or [name for name in registry.usable("attacks") if name not in (*ordinary, U_LIRA)]
    for name in names:
        if name in ordinary:
            raise UserError(f"every run measures attack {name}: its numbers are in the records")
    names = list(dict.fromkeys([*names, *([U_LIRA] if unlearned_shadows else [])]))
    return {name: registry.get(Attack, name).resolve(name, overrides.get(name, {})) for name in names}


def key_of(cell: Cell, method: str = "") -> Key:
    """The name that a cell shares with its unlearned shadow models; with another method, that of the other's cell."""
    return cell.scenario.dataset, cell.scenario.task, method or cell.method, cell.scenario.seed


def complete(cell: Cell, store: Store) -> bool:
    """Whether the cache has all that attacks look at."""
    return all(store.has(artefact.key) for artefact in (cell.outputs, *cell.shadows))


def make_artefacts(
    requests: Sequence[Request], plan: Plan, effort: Effort, dry_run: bool, say: Callable[[str], object]
) -> dict[str, str]:
    """Makes the artefacts that requests need beside stored outputs.

    Returns:
        Why artefacts failed, by their names.
    """
    needed = [artefact for request in requests for artefact in request.artefacts]
    missing = {one.digest: one for artefact in needed for one in unmade(artefact, plan.store)}
    by_products = {one.network.digest for one in missing.values() if isinstance(one, Outputs) and one.network}
    missing = {digest: one for digest, one in missing.items() if digest not in by_products}
    if not missing:
        return {}
    total = sum(map(passes, missing.values()))
    say(f"{len(missing)} artefacts to make for that, about {total:.0f} passes over the training set")
    if dry_run:
        return {}
    began, ep, failed = time.perf_counter(), 0.0, {}
    first = ("original", "prepared")
    queue = sorted(missing.values(), key=lambda one: first.index(one.kind) if one.kind in first else len(first))
    size = {str(artefact): passes(artefact) for artefact in queue}
    calls = [(artefact, plan.store, False) for artefact in queue]
    workers = effort.workers(plan.workspace.device, len(calls))
    for count, end in enumerate(in_parallel(work, calls, workers, None, plan.environment)):
        made = end.result or perished(queue[end.index], end, None)
        ep += size[made.name]
        if made.status != "made":
            failed[made.name] = made.reason
        if count % max(1, len(queue) // (2 * EVERY)) == 0:
            say(f"[{count + 1}/{len(queue)}] {made.name}  ({left(began, ep / total if ep else 1 / len(queue))})")
    return failed


def passes(artefact: Artefact) -> float:
    """The cost in passes over the data set's training set; that of an unlearned shadow model is about half as large."""
    return artefact.ep * (1 if artefact.scenario.shadow is None else 0.5)


def audit(request: Request, store: Store) -> tuple[str, bool, dict[str, str]]:
    """In a worker: adds the requested numbers that a cell's record lacks.

    Returns:
        The cell's name, whether anything was added, and why attacks failed, by name.
    """
    cell = request.cell
    record = read_record(cell.path)
    assert record is not None
    more = record.setdefault("more", {})
    # Artefacts that could not be made are reported where they failed.
    missing = {name: key for name, key in request.missing(record).items() if request.feasible(name, store)}
    failed: dict[str, str] = {}
    if missing:
        evaluator = evaluator_of(store)
        with one_thread():
            seen = audit_of(request, evaluator)
            for name, key in missing.items():
                try:
                    numbers = measured(request, name, seen, evaluator)
                    canonical(numbers)  # raises for values that are not finite, or not JSON
                    more[name] = {**key, "found": numbers}
                except Exception as error:  # whatever a plugin raised
                    failed[name] = reason_of(error)
        write_record(cell.path, record)
    return str(cell), len(missing) > len(failed), failed


def audit_of(request: Request, evaluator: Evaluator) -> Audit:
    """The input of attacks on a cell, with its references."""
    outputs, _ = evaluator.context.get(request.cell.outputs)
    return evaluator.audit(request.cell, outputs["train"], outputs["test"], request.again, request.unlearned)


def measured(request: Request, name: str, seen: Audit, evaluator: Evaluator) -> dict[str, Any]:
    """The numbers of one attack, or of relearning, by its name."""
    if name != RELEARNING:
        return attacked(seen, name, request.attacks[name])
    assert request.relearning is not None
    return summary(evaluator.context.get(request.relearning)[0])
