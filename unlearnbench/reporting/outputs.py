"""The outputs of a table's cells, from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.storage.keys import canonical

if TYPE_CHECKING:
    from unlearnbench.planning.plan import Cell
    from unlearnbench.planning.presets import PresetLike
    from unlearnbench.planning.selection import Workspace
    from unlearnbench.reporting.record import Record
    from unlearnbench.statistics import Floats

Key = tuple[str, str, int]
"""Data set, label of the method, seed."""
Ints = NDArray[np.int64]
PARTS = {"forget": "f", "retain": "r", "test": "t"}
"""The parts of the data, with their letters in the headers of tables."""


@dataclass(frozen=True)
class Part:
    """The outputs of a network on a part of the data.

    Attributes:
        index: int64 [n], positions in the training set, or in the test set.
        logits: float64 [n, classes].
        labels: int64 [n], the labels that the original was trained on; of test samples the true ones.
        classes: int64 [n], the true labels.
    """

    index: Ints
    logits: Floats
    labels: Ints
    classes: Ints

    @cached_property
    def probabilities(self) -> Floats:
        """The class probabilities, float64 [n, classes]."""
        from scipy.special import softmax

        values: Floats = softmax(self.logits, axis=1)
        return values

    @property
    def predicted(self) -> Ints:
        """The predicted classes, int64 [n]."""
        classes: Ints = self.logits.argmax(axis=1)
        return classes


Parts = Mapping[str, Part]
"""The outputs of a network by the names in `PARTS`."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of the cells of a table.

    Attributes:
        keys: The keys of the outputs that are in the cache.
        retrained: The cells of Retrain, by data set and seed: the scenarios of the others.
        workspace: Where outputs are.
    """

    keys: Mapping[Key, Mapping[str, Any]]
    retrained: Mapping[tuple[str, int], Cell]
    workspace: Workspace

    @classmethod
    def of(cls, preset: PresetLike, records: Sequence[Record], workspace: Workspace) -> Outputs:
        """The outputs of the cells of one task.

        Args:
            preset: Whose cells.
            records: The records of the cells. Those with another forget set than the preset and its code give now have
                no outputs.
            workspace: Where they are.

        Raises:
            UserError: If the scenarios cannot be planned.
        """
        from unlearnbench.planning.cells import planned
        from unlearnbench.planning.selection import Selection
        from unlearnbench.planning.supplied import options_of_task

        first = records[0]
        task, options = first.cell.task_name, options_of_task(first.cell, first.key.get("outputs", {}), first.files)
        chosen = Selection.of(
            preset, tasks=[task], methods=[REFERENCE], seeds=sorted({record.cell.seed for record in records})
        )
        datasets = [name for name in chosen.preset.datasets if name in {record.cell.dataset for record in records}]
        overrides = {task: options} if options else {}
        plan = planned(replace(chosen, datasets=datasets, overrides=overrides), workspace)
        retrained = {(cell.scenario.dataset, cell.scenario.seed): cell for cell in plan.cells}
        keys = {
            (record.cell.dataset, record.cell.method, record.cell.seed): record.key["outputs"]
            for record in records
            if (cell := retrained.get((record.cell.dataset, record.cell.seed))) and same_split(record, cell)
            if workspace.store.has(record.key["outputs"])
        }
        return cls(keys, retrained, workspace)

    def parts(self, dataset: str, method: str, seed: int) -> Parts | None:
        """The outputs of a network by part; None if they are not in the cache."""
        import torch

        from unlearnbench.artefacts.scenario import content_of, split_of
        from unlearnbench.plugins.problem import retained

        key = self.keys.get((dataset, method, seed))
        loaded = key and self.workspace.store.load(key)
        if not loaded:
            return None
        logits, _ = loaded
        scenario, datasets = self.retrained[dataset, seed].scenario, self.workspace.datasets
        content, split = content_of(scenario, datasets), split_of(scenario, datasets)
        train, labels, classes = logits["train"], split.labels(content), split.true_labels(content)

        def part(index: torch.Tensor) -> Part:
            return Part(index.numpy(), *(values[index].numpy() for values in (train.double(), labels, classes)))

        test = split.test_labels(content).numpy()
        return {
            "forget": part(split.forgotten.sort().values),
            "retain": part(retained(len(train), split.forgotten)),
            "test": Part(np.arange(len(test)), logits["test"].double().numpy(), test, test),
        }


def same_split(record: Record, cell: Cell) -> bool:
    """Whether a record has the data, the held-out part and the task of a cell, and so its forget set."""
    old, new = record.key.get("outputs", {}), cell.outputs.key
    both = [(key.get("task"), key.get("original", {})) for key in (old, new)]
    parts = [(task, original.get("dataset"), original.get("recipe", {}).get("held_out")) for task, original in both]
    return canonical(parts[0]) == canonical(parts[1])
