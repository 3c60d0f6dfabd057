"""What must hold for a record that is to be published: it is a cell of the preset, and its numbers are possible."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.features import Features
from unlearnbench.artefacts.features_rule import FEATURES
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.artefacts.relearning import Relearning
from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.artefacts.scenario import content_of, split_of
from unlearnbench.artefacts.unlearned import IDENTIFIED
from unlearnbench.artefacts.versions import core
from unlearnbench.errors import UserError
from unlearnbench.evaluation import consistency, provenance
from unlearnbench.evaluation.record import cost_in_ep, counts_of
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.cells import record_path
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.presets import REFERENCE, SECOND_RETRAIN
from unlearnbench.planning.staleness import short
from unlearnbench.plugins import registry
from unlearnbench.storage.keys import differences

PUBLISHABLE = (CellStatus.OK, CellStatus.DIVERGED, CellStatus.NOT_APPLICABLE)
"""A method that diverges, or that cannot serve a task, has a result; other failures are of a machine or of code."""
SHA256 = re.compile(r"[0-9a-f]{64}")
ARTEFACTS: Mapping[str, type[Relearning | Features]] = {RELEARNING: Relearning, FEATURES: Features}
"""What `measure` adds beside attacks, by name."""
FAULTS = {RELEARNING: consistency.faults_of_relearning, FEATURES: consistency.faults_of_features}
"""What can be wrong with it."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a record of another form raises."""


@dataclass(frozen=True)
class Expected:
    """What the records of a folder should be about.

    Attributes:
        folder: The folder of the preset's results.
        cells: The cells of the preset, by the files of their records.
        datasets: Their data sets.
    """

    folder: Path
    cells: Mapping[Path, Cell]
    datasets: Datasets

    def faults(self, path: Path, record: Mapping[str, Any]) -> Iterator[str]:
        """Yields what is wrong with the record in a file."""
        yield from consistency.not_finite(record)
        yield from provenance.private(record)
        own = record_path(self.folder, CellInfo.from_json(record["cell"]))
        if own != path:
            yield f"it is about another cell, whose place is {own.relative_to(self.folder).as_posix()}"
        if own not in self.cells:
            yield "it is about no cell of the preset: a method, option, seed or task that it does not select"
            return
        cell = self.cells[own]
        if other := differences(record["cell"], cell.info.as_json()):
            yield f"its description is not that of the preset's cell: {'; '.join(other)}"
        stale = dict.fromkeys(short(text) for text in differences(record["key"], cell.key))
        if stale:
            yield f"it is stale: {'; '.join(stale)}"
        for check in (self.faults_of_origin, self.faults_of_numbers, self.faults_of_measures):
            try:
                yield from check(record, cell)
            except MALFORMED as error:
                yield f"its form is not that of a record: {type(error).__name__}: {error}"

    def faults_of_origin(self, record: Mapping[str, Any], cell: Cell) -> Iterator[str]:
        """Yields what is wrong with the status of a record, and with what it says about its origin."""
        if record["status"] not in PUBLISHABLE:
            yield f"it has no numbers ({record['status']}: {record.get('reason')}): run again with --retry-failed"
        yield from provenance.faults_of_provenance(record["observed"], cell.command)

    def faults_of_numbers(self, record: Mapping[str, Any], cell: Cell) -> Iterator[str]:
        """Yields what is wrong with the numbers of every record, and with the digests of outputs."""
        if record["status"] != CellStatus.OK:
            return
        outputs, metrics = record["outputs"], record["metrics"]
        more = {IDENTIFIED, *(["train_augmented"] if cell.scenario.recipe.augment else [])}
        if outputs.keys() - more != {"test", "train"} or not all(map(SHA256.fullmatch, outputs.values())):
            yield f"outputs are not the SHA-256 of logits on training and test images: {dict(outputs)}"
        yield from consistency.faults_of_metrics(metrics, self.counts(cell), "train_augmented" in outputs)
        if (IDENTIFIED in outputs) != ("identification" in metrics):
            yield "it has only one of the identified samples and how right they are"
        elif IDENTIFIED in outputs:
            split = split_of(cell.scenario, self.datasets)
            hidden = len(split.forgotten) - len(split.forget)
            wrong = consistency.faults_of_identification(metrics["identification"], hidden)
            yield from (f"identification {text}" for text in wrong)
        if differences(metrics.get("cost"), cost_in_ep(cell.outputs)):
            yield f"cost is {metrics.get('cost')}, but the method declares {cost_in_ep(cell.outputs)}"

    def faults_of_measures(self, record: Mapping[str, Any], cell: Cell) -> Iterator[str]:
        """Yields what is wrong with the numbers that `measure` added."""
        for name, entry in record.get("more", {}).items():
            try:
                stale = differences(entry["key"], self.key_of_measure(name, entry, cell))
            except UserError as error:
                stale = [str(error)]
            if stale:
                yield f"{name} is stale: {'; '.join(dict.fromkeys(map(short, stale)))}"
            faults = FAULTS.get(name, consistency.faults_of_attack)(entry["found"], self.counts(cell)["train_f"])
            yield from (f"{name} {text}" for text in faults)
            if name not in ARTEFACTS and entry["key"]["again"] and entry["of"]["again"] != self.second_retrain(cell):
                yield f"{name} was measured with another second Retrain"

    def key_of_measure(self, name: str, entry: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
        """The key that numbers which `measure` added have now, for the same options and the same reference models."""
        if name in ARTEFACTS:
            key = ARTEFACTS[name].of(cell.outputs).key
            return {"how": key["how"], "code": key["code"]}
        registry.entry("attacks", name)
        same = {part: entry["key"][part] for part in ("again", "fleet")}
        return {**attack_key(name, entry["key"]["options"]), "core": core("record"), **same}

    def second_retrain(self, cell: Cell) -> str | None:
        """The digest of the outputs of the second Retrain for a cell; for the second Retrain that of the first."""
        method = REFERENCE if cell.method == SECOND_RETRAIN else SECOND_RETRAIN
        path = cell.path.parent.parent / method / cell.path.name
        return self.cells[path].outputs.digest if path in self.cells else None

    def counts(self, cell: Cell) -> dict[str, int]:
        """The number of samples behind each column of a cell."""
        return counts_of(cell, content_of(cell.scenario, self.datasets), split_of(cell.scenario, self.datasets))
