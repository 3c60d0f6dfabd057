"""How far a method is from Retrain: in its numbers, and in what it answers on each item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.planning import presets
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting import rendering
from unlearnbench.reporting.noise_floor import floor
from unlearnbench.reporting.rendering import Number
from unlearnbench.reporting.tables import numbered_frames, position, task_of, titled
from unlearnbench.statistics import Floats

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.planning.plan import Cell, Plan

PARTS = {"forget": "f", "retain": "r", "test": "t"}
HEADERS = {
    "gap": "Gap",
    "floors": "Floors",
    "tow": "ToW",
    **{f"jsd_{part}": f"JSD_{short}" for part, short in PARTS.items()},
    **{f"disagreement_{part}": f"Dis_{short}" for part, short in PARTS.items()},
}
NOTES = (
    "Gap: mean absolute difference to Retrain over the columns of the table, ASR included, in percentage points. ToW, "
    "tug of war (Zhao et al., NeurIPS 2024): (1 - |difference of Train_f|) (1 - |of Train_r|) (1 - |of Test|), in "
    "percent; 100 is Retrain. Floors: the mean over columns of the same differences, each in units of its noise floor, "
    "which is what a second Retrain differs by (root mean square over seeds, at least one item); that one itself has "
    "just below 1. n/a unless control `retrain-2` was run.",
    "JSD: Jensen-Shannon divergence between the class probabilities of a network and of Retrain with the same seed, in "
    "percent of one bit, averaged over forgotten (f), remaining (r) and test items (t). Dis: share of items on which "
    "they choose different classes. Two Retrains differ, too: compare with the control, if it was run.",
)


def distances(
    number: int | str,
    preset: str = "demo",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - as in `table`
    cache: str | Path | None = None,
    data: str | Path | None = None,
    accept_stale: bool = False,
) -> str:
    """The distances to Retrain of the methods of one of the paper's tables.

    Args:
        number: As in `table`, likewise the next three.
        preset: Whose results.
        results: The folder of the records.
        format: "markdown", "latex", "csv" or "terminal".
        cache: Folder of artefacts; where it lacks outputs, there are no JSD and disagreement.
        data: Folder with the data sets' files.
        accept_stale: As in `table`.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    rendering.style_of(format)
    frame = numbered_frames(number, preset, Path(results), accept_stale)[0]
    frame = frame[frame["status"] == "ok"]
    found = by_records(frame)
    for key, values in by_outputs(number, preset, results, cache, data).items():
        if key in found:
            found[key] |= values
    lines = list(rows(frame, found))
    if format == "csv":
        headers = ["Data", "Method", *(f"{h}{end}" for h in HEADERS.values() for end in (" mean", " std", " n"))]
        unrounded = ([place, title, *(v for n in ns for v in (n.mean, n.deviation, n.n))] for place, title, ns in lines)
        return rendering.plain_csv(headers, unrounded)
    title = f"{titled(number, frame, presets.read(preset))}: distance to Retrain"
    shown = [[place, name, *(shown_as(n) for n in numbers)] for place, name, numbers in lines]
    return rendering.grid(title, ["Data", "Method", *HEADERS.values()], shown, NOTES, format)


Key = tuple[str, str, int]
"""Data set, method, seed."""


def by_records(frame: pd.DataFrame) -> dict[Key, dict[str, float]]:
    """Gap and tug of war, from the numbers of the tables."""
    found: dict[Key, dict[str, float]] = {}
    names: Any
    floors = {
        (str(dataset), column): floor(group, column)
        for dataset, group in frame.groupby("dataset")
        for column in group["columns"].iloc[0]
    }
    for names, group in frame.groupby(["dataset", "seed"]):
        cells: Any = group.set_index("method").to_dict("index")
        reference = cells.get(REFERENCE)
        if reference is None:
            continue
        for method, cell in cells.items():
            gaps = {column: abs(cell[column] - reference[column]) for column in cell["columns"]}
            units = [(gap, floors[str(names[0]), column]) for column, gap in gaps.items()]
            pulls = [1 - abs(cell[column] - reference[column]) for column in ("train_f", "train_r", "test")]
            found[str(names[0]), method, int(names[1])] = {
                "gap": 100 * float(np.mean(list(gaps.values()))),
                "tow": 100 * math.prod(pulls),
            }
            if all(noise for _, noise in units):
                in_floors = [gap / noise for gap, noise in units if noise]
                found[str(names[0]), method, int(names[1])]["floors"] = float(np.mean(in_floors))
    return found


def by_outputs(
    number: int | str, preset: str, results: str | Path, cache: str | Path | None, data: str | Path | None
) -> dict[Key, dict[str, float]]:
    """Divergence and disagreement, item by item, where the outputs of both are in the cache."""
    from unlearnbench.planning.cells import planned
    from unlearnbench.planning.selection import Selection, Workspace

    plan = planned(Selection.of(preset, tasks=[task_of(number)]), Workspace.of(results, cache, data))
    cells: dict[tuple[str, int], dict[str, Cell]] = {}
    for cell in plan.cells:
        if plan.store.has(cell.outputs.key):
            cells.setdefault((cell.scenario.dataset, cell.scenario.seed), {})[cell.method] = cell
    found: dict[Key, dict[str, float]] = {}
    for (dataset, seed), group in cells.items():
        if REFERENCE in group:
            reference = answers(plan, group[REFERENCE])
            for method, cell in group.items():
                found[dataset, method, seed] = compared(answers(plan, cell), reference)
    return found


def answers(plan: Plan, cell: Cell) -> dict[str, Floats]:
    """The class probabilities of a cell's network, by part."""
    import torch

    from unlearnbench.artefacts.scenario import split_of

    loaded = plan.store.load(cell.outputs.key)
    assert loaded is not None
    outputs, _ = loaded
    split = split_of(cell.scenario, plan.workspace.datasets)
    remains = torch.ones(len(outputs["train"]), dtype=torch.bool)
    remains[split.forget] = False
    parts = {"forget": outputs["train"][split.forget], "retain": outputs["train"][remains], "test": outputs["test"]}
    return {part: logits.double().softmax(1).numpy() for part, logits in parts.items()}


def compared(mine: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> dict[str, float]:
    """Mean divergence and disagreement, in percent, by part."""
    found = {}
    for part in PARTS:
        p, q = mine[part], theirs[part]
        found[f"jsd_{part}"] = 100 * float(jensen_shannon(p, q).mean())
        found[f"disagreement_{part}"] = 100 * float((p.argmax(1) != q.argmax(1)).mean())
    return found


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """The divergence of each row of p and q (float64 [n, classes]) in bits, 0 to 1."""
    from scipy.special import rel_entr

    middle = (p + q) / 2
    total: Floats = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * math.log(2))
    return total


def rows(frame: pd.DataFrame, found: Mapping[Key, Mapping[str, float]]) -> Iterator[tuple[str, str, list[Number]]]:
    """A line for each method on each data set, in the order of tables."""
    first = frame.drop_duplicates(["dataset", "method"])
    about: Any = first.set_index(["dataset", "method"]).to_dict("index")
    for dataset, method in sorted(about, key=lambda key: (key[0], position(key[1], about[key]["role"]))):
        cells = [values for (d, m, _), values in found.items() if (d, m) == (dataset, method)]
        if method != REFERENCE and cells:
            numbers = [summary([cell[name] for cell in cells if name in cell]) for name in HEADERS]
            yield about[dataset, method]["dataset_title"], about[dataset, method]["method_title"], numbers


def summary(values: Sequence[float]) -> Number:
    """Mean and sample standard deviation."""
    if not values:
        return Number()
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Number(float(np.mean(values)), deviation, len(values))


def shown_as(number: Number) -> str:
    """A number in a table."""
    if not number.n:
        return "n/a"
    return f"{number.mean:.2f}" + ("" if math.isnan(number.deviation) else f"±{number.deviation:.2f}")
