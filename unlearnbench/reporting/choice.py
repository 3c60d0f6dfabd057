"""Which cells of a preset a table or a ranking shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from unlearnbench.errors import unknown
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.presets import REFERENCE, parse_seeds, several
from unlearnbench.plugins import objects
from unlearnbench.plugins.files import placed
from unlearnbench.plugins.plugin import Plugin


@dataclass(frozen=True)
class Choice:
    """The part of a preset's cells that is shown; an empty sequence chooses all.

    Attributes:
        datasets: Names of data sets.
        tasks: Names or labels of tasks.
        methods: Names or labels of methods; Retrain and the controls are always shown, because numbers are read
            relative to them.
        seeds: Seeds.
    """

    datasets: Sequence[str] = ()
    tasks: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        datasets: str | Sequence[str] = (),
        tasks: str | Sequence[str] = (),
        methods: str | Plugin | Sequence[str | Plugin] = (),
        seeds: str | int | Sequence[int] | None = None,
    ) -> Self:
        """Reads a choice as people write it.

        Args:
            datasets: One name or several; likewise the next two.
            tasks: Names or labels of tasks.
            methods: Names or labels of methods, FILE.py:FUNCTION, or methods themselves.
            seeds: Such as "0-4", 3 or [0, 2]; None: all.

        Raises:
            UserError: If seeds or a file are written wrongly.
        """
        names = [objects.name_of(method) for method in objects.several(methods)]
        names = [placed(name) if ":" in name else name for name in names]
        return cls(several(datasets), several(tasks), names, () if seeds is None else parse_seeds(seeds))

    def includes(self, cell: CellInfo) -> bool:
        """Whether a cell is shown."""
        return self.has_scenario(cell) and (always_shown(cell) or self.has_method(cell))

    def has_scenario(self, cell: CellInfo) -> bool:
        """Whether the data set, the task and the seed of a cell are chosen."""
        return (
            (not self.datasets or cell.dataset in self.datasets)
            and (not self.tasks or cell.task in self.tasks or cell.task_name in self.tasks)
            and (not self.seeds or cell.seed in self.seeds)
        )

    def has_method(self, cell: CellInfo) -> bool:
        """Whether the method of a cell is chosen by its name or its label."""
        return not self.methods or cell.method in self.methods or cell.method_name in self.methods

    def ranks(self, cell: CellInfo) -> bool:
        """Whether a method takes part in ranks, and in bold and underlined type.

        Methods and ablations do; variants and networks that were made elsewhere do if `methods` has their label.
        """
        if always_shown(cell):
            return False
        return cell.role in ("method", "ablation") or cell.method in self.methods

    def check(self, cells: Iterable[CellInfo]) -> None:
        """Checks that each name occurs.

        Args:
            cells: Those of all records.

        Raises:
            UserError: If a name or a seed is in no record.
        """
        known: dict[str, set[str]] = {"dataset": set(), "task": set(), "method": set(), "seed": set()}
        for cell in cells:
            known["dataset"].add(cell.dataset)
            known["task"] |= {cell.task, cell.task_name}
            known["method"] |= {cell.method, cell.method_name}
            known["seed"].add(str(cell.seed))
        for kind, names in zip(known, (self.datasets, self.tasks, self.methods, self.seeds), strict=True):
            for name in map(str, names):
                if name not in known[kind]:
                    raise unknown(f"{kind} in these records:", name, known[kind])


EVERYTHING = Choice()


def always_shown(cell: CellInfo) -> bool:
    """Whether a cell is Retrain's or a control's."""
    return cell.method == REFERENCE or cell.role == "control"
