"""The outputs of a table's cells, from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearnbench.planning.plan import Cell
    from unlearnbench.statistics import Floats
    from unlearnbench.storage.store import Store

Key = tuple[str, str, int]
"""Data set, method, seed."""


@dataclass(frozen=True)
class Outputs:
    """Class probabilities of networks.

    Attributes:
        cells: The cells with outputs in the cache.
        store: The cache.
    """

    cells: Mapping[Key, Cell]
    store: Store

    @classmethod
    def of(cls, task: str, preset: str, results: Path, cache: str | Path | None, data: str | Path | None) -> Outputs:
        """The outputs of a preset's cells of a task that are in the cache.

        Args:
            task: The name of the task; there are none if it has other options than the preset's.
            preset: The name or the file of a preset.
            results: The folder of the records.
            cache: The folder of artefacts.
            data: The folder of data sets.
        """
        from unlearnbench.planning.selection import planned

        name, plus, _ = task.partition("+")
        plan = planned(preset, tasks=[name], results=results, cache=cache, data=data)
        cells = {
            (cell.scenario.dataset, cell.method, cell.scenario.seed): cell
            for cell in plan.cells
            if not plus and plan.store.has(cell.outputs.key)
        }
        return cls(cells, plan.store)

    def probabilities(self, dataset: str, method: str, seed: int) -> dict[str, Floats] | None:
        """The class probabilities of a network on the samples of each part, float64 [samples, classes].

        Returns:
            By part: "forget", "retain" and "test". None if the cell's outputs are not in the cache.
        """
        import torch

        from unlearnbench.artefacts.scenario import split_of

        cell = self.cells.get((dataset, method, seed))
        loaded = cell and self.store.load(cell.outputs.key)
        if not cell or not loaded:
            return None
        outputs, _ = loaded
        forget = split_of(cell.scenario, self.store).forget
        retained = torch.ones(len(outputs["train"]), dtype=torch.bool)
        retained[forget] = False
        parts = {"forget": outputs["train"][forget], "retain": outputs["train"][retained], "test": outputs["test"]}
        return {part: logits.double().softmax(1).numpy() for part, logits in parts.items()}
