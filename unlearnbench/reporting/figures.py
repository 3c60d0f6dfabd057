"""The figures for papers, by name: which drawings each consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnbench.errors import UserError
from unlearnbench.planning.presets import Preset
from unlearnbench.reporting import absent
from unlearnbench.reporting.block import Block, blocks_of, drawn_methods
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.charts import ranks, representation, roc, sensitivity, tradeoff
from unlearnbench.reporting.charts.drawing import Drawing
from unlearnbench.reporting.charts.styles import Series
from unlearnbench.reporting.choice import always_shown
from unlearnbench.reporting.numbering import ABLATIONS
from unlearnbench.reporting.ranking import rank_cells


@dataclass(frozen=True)
class Source:
    """What a figure is drawn from.

    Attributes:
        tables: The chosen cells.
        preset: Whose.
        results: The folder of the records.
        seed: Of maps.
    """

    tables: Sequence[Cells]
    preset: Preset
    results: Path
    seed: int = 0

    @property
    def series(self) -> dict[str, Series]:
        """How each method is drawn."""
        return drawn_methods(self.tables)

    @property
    def blocks(self) -> list[Block]:
        """The tasks and data sets, without the tables of ablations unless there are no others."""
        main = [cells for cells in self.tables if cells.number not in ABLATIONS] or self.tables
        return list(blocks_of(main, self.series))


Named = tuple[str, Drawing]
"""The rest of the name of a file, and the drawing in it."""


def tradeoffs(source: Source) -> Iterator[Named]:
    """Forgetting against utility, one for each block."""
    yield from ((place(block), tradeoff.chart(block)) for block in source.blocks if block.paired)


def rocs(source: Source) -> Iterator[Named]:
    """ROC curves of the shadow attack, one for each block."""
    yield from ((place(block), drawing) for block in source.blocks if (drawing := roc.chart(block)))


def rankings(source: Source) -> Iterator[Named]:
    """The critical-difference diagram over all blocks."""
    yield "", ranks.diagram(rank_cells(source.tables, source.preset, source.results))


def representations(source: Source) -> Iterator[Named]:
    """Maps of the original, of the chosen methods and of Retrain, one for each block."""
    for block in source.blocks:
        methods = [r.cell.method for r in block.cells.records if not always_shown(r.cell)]
        if drawing := representation.chart(block, list(dict.fromkeys(methods)), source.seed):
            yield f"{place(block)}-{source.seed}", drawing


def sensitivities(source: Source) -> Iterator[Named]:
    """The gap against each hyperparameter that has several values, one for each block."""
    for block in source.blocks:
        for method in dict.fromkeys(record.cell.method_name for record in block.cells.records):
            for name, labels in sensitivity.swept(block, method).items():
                yield f"{place(block)}-{method}-{name}", sensitivity.chart(block, method, name, labels)


FIGURES: Mapping[str, tuple[Callable[[Source], Iterator[Named]], str]] = {
    "representation": (
        representations,
        "no record has a map of this seed: run `unlearnbench measure --features` first",
    ),
    "tradeoff": (tradeoffs, "no record has numbers beside those of Retrain: run `unlearnbench run` first"),
    "roc": (rocs, "no record has a ROC curve, because all are of an older version: run `unlearnbench measure` first"),
    "ranks": (rankings, ""),
    "sensitivity": (
        sensitivities,
        "no method has records with several values of a hyperparameter: run `unlearnbench run --sweep laf.tau=5,20`",
    ),
}
"""The figures by name, each with what to do if the records lack what it shows."""


def place(block: Block) -> str:
    """A block in the name of a file."""
    return f"-{block.cells.task}-{block.dataset}"


def drawings(name: str, source: Source) -> list[Named]:
    """The drawings of a figure.

    Raises:
        UserError: If the records lack what it shows.
    """
    function, hint = FIGURES[name]
    found = list(function(source))
    if not found:
        records = [record for cells in source.tables for record in cells.records]
        raise UserError(absent.stale_message(records) or hint)
    return found
