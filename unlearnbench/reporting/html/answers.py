"""The answers at the top of a report: who is closest to Retrain, how far from it, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unlearnbench.errors import UserError
from unlearnbench.planning.presets import SECOND_RETRAIN
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.styles import Series
from unlearnbench.reporting.ranking import Ranking, rank_cells
from unlearnbench.reporting.rendering import Number

STABLE, LIKELY = 0.95, 0.75
"""The shares of resamples from which on a first place is called stable, or likely."""


@dataclass(frozen=True)
class Answer:
    """Who is closest to Retrain in a block.

    Attributes:
        block: The task and the data set.
        ranking: As `rank` gives it for this block alone; None where fewer than two methods can be ranked.
        why_not: Why there is no ranking.
    """

    block: Block
    ranking: Ranking | None
    why_not: str = ""

    @property
    def order(self) -> list[Series]:
        """The ranked methods, the closest first."""
        by_title = {series.title: series for series in self.block.methods}
        return [by_title[title] for title in self.ranking.methods] if self.ranking else []

    @property
    def best(self) -> Series:
        """The closest method."""
        return self.order[0]

    @property
    def closer(self) -> list[Series]:
        """What is closer than the closest method, and does not compete: variants, and networks made elsewhere."""
        known = {series.method for series in self.order}
        others = [series for series in self.block.methods if series.method not in known and not series.is_control]
        least = self.gap(self.best).mean
        return [one for one in others if one.method in self.block.gaps and self.gap(one).mean < least]

    def gap(self, series: Series) -> Number:
        """The gap of a method in percentage points."""
        return self.block.gaps[series.method]

    @property
    def chance(self) -> Number | None:
        """The gap of a second Retrain; None if there is none."""
        return self.block.gaps.get(SECOND_RETRAIN)

    @property
    def cost(self) -> float:
        """The cost of the closest method as a multiple of Retrain's; nan where unknown."""
        return self.block.costs.get(self.best.method, float("nan"))

    @property
    def sure(self) -> str:
        """How sure the first place is, in a word."""
        assert self.ranking is not None
        if self.ranking.seeds < 2:
            return "unknown"
        share = float(self.ranking.first[0])
        return "stable" if share >= STABLE else "likely" if share >= LIKELY else "open"

    @property
    def sure_because(self) -> str:
        """How sure the first place is, in a clause."""
        assert self.ranking is not None
        if self.ranking.seeds < 2:
            return "one seed cannot show it"
        share = f"{100 * self.ranking.first[0]:.0f} %"
        return f"first in {share} of {self.ranking.resampled}"


def answer_of(block: Block, results: Path) -> Answer:
    """The answer for a block."""
    try:
        return Answer(block, rank_cells([block.cells], block.cells.preset, results))
    except UserError as error:
        return Answer(block, None, str(error))
