"""How fast methods relearn forgotten samples, beside Retrain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from unlearnbench.artefacts.relearning_rule import BACK, RETAIN_EPOCHS, SAMPLES
from unlearnbench.errors import UserError, counted
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.cells import Cells, groups
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.01
"""In steps: added to both sides of the ratio, which is then finite if Retrain needs no step (Chundawat et al.)."""


class Row(NamedTuple):
    """A method on a data set: titles, number of seeds, steps, and percentages."""

    dataset: str
    method: str
    seeds: int
    steps: float
    not_back: float
    before: float
    after: float
    anamnesis: float
    retain: float


def view(cells: Cells) -> Grid:
    """The number of steps in which each method relearns.

    Raises:
        UserError: If no cell was measured.
    """
    frame = cells.ok
    if "relearning.limit" not in frame or frame["relearning.limit"].isna().all():
        preset = cells.preset.source
        raise UserError(f"no record has relearning: run `unlearnbench measure --relearn --preset {preset}`")
    columns = [DATA, METHOD, Column("n")]
    columns += [Column(header, shown) for header in ("Steps", "Not back", "Before", "After", "AIN", "Retain")]
    lines = list(rows(frame[frame["relearning.limit"].notna()]))
    return Grid(f"{cells.title}: relearning", columns, lines, list(notes(frame)))


def rows(frame: pd.DataFrame) -> Iterator[Row]:
    """A row for each method on each data set, from cells that were measured."""
    frame = frame.assign(steps=frame["relearning.steps"].astype(float).fillna(frame["relearning.limit"]))
    for group in groups(frame):
        around = frame[frame["dataset"] == group.dataset]
        again = around[around["method"] == REFERENCE].set_index("seed")["steps"]
        cells = group.cells.set_index("seed")
        never = cells["relearning.steps"].isna()
        theirs = again.reindex(cells.index)
        neither = never.all() and (theirs >= around["relearning.limit"].max()).all()
        tells = theirs.mean() > 0 and not neither
        yield Row(
            dataset=group.dataset_title,
            method=group.method_title,
            seeds=len(cells),
            steps=float(cells["steps"].mean()),
            not_back=100 * float(never.mean()),
            before=100 * float(cells["relearning.before"].mean()),
            after=100 * float(cells["relearning.after"].mean()),
            anamnesis=float((cells["steps"].mean() + SHARE) / (theirs.mean() + SHARE)) if tells else math.nan,
            retain=100 * float(cells["relearning.retain"].mean()) if "relearning.retain" in cells else math.nan,
        )


def shown(value: float) -> str:
    """A number in a table."""
    return "-" if math.isnan(value) else f"{value:.1f}"


def notes(frame: pd.DataFrame) -> Iterator[str]:
    """What these numbers are."""
    limit = int(frame["relearning.limit"].max())
    yield (
        f"Each model is trained on up to {SAMPLES} forgotten samples: {limit} steps on the same batch with the "
        f"recipe's optimiser. Steps: until its accuracy on other forgotten samples is {BACK:.0%} of the original's; "
        f"{limit} if it never is. Not back: share of seeds with which it never is. Before, After: that accuracy before "
        "the first and after the last step. Means over n seeds; shares and accuracies in percent."
    )
    yield (
        "AIN, anamnesis index (Chundawat et al., TIFS 2023), in steps: (Steps + 0.01) / (Retrain's + 0.01). 1 is like "
        "Retrain; far below 1, the forget set was only hidden. None where Retrain needs no step or neither relearns."
    )
    yield (
        f"Retain: that accuracy after {counted(RETAIN_EPOCHS, 'epoch')} on the retain set alone instead. Above "
        "Retrain's, the network knew forgotten samples better than it showed (Siddiqui et al., 2025)."
    )
