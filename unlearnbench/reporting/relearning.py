"""How soon methods know again what they have forgotten, as a table beside Retrain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.artefacts.relearning_rule import BACK, SAMPLES
from unlearnbench.errors import UserError
from unlearnbench.planning import presets
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting import rendering
from unlearnbench.reporting.tables import numbered_frames, position, titled

if TYPE_CHECKING:
    import pandas as pd

HEADERS = ("Data", "Method", "n", "Steps", "Not back", "Before", "After", "AIN")
SHARE = 0.01
"""What keeps the ratio finite where Retrain needs no step, as in the measure's definition."""


def recovery(
    number: int | str,
    preset: str = "demo",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    accept_stale: bool = False,
) -> str:
    """How soon the methods of one of the paper's tables learn again.

    Args:
        number: As in `table`, likewise the others.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        accept_stale: As in `table`.

    Raises:
        UserError: If a name is wrong, or nothing was measured.
    """
    rendering.style_of(format)
    frame = numbered_frames(number, preset, Path(results), accept_stale)[0]
    frame = frame[frame["status"] == "ok"]
    if "relearning.limit" not in frame or frame["relearning.limit"].isna().all():
        raise UserError(f"nothing has learned again yet: run `unlearnbench measure --relearn --preset {preset}`")
    lines = list(rows(frame[frame["relearning.limit"].notna()]))
    if format == "csv":
        return rendering.plain_csv(HEADERS, lines)
    shown = [[*line[:3], *("-" if math.isnan(v) else f"{v:.1f}" for v in line[3:])] for line in lines]
    title = f"{titled(number, frame, presets.read(preset))}: learning again"
    return rendering.grid(title, HEADERS, [[str(v) for v in line] for line in shown], notes(frame), format)


def rows(frame: pd.DataFrame) -> Iterator[tuple[str, str, int, float, float, float, float, float]]:
    """A line for each method on each data set, in the order of tables."""
    frame = frame.assign(steps=frame["relearning.steps"].astype(float).fillna(frame["relearning.limit"]))
    for _, group in frame.groupby("dataset"):
        about = group.drop_duplicates("method").set_index("method")
        limit = group["relearning.limit"].max()
        again = group[group["method"] == REFERENCE].set_index("seed")["steps"]
        for method in sorted(about.index, key=lambda name: position(name, str(about.loc[name, "role"]))):
            cells = group[group["method"] == method].set_index("seed")
            theirs = again.reindex(cells.index)
            told = theirs.mean() > 0 and not (cells["relearning.steps"].isna().all() and (theirs >= limit).all())
            ratio = (cells["steps"].mean() + SHARE) / (theirs.mean() + SHARE) if told else math.nan
            yield (
                str(cells["dataset_title"].iloc[0]),
                str(cells["method_title"].iloc[0]),
                len(cells),
                float(cells["steps"].mean()),
                100 * float(cells["relearning.steps"].isna().mean()),
                100 * float(cells["relearning.before"].mean()),
                100 * float(cells["relearning.after"].mean()),
                float(ratio),
            )


def notes(frame: pd.DataFrame) -> Iterator[str]:
    """What these numbers mean."""
    limit = int(frame["relearning.limit"].max())
    yield (
        f"Each network is trained on at most {SAMPLES} forgotten items, {limit} steps with one and the same batch and "
        f"the recipe's optimiser. Steps: until it knows {BACK:.0%} of what the original knew of the other forgotten "
        f"items; {limit} is charged where it does not get there, and Not back is the share of seeds of which that is "
        "true. Before and After: accuracy on these others before the first and after the last step. Means over n "
        "seeds, in percent."
    )
    yield (
        "AIN (anamnesis index; Chundawat et al., TIFS 2023), in steps: (Steps + 0.01) / (Retrain's + 0.01). 1 is "
        "like Retrain; far below, what was forgotten was only hidden. None where Retrain needs no step, or where "
        "neither gets there: this says nothing."
    )
