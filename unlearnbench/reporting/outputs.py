"""The outputs of a table's cells, from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.planning.cell_info import plugin_name
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.storage.keys import differences

if TYPE_CHECKING:
    from unlearnbench.artefacts.scenario import Scenario
    from unlearnbench.planning.selection import Workspace
    from unlearnbench.reporting.cells import Cells
    from unlearnbench.statistics import Floats

Key = tuple[str, str, int]
"""Data set, method, seed."""
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
        scenarios: The scenario of each data set and seed.
        workspace: Where they are.
    """

    keys: Mapping[Key, Mapping[str, Any]]
    scenarios: Mapping[tuple[str, int], Scenario]
    workspace: Workspace

    @classmethod
    def of(cls, cells: Cells, workspace: Workspace) -> Outputs:
        """The outputs of a table's cells that are in the cache.

        Args:
            cells: The cells; there are no outputs if their task has other options than the preset's.
            workspace: Where they are.

        Raises:
            UserError: If the preset's cells cannot be planned.
        """
        from unlearnbench.planning.cells import planned
        from unlearnbench.planning.selection import Selection

        shown = [record for record in cells.records if record.ok]
        seeds = sorted({record.cell.seed for record in shown}) or None
        selection = Selection.of(cells.preset.source, tasks=plugin_name(cells.task), methods=REFERENCE, seeds=seeds)
        retrains = {(one.scenario.dataset, one.scenario.seed): one for one in planned(selection, workspace).cells}
        keys = {}
        for record in shown:
            retrain, key = retrains.get((record.cell.dataset, record.cell.seed)), record.key.get("outputs", {})
            if retrain and same_data(key, retrain.outputs.key) and workspace.store.has(key):
                keys[record.cell.dataset, record.cell.method, record.cell.seed] = key
        return cls(keys, {place: cell.scenario for place, cell in retrains.items()}, workspace)

    def parts(self, dataset: str, method: str, seed: int) -> Parts | None:
        """The outputs of a network by part; None if they are not in the cache."""
        import torch

        from unlearnbench.artefacts.scenario import content_of, split_of

        key = self.keys.get((dataset, method, seed))
        loaded = self.workspace.store.load(key) if key else None
        if loaded is None:
            return None
        logits, _ = loaded
        scenario, datasets = self.scenarios[dataset, seed], self.workspace.datasets
        content, split = content_of(scenario, datasets), split_of(scenario, datasets)
        forgotten = torch.zeros(len(content.train_labels), dtype=torch.bool)
        forgotten[split.forget] = True
        trained, true = split.labels(content).numpy(), content.train_labels.numpy()
        train, test = logits["train"].double().numpy(), logits["test"].double().numpy()

        def part(mask: torch.Tensor) -> Part:
            index = mask.nonzero()[:, 0].numpy()
            return Part(index, train[index], trained[index], true[index])

        of_test = content.test_labels.numpy()
        return {
            "forget": part(forgotten),
            "retain": part(~forgotten),
            "test": Part(np.arange(len(of_test)), test, of_test, of_test),
        }


def same_data(key: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether outputs with these keys are those on the same samples, divided in the same way."""
    one, two = (
        [each.get("task"), *(each.get("original", {}).get(name) for name in ("dataset", "labels"))]
        for each in (key, other)
    )
    return not differences(one, two)
