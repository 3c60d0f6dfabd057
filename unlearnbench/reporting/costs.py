"""What methods cost beside training again: passes over the training set, and seconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.planning import presets
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting import rendering
from unlearnbench.reporting.tables import numbered_frames, position, titled

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("prepare", "unlearn")
NOTES = (
    "An ep is one pass, forward and backward, over the training set; a forward pass alone is a third. Methods declare "
    "their ep; seconds are measured, on whatever machine made the records, and are means over seeds.",
    "Prepare is what can be done before anybody asks to be forgotten. Work that is shared or kept from an earlier run, "
    "also that of a method from which another one starts, is charged in full to everyone who uses it.",
    "Beside Retrain: both phases together, divided by those of Retrain.",
)


def costs(
    number: int | str,
    preset: str = "demo",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    accept_stale: bool = False,
) -> str:
    """The costs of the methods of one of the paper's tables.

    Args:
        number: As in `table`, likewise the others.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        accept_stale: As in `table`.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    rendering.style_of(format)
    frame = numbered_frames(number, preset, Path(results), accept_stale)[0]
    lines = [line for _, group in frame[frame["status"] == "ok"].groupby("dataset") for line in rows(group)]
    headers = ["Data", "Method"]
    for unit in ("ep", "s"):
        headers += [*(f"{phase} ({unit})" for phase in PHASES), f"beside Retrain ({unit})"]
    if format == "csv":
        return rendering.plain_csv(headers, lines)
    title = f"{titled(number, frame, presets.read(preset))}: what it costs"
    return rendering.grid(title, headers, [[shown(value) for value in line] for line in lines], NOTES, format)


def rows(group: pd.DataFrame) -> list[list[str | float]]:
    """A line for each method on one data set, in the order of tables."""
    names = [f"{unit}_{phase}" for unit in ("ep", "seconds") for phase in PHASES]
    means: Any = group.reindex(columns=["method", *names]).groupby("method").mean().to_dict("index")
    about: Any = group.drop_duplicates("method").set_index("method").to_dict("index")
    found = []
    for method in sorted(means, key=lambda name: position(name, about[name]["role"])):
        line: list[str | float] = [about[method]["dataset_title"], about[method]["method_title"]]
        for unit in ("ep", "seconds"):
            spent = [means[method][f"{unit}_{phase}"] for phase in PHASES]
            again = [means[REFERENCE][f"{unit}_{phase}"] for phase in PHASES] if REFERENCE in means else [math.nan]
            line += [*spent, sum(spent) / sum(again)]
        found.append(line)
    return found


def shown(value: str | float) -> str:
    """A value in a table."""
    return value if isinstance(value, str) else "-" if math.isnan(value) else f"{value:.2f}"
