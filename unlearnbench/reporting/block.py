"""A block, a task on a data set, as charts show it: the numbers of its tables by method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from unlearnbench.artefacts.relearning_rule import RELEARNING
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import CLEAN, COLUMNS
from unlearnbench.reporting import cost, distance, paired, relearning
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.charts.styles import Series, series_of
from unlearnbench.reporting.noise_floor import differences
from unlearnbench.reporting.paired import Difference
from unlearnbench.reporting.record import Curve, Record
from unlearnbench.reporting.rendering import Number

if TYPE_CHECKING:
    import pandas as pd

BESIDE_RETRAIN = 2
"""The position of the cost in ep beside Retrain among the columns of view `cost`."""
GAP, FLOORS = (list(distance.HEADERS).index(name) for name in ("gap", "floors"))
"""The positions of the gap, in points and in noise floors, among the columns of view `distance`."""


@dataclass(frozen=True)
class Block:
    """The cells of a task on a data set; every number in it is one of `table`'s.

    Attributes:
        cells: Of this data set only.
        series: How each method is drawn, by label.
    """

    cells: Cells
    series: Mapping[str, Series]

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.cells.records[0].cell.dataset

    @property
    def title(self) -> str:
        """Titles of task and data set."""
        cell = self.cells.records[0].cell
        return f"{self.cells.task_title} on {cell.dataset_title}"

    @property
    def methods(self) -> list[Series]:
        """The methods with numbers, in the order of tables."""
        present = {record.cell.method for record in self.cells.records if record.ok}
        return [series for method, series in self.series.items() if method in present]

    @property
    def utility(self) -> str:
        """The column that says how useful the networks are."""
        return "test_r" if "test_r" in self.cells.columns else "test"

    @property
    def forgetting(self) -> str:
        """The column that says what of the forget set the networks know."""
        return "train_f" if "train_f" in self.cells.columns else "test_f"

    @cached_property
    def paired(self) -> dict[str, dict[str, Difference | None]]:
        """Differences to Retrain by method and metric, as in `table --paired`."""
        columns = self.cells.columns
        return {group.method: dict(zip(columns, row, strict=True)) for group, row in paired.by_method(self.cells)}

    def seeds(self, method: str, column: str) -> dict[int, float]:
        """The differences to Retrain of single seeds, in percentage points."""
        table = self.differences[column]
        found: pd.Series[float] | dict[int, float] = table[method].dropna() if method in table else {}
        return {int(str(seed)): 100 * float(value) for seed, value in found.items()}

    def noise_floor(self, column: str) -> float | None:
        """The noise floor of a metric in percentage points; None without a second Retrain."""
        return next((d.floor for by_metric in self.paired.values() if (d := by_metric[column])), None)

    @cached_property
    def differences(self) -> dict[str, pd.DataFrame]:
        """Differences to Retrain with the same seed, by metric: seeds by methods."""
        return {column: differences(self.cells.ok, column) for column in self.cells.columns}

    @cached_property
    def gaps(self) -> dict[str, Number]:
        """Gaps by method in percentage points, as in `table --distance`."""
        return {method: row[GAP] for method, row in self.distances.items()}

    @cached_property
    def floors(self) -> dict[str, Number]:
        """Gaps by method in noise floors, likewise; `n` is 0 without a second Retrain."""
        return {method: row[FLOORS] for method, row in self.distances.items()}

    @cached_property
    def distances(self) -> dict[str, list[Number]]:
        """Rows of view `distance` by method, without those columns that need outputs."""
        return {group.method: row for group, row in distance.by_method(self.cells, self.by_seed)}

    @cached_property
    def by_seed(self) -> dict[tuple[str, str, int], dict[str, float]]:
        """Distances of single cells, by data set, method and seed."""
        return distance.by_records(self.cells.ok)

    def seed_gaps(self, method: str) -> dict[int, float]:
        """The gaps of single seeds, in percentage points."""
        found = {seed: values["gap"] for (_, name, seed), values in self.by_seed.items() if name == method}
        return dict(sorted(found.items()))

    @cached_property
    def costs(self) -> dict[str, float]:
        """Costs by method as multiples of Retrain's, in ep, as in `table --cost`; nan where unknown."""
        return {group.method: row[BESIDE_RETRAIN] for group, row in cost.by_method(self.cells)}

    @cached_property
    def relearning(self) -> dict[str, relearning.Row]:
        """Relearning by title of the method, as in `table --relearning`; empty if nothing was measured."""
        frame = self.cells.ok
        if f"{RELEARNING}.limit" not in frame:
            return {}
        return {row.method: row for row in relearning.rows(frame[frame[f"{RELEARNING}.limit"].notna()])}

    def curves(self, attack: str = CLEAN.attack) -> dict[str, dict[int, Curve]]:
        """ROC curves of an attack by method and seed; old records have none."""
        found: dict[str, dict[int, Curve]] = {}
        for record in self.cells.records:
            if record.ok and (curve := record.curves.get(attack)):
                found.setdefault(record.cell.method, {})[record.cell.seed] = curve
        return {method: found[method] for method in self.series if method in found}

    def records(self, method: str) -> list[Record]:
        """The records of a method by seed."""
        return sorted((r for r in self.cells.records if r.cell.method == method), key=lambda r: r.cell.seed)


def blocks_of(tables: Iterable[Cells], series: Mapping[str, Series]) -> Iterator[Block]:
    """The blocks of tables, in their order."""
    for cells in tables:
        for dataset in dict.fromkeys(record.cell.dataset for record in cells.records):
            yield Block(cells.of_dataset(dataset), series)


def drawn_methods(tables: Sequence[Cells]) -> dict[str, Series]:
    """How each method of some tables is drawn."""
    infos = [record.cell for cells in tables for record in cells.records]
    return series_of((info.method, info.method_title, info.role) for info in infos)


def retrain_of(block: Block) -> Series | None:
    """Retrain, if it has numbers."""
    return next((series for series in block.methods if series.method == REFERENCE), None)


def column_title(column: str) -> str:
    """The name of a metric in tables."""
    return COLUMNS.get(column, column)
