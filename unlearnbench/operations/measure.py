"""Adds numbers to the records of finished cells: attacks on stored outputs, U-LiRA, relearning, and features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearnbench.artefacts.artefact import Artefact, unmade
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.features import Features
from unlearnbench.artefacts.features_rule import FEATURES
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.artefacts.relearning import Relearning, summary
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.artefacts.versions import core
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, counted, unknown
from unlearnbench.evaluation import representation
from unlearnbench.evaluation.record import Evaluator, run_attack
from unlearnbench.operations.dependencies import earlier_needs
from unlearnbench.operations.fitness import examined
from unlearnbench.operations.recorded import Part, unplanned
from unlearnbench.operations.work import MADE, Effort, evaluator_of, outcome_of_death, reason_of, work
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import ORIGINAL, REFERENCE, SECOND_RETRAIN, several
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import Overrides, Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Audit
from unlearnbench.plugins.files import Local, named
from unlearnbench.plugins.method import Method
from unlearnbench.runtime.threads import one_thread
from unlearnbench.runtime.timing import Forecast
from unlearnbench.storage.keys import canonical, differences
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Content, Store, lock

PROGRESS_LINES = 10
"""Approximate number of progress lines."""
U_LIRA = "u-lira"
"""The attack that needs unlearned shadow models."""
UNCURVED = (RELEARNING, FEATURES)
"""What is measured beside attacks, and has no ROC curve."""
NOT_CACHED = "its outputs, or those of shadow models, are not in the cache"
REPLACED = "another run has replaced the record meanwhile: measure again"
Key = tuple[str, str, str, int]
"""Data set, task, method and seed."""


@dataclass(frozen=True)
class Measured:
    """The result of `measure`.

    Attributes:
        attacks: The attacks that were requested.
        cells: Number of finished cells that were requested.
        unfinished: Number of requested cells that have no valid record, so that there is nothing to add to.
        done: Names of the cells that have new numbers.
        failed: Why an attack or an artefact failed, by its name.
        without: Why a finished cell could not be measured, by its name.
    """

    attacks: Sequence[str]
    cells: int
    unfinished: int
    done: Sequence[str]
    failed: Mapping[str, str]
    without: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """The numbers to add to a cell's record.

    Attributes:
        cell: The cell.
        attacks: The options of the attacks, by name.
        second_retrain: The outputs of the second Retrain, one more reference model; for the cell of the second Retrain
            itself, those of the first.
        unlearned: The outputs of the cell's unlearned shadow models.
        relearning: Its relearning, if requested.
        features: The embeddings of its network, and of Retrain's and the original's, if requested.
    """

    cell: Cell
    attacks: Mapping[str, Mapping[str, Any]]
    second_retrain: Outputs | None = None
    unlearned: Sequence[Outputs] = ()
    relearning: Relearning | None = None
    features: Sequence[Features] = ()

    def __str__(self) -> str:
        return f"attacks on {self.cell}"

    @property
    def artefacts(self) -> list[Artefact]:
        """The artefacts that the request needs beside stored outputs."""
        return [artefact for name in (U_LIRA, RELEARNING, FEATURES) for artefact in self.artefacts_of(name)]

    def artefacts_of(self, name: str) -> list[Artefact]:
        """The artefacts that one attack, relearning or features need beside stored outputs."""
        if name == RELEARNING:
            return [self.relearning] if self.relearning else []
        if name == FEATURES:
            return list(self.features)
        return list(self.unlearned) if name == U_LIRA else []

    def feasible(self, name: str, store: Store) -> bool:
        """True if the cache has the artefacts that one attack, relearning or features need."""
        return all(store.has(artefact.key) for artefact in self.artefacts_of(name))

    def keys(self) -> dict[str, dict[str, Any]]:
        """The keys of the requested numbers by name: how they are computed ("key"), from which artefacts ("of")."""
        keys: dict[str, dict[str, Any]] = {}
        for name, options in self.attacks.items():
            unlearned = [outputs.digest for outputs in self.unlearned] if name == U_LIRA else []
            key = {
                **attack_key(name, options),
                "core": core("record"),
                "again": bool(self.second_retrain),
                "fleet": len(unlearned),
            }
            of = {"again": self.second_retrain and self.second_retrain.digest, "fleet": unlearned}
            keys[name] = {"key": key, "of": of}
        if self.relearning:
            key = {"how": self.relearning.key["how"], "code": self.relearning.key["code"]}
            keys[RELEARNING] = {"key": key, "of": self.relearning.digest}
        if self.features:
            key = {"how": self.features[0].key["how"], "code": self.features[0].key["code"]}
            keys[FEATURES] = {"key": key, "of": [features.digest for features in self.features]}
        return keys

    def missing(self, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The keys of the requested numbers that a record lacks; old records lack the ROC curves of attacks."""
        more, keys = record.get("more", {}), self.keys()
        uncurved = {name for name, entry in more.items() if name not in UNCURVED and "roc" not in entry}
        return {name: keys[name] for name in keys if name in uncurved or name in self.outdated(record)}

    def outdated(self, record: Mapping[str, Any]) -> set[str]:
        """The names of the requested numbers that a record lacks or has with another key."""
        more = record.get("more", {})
        present = {name: {part: entry.get(part) for part in ("key", "of")} for name, entry in more.items()}
        return {name for name, key in self.keys().items() if canonical(present.get(name)) != canonical(key)}


@dataclass(frozen=True)
class References:
    """The outputs of other networks that measures need.

    Attributes:
        retrained: The stored outputs of both Retrains.
        unlearned: The outputs of all cells' unlearned shadow models; one entry for each shadow index.
        reference_outputs: The outputs of all Retrains, stored or not.
        datasets: The data sets of this process.
    """

    retrained: Mapping[Key, Outputs]
    unlearned: Sequence[Mapping[Key, Outputs]]
    reference_outputs: Mapping[Key, Outputs]
    datasets: Datasets

    @classmethod
    def of(cls, plan: Plan, selection: Selection, count: int) -> References:
        """The references of a plan's cells.

        Args:
            plan: The plan.
            selection: Its selection.
            count: The number of unlearned shadow models of each cell.
        """
        outputs = {key_of(cell): cell.outputs for cell in plan.cells if cell.method in (REFERENCE, SECOND_RETRAIN)}
        retrained = {key: artefact for key, artefact in outputs.items() if plan.store.has(artefact.key)}
        plans = [planned(selection, plan.workspace, shadow=index) for index in range(count)]
        unlearned = [{key_of(cell): cell.outputs for cell in plan.cells} for plan in plans]
        return cls(retrained, unlearned, outputs, plan.workspace.datasets)

    def request(
        self, cell: Cell, attacks: Mapping[str, Mapping[str, Any]], relearn: bool, features: bool = False
    ) -> Request:
        """The request for a cell, with its references."""
        return Request(
            cell=cell,
            attacks=attacks,
            second_retrain=self.retrained.get(
                key_of(cell, REFERENCE if cell.method == SECOND_RETRAIN else SECOND_RETRAIN)
            ),
            unlearned=[outputs[key_of(cell)] for outputs in self.unlearned],
            relearning=Relearning.of(cell.outputs) if relearn else None,
            features=self.features(cell) if features else (),
        )

    def features(self, cell: Cell) -> list[Features]:
        """The features of a cell, of Retrain and of the original, which need not be a cell."""
        retrain, original = self.reference_outputs[key_of(cell, REFERENCE)], self.original_outputs(cell)
        return [Features.of(outputs) for outputs in (cell.outputs, retrain, original)]

    def original_outputs(self, cell: Cell) -> Outputs:
        """The outputs of the original of a cell's scenario."""
        options = registry.get(Method, ORIGINAL).resolve(ORIGINAL)
        return Outputs.of(LoadedScenario.of(cell.scenario, self.datasets), ORIGINAL, options)


def measure(
    selection: Selection,
    workspace: Workspace,
    *,
    attacks: str | Sequence[str] = (),
    unlearned_shadows: int = 0,
    relearn: bool = False,
    features: bool = False,
    effort: Effort = Effort(),
    dry_run: bool = False,
    say: Callable[[str], object] = print,
) -> Measured:
    """Adds attacks to the records of finished cells, computed from stored outputs without training.

    Args:
        selection: The cells; if it names no methods, also those of all other records of the preset's results. Its
            overrides may contain options of attacks, by name.
        workspace: The folders with their records and artefacts.
        attacks: Names of attacks, or FILE.py:FUNCTION; empty: all installed ones that runs do not measure.
        unlearned_shadows: Number of unlearned shadow models per method, for attack u-lira; 0, or even and at least 4.
        relearn: Also unlearn every cell again and measure how fast it relearns the forget set.
        features: Also unlearn every cell again and keep embeddings of at most 1,000 samples, with a map of them.
        effort: Workers.
        dry_run: Only report the work.
        say: Receives progress lines.

    Raises:
        UserError: If a name or an option is wrong, or no cell has a record.
    """
    of_attacks = {name: o for name, o in selection.overrides.items() if name in registry.entries("attacks")}
    of_cells = {name: o for name, o in selection.overrides.items() if name not in of_attacks}
    requested = attacks_of(named(several(attacks)), of_attacks, unlearned_shadows)
    names = selection.methods
    beside = [SECOND_RETRAIN, *([ORIGINAL] if features else [])]
    selection = replace(selection, methods=[*names, *beside] if names else [], overrides=of_cells)
    plan = planned(selection, workspace)
    drawn = {str(cell) for cell in plan.cells if features and cell.method == ORIGINAL and cell.path.exists()}
    cells = [cell for cell in plan.cells if not names or cell.method in (*names, REFERENCE) or str(cell) in drawn]
    parts = [Part(selection, plan, cells), *(() if names else unplanned(selection, plan).parts)]
    parts = [replace(part, cells=[cell for cell in part.cells if not is_not_applicable(cell)]) for part in parts]
    requested_cells = sum(len(part.cells) for part in parts)
    parts = [finished_part(part) for part in parts]
    cells = [cell for part in parts for cell in part.cells]
    unfinished = requested_cells - len(cells)
    without = {str(cell): NOT_CACHED for cell in cells if not has_outputs(cell, plan.store)}
    if len(without) == len(cells):
        why = NOT_CACHED if without else f"no valid record in {plan.results}: run them first"
        raise UserError(f"no cell of preset {selection.preset_name} can be measured: {why}")
    requests = []
    for part in parts:
        references = References.of(part.plan, part.selection, unlearned_shadows)
        ready = [cell for cell in part.cells if str(cell) not in without]
        requests += [references.request(cell, requested, relearn, features) for cell in ready]
    requests = [request for request in requests if lacks_numbers(request)]
    what = ", ".join([*requested, *([RELEARNING] if relearn else []), *([FEATURES] if features else [])])
    say(f"{what}: missing in {len(requests)} of {counted(len(cells), 'cell')}; attacks use stored outputs")
    if unfinished:
        say(f"{counted(unfinished, 'cell')} without a valid record: left out")
    missing = missing_artefacts(requests, plan.store)
    if missing:
        work_ahead = f"about {counted(round(sum(map(passes, missing))), 'pass')} over the training set"
        say(f"{counted(len(missing), 'artefact')} to make first, {work_ahead}")
    if dry_run or not requests:
        return Measured(list(requested), len(cells), unfinished, [], {}, without)
    datasets = {request.cell.scenario.dataset for request in requests}
    size = sum(artefact.size for artefact in missing)
    with examined(effort.engine, workspace, datasets, size, say) as engine:
        effort = replace(effort, engine=engine)
        failed = make_artefacts(missing, plan, effort, say)
        done = add_numbers(requests, plan, effort, failed, say)
    return Measured(list(requested), len(cells), unfinished, done, failed, without)


def is_not_applicable(cell: Cell) -> bool:
    """Whether the method of a cell cannot serve its task, so that there is nothing to measure."""
    return (read_record(cell.path) or {}).get("status") == CellStatus.NOT_APPLICABLE


def lacks_numbers(request: Request) -> bool:
    """Whether the record of a request lacks a number, or the ROC curves of the attacks that every run measures."""
    record = read_record(request.cell.path) or {}
    return bool(request.missing(record)) or "roc" not in record


def add_numbers(
    requests: Sequence[Request], plan: Plan, effort: Effort, failed: dict[str, str], say: Callable[[str], object]
) -> list[str]:
    """Adds the requested numbers to records.

    Returns:
        The names of the cells that have new numbers; adds the reasons of failures to `failed`.
    """
    names: list[str] = []
    workers = effort.workers(plan.workspace.device, len(requests))
    forecast = Forecast(len(requests), workers)
    records = [read_record(request.cell.path) or {} for request in requests]
    calls = [(request, record, plan.store) for request, record in zip(requests, records, strict=True)]
    results = in_parallel(measure_cell, calls, workers, None, plan.environment, engine=effort.engine)
    for count, done in enumerate(results, start=1):
        cell = requests[done.index].cell
        added, reasons = done.result or ({}, {"measuring": done.reason})
        if added and not extend_record(cell, plan.store, records[done.index], added):
            reasons |= dict.fromkeys(added["more"] or ["roc"], REPLACED)
        elif added:
            names.append(str(cell))
        failed |= {f"{cell}, {what}": reason for what, reason in reasons.items()}
        forecast.add(1, done.seconds)
        if count == 1 or count % max(1, len(requests) // PROGRESS_LINES) == 0:
            say(f"[{count}/{len(requests)} records] {forecast}")
    return names


def extend_record(cell: Cell, store: Store, record: Mapping[str, Any], added: Mapping[str, Any]) -> bool:
    """Adds numbers to a record, and keeps what others have added to it since it was read.

    Args:
        cell: Its cell.
        store: The cache, which has the lock.
        record: The record from which the numbers were computed.
        added: As `measure_cell` returns it.

    Returns:
        False if the record has been replaced by one of another key since.
    """
    with lock(store.path(cell.outputs.key)):
        present = read_record(cell.path)
        if present is None or differences(present["key"], record["key"]):
            return False
        write_record(cell.path, {**present, **added, "more": {**present.get("more", {}), **added["more"]}})
    return True


def finished_part(part: Part) -> Part:
    """A part without the cells that have no valid record."""
    to_run = {str(cell) for cell in part.plan.to_run}
    return replace(part, cells=[cell for cell in part.cells if str(cell) not in to_run])


def attacks_of(names: Sequence[str], overrides: Overrides, unlearned_shadows: int) -> dict[str, dict[str, Any]]:
    """The options of the requested attacks, by name; raises as `measure`."""
    known = registry.entries("attacks")
    in_every_run = {protocol.attack for protocol in PROTOCOLS.values()}
    for name in (*names, *overrides):
        if name not in known and not isinstance(name, Local):
            raise unknown("attack", name, known)
    if unlearned_shadows < 0 or unlearned_shadows % 2 or unlearned_shadows == 2:
        raise UserError(
            f"unlearned shadow models come in complementary pairs: --unlearned-shadows must be 4, 6, 8, ..., not "
            f"{unlearned_shadows}"
        )
    if U_LIRA in names and not unlearned_shadows:
        raise UserError(f"{U_LIRA} needs unlearned shadow models, e.g. --unlearned-shadows 16")
    names = names or [name for name in registry.usable("attacks") if name not in (*in_every_run, U_LIRA)]
    for name in names:
        if name in in_every_run:
            raise UserError(f"every run measures attack {name}, so its numbers are in the records already")
    names = list(dict.fromkeys([*names, *([U_LIRA] if unlearned_shadows else [])]))
    return {name: registry.get(Attack, name).resolve(name, overrides.get(name, {})) for name in names}


def key_of(cell: Cell, method: str = "") -> Key:
    """The key that a cell shares with its unlearned shadow models; or that of another method in the same scenario."""
    return cell.scenario.dataset, cell.scenario.task, method or cell.method, cell.scenario.seed


def has_outputs(cell: Cell, store: Store) -> bool:
    """True if the cache has the outputs of a cell and of its shadow models."""
    return all(store.has(artefact.key) for artefact in (cell.outputs, *cell.shadows))


def missing_artefacts(requests: Sequence[Request], store: Store) -> list[Artefact]:
    """The artefacts that the cache lacks for requests, beside stored outputs, in the order in which they are made."""
    needed = [artefact for request in requests for artefact in request.artefacts]
    missing = {one.digest: one for artefact in needed for one in unmade(artefact, store)}
    networks = {one.network.digest for one in missing.values() if isinstance(one, Outputs) and one.network}
    artefacts = [one for digest, one in missing.items() if digest not in networks]  # made with outputs
    first = ("original", "prepared")
    return sorted(artefacts, key=lambda one: first.index(one.kind) if one.kind in first else len(first))


def make_artefacts(
    queue: Sequence[Artefact], plan: Plan, effort: Effort, say: Callable[[str], object]
) -> dict[str, str]:
    """Makes artefacts.

    Returns:
        Why artefacts failed, by their names.
    """
    failed: dict[str, str] = {}
    size = {str(artefact): passes(artefact) for artefact in queue}
    calls = [(artefact, plan.store, False) for artefact in queue]
    workers = effort.workers(plan.workspace.device, len(calls))
    forecast = Forecast(sum(size.values()), workers)
    after = earlier_needs(queue, {artefact.digest for artefact in queue})
    results = in_parallel(work, calls, workers, None, plan.environment, after, effort.engine)
    for count, done in enumerate(results):
        outcome = done.result or outcome_of_death(queue[done.index], done, None)
        forecast.add(size[outcome.name], outcome.seconds)
        if outcome.status != MADE:
            failed[outcome.name] = outcome.reason
        if count % max(1, len(queue) // (2 * PROGRESS_LINES)) == 0:
            say(f"[{count + 1}/{len(queue)} artefacts] {outcome.name}  ({forecast})")
    return failed


def passes(artefact: Artefact) -> float:
    """The cost in passes over the whole training set; an unlearned shadow model has about half of its samples."""
    return artefact.ep * (1 if artefact.scenario.shadow is None else 0.5)


def measure_cell(request: Request, record: Mapping[str, Any], store: Store) -> tuple[dict[str, Any], dict[str, str]]:
    """In a worker: computes the requested numbers that a cell's record lacks.

    Returns:
        What to add to the record: the numbers with their keys, by name, as "more", and "roc" if the record lacks it;
        empty if there is nothing. And why attacks failed, by name.
    """
    # `make_artefacts` reports the artefacts that failed.
    missing = {name: key for name, key in request.missing(record).items() if request.feasible(name, store)}
    more: dict[str, Any] = {}
    roc: dict[str, Any] = {}
    failed: dict[str, str] = {}
    is_old = "roc" not in record
    if missing or is_old:
        evaluator = evaluator_of(store)
        with one_thread():
            try:
                audit = audit_of(request, evaluator)
                if is_old:
                    roc["roc"] = evaluator.record(request.cell)["roc"]
            except Exception as error:  # a damaged artefact is made again, by plugins that may raise anything
                return {}, dict.fromkeys(missing or ["roc"], reason_of(error))
            for name, key in missing.items():
                try:
                    numbers = numbers_of(request, name, audit, evaluator)
                    canonical(numbers)  # raises for numbers that are not finite, and for what is not JSON
                    more[name] = {**key, **numbers}
                except Exception as error:  # plugins may raise anything
                    failed[name] = reason_of(error)
    return ({**roc, "more": more} if roc or more else {}), failed


def audit_of(request: Request, evaluator: Evaluator) -> Audit:
    """The input of attacks on a cell."""
    outputs, _ = evaluator.context.get(request.cell.outputs)
    return evaluator.audit(request.cell, outputs["train"], outputs["test"], request.second_retrain, request.unlearned)


def numbers_of(request: Request, name: str, audit: Audit, evaluator: Evaluator) -> dict[str, Any]:
    """What one attack, relearning or features add to a record, by its name.

    Returns:
        The numbers as "found"; beside them the curve of an attack as "roc", or the map of features as "map".
    """
    if name == FEATURES:
        return of_features(*(evaluator.context.get(features) for features in request.features))
    if name != RELEARNING:
        attacked = run_attack(audit, name, request.attacks[name])
        return {"found": attacked.numbers, "roc": attacked.roc}
    assert request.relearning is not None
    return {"found": summary(evaluator.context.get(request.relearning)[0])}


def of_features(own: Content, retrain: Content, original: Content) -> dict[str, Any]:
    """What features add to a record; the reason if the network has none."""
    tensors, facts = own
    if not tensors:
        return {"found": {"n/a": facts["n/a"]}}
    return {
        "found": representation.numbers(tensors, retrain[0], original[0]),
        "map": representation.drawing(tensors),
    }
