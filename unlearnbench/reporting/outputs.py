"""The outputs of a table's cells, from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Outputs:
    """Class probabilities of networks.

    Attributes:
        keys: The keys of the outputs of the cells, as their records have them.
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

        task, options = records[0].cell.task_name, records[0].cell.task_options
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
        }
        return cls(keys, retrained, workspace)

    def probabilities(self, dataset: str, method: str, seed: int) -> dict[str, Floats] | None:
        """The class probabilities of a network on the samples of each part, float64 [samples, classes].

        Returns:
            By part: "forget", "retain" and "test". None if the cell's outputs are not in the cache.
        """
        import torch

        from unlearnbench.artefacts.scenario import split_of

        key = self.keys.get((dataset, method, seed))
        loaded = key and self.workspace.store.load(key)
        if not loaded:
            return None
        outputs, _ = loaded
        forget = split_of(self.retrained[dataset, seed].scenario, self.workspace.datasets).forgotten
        retained = torch.ones(len(outputs["train"]), dtype=torch.bool)
        retained[forget] = False
        parts = {"forget": outputs["train"][forget], "retain": outputs["train"][retained], "test": outputs["test"]}
        return {part: logits.double().softmax(1).numpy() for part, logits in parts.items()}


def same_split(record: Record, cell: Cell) -> bool:
    """Whether a record has the data, the held-out part and the task of a cell, and so its forget set."""
    old, new = record.key.get("outputs", {}), cell.outputs.key
    both = [(key.get("task"), key.get("original", {})) for key in (old, new)]
    parts = [(task, original.get("dataset"), original.get("recipe", {}).get("held_out")) for task, original in both]
    return canonical(parts[0]) == canonical(parts[1])
