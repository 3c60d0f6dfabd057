"""The outputs of a table's cells, from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearnbench.planning.cell_info import plugin_name

if TYPE_CHECKING:
    from unlearnbench.planning.plan import Cell
    from unlearnbench.planning.selection import Workspace
    from unlearnbench.statistics import Floats

Key = tuple[str, str, int]
"""Data set, method, seed."""


@dataclass(frozen=True)
class Outputs:
    """Class probabilities of networks.

    Attributes:
        cells: The cells with outputs in the cache.
        workspace: Where these are.
    """

    cells: Mapping[Key, Cell]
    workspace: Workspace

    @classmethod
    def of(cls, preset: str, task: str, workspace: Workspace) -> Outputs:
        """The outputs of a preset's cells of a task that are in the cache.

        Args:
            preset: The name or the file of a preset.
            task: The name of the task; there are none if it has other options than the preset's.
            workspace: Where they are.

        Raises:
            UserError: If the cells cannot be planned.
        """
        from unlearnbench.planning.cells import planned
        from unlearnbench.planning.selection import Selection

        plan = planned(Selection.of(preset, tasks=[plugin_name(task)]), workspace)
        cells = {
            (cell.scenario.dataset, cell.method, cell.scenario.seed): cell
            for cell in plan.cells
            if task == plugin_name(task) and workspace.store.has(cell.outputs.key)
        }
        return cls(cells, workspace)

    def probabilities(self, dataset: str, method: str, seed: int) -> dict[str, Floats] | None:
        """The class probabilities of a network on the samples of each part, float64 [samples, classes].

        Returns:
            By part: "forget", "retain" and "test". None if the cell's outputs are not in the cache.
        """
        import torch

        from unlearnbench.artefacts.scenario import split_of

        cell = self.cells.get((dataset, method, seed))
        loaded = cell and self.workspace.store.load(cell.outputs.key)
        if not cell or not loaded:
            return None
        outputs, _ = loaded
        forget = split_of(cell.scenario, self.workspace.datasets).forgotten
        retained = torch.ones(len(outputs["train"]), dtype=torch.bool)
        retained[forget] = False
        parts = {"forget": outputs["train"][forget], "retain": outputs["train"][retained], "test": outputs["test"]}
        return {part: logits.double().softmax(1).numpy() for part, logits in parts.items()}
