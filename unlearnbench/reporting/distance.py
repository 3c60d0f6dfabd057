"""Distances of methods to Retrain: in metrics, and in outputs sample by sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.cells import Cells, Group, groups
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.noise_floor import floor
from unlearnbench.reporting.rendering import Number
from unlearnbench.statistics import Floats

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.reporting.outputs import Key, Outputs

PARTS = {"forget": "f", "retain": "r", "test": "t"}
HEADERS = {
    "gap": "Gap",
    "floors": "Floors",
    "tow": "ToW",
    **{f"jsd_{part}": f"JSD_{short}" for part, short in PARTS.items()},
    **{f"disagreement_{part}": f"Dis_{short}" for part, short in PARTS.items()},
}
IN_METRICS = ("gap", "floors", "tow")
"""The first of them, which need no outputs."""
NOTES = (
    "Gap: mean absolute difference to Retrain over the columns of the table, ASR included, in percentage points. "
    "Floors: the same with each difference in units of its noise floor, the root mean square over seeds of the "
    "difference between two Retrains, at least one sample; the second Retrain is just below 1; n/a without control "
    "`retrain-2`. ToW, tug of war (Zhao et al., NeurIPS 2024): (1 - |difference of Train_f|) (1 - |of Train_r|) "
    "(1 - |of Test|), in percent; Retrain has 100.",
    "JSD: Jensen-Shannon divergence between the class probabilities of a model and of Retrain with the same seed, in "
    "percent of one bit, averaged over the forget set (f), the retain set (r) and the test set (t). Dis: share of "
    "samples with different predicted classes, in percent. Two Retrains differ too: compare with `retrain-2`.",
)


def view(cells: Cells, outputs: Outputs) -> Grid:
    """The distances of each method to Retrain.

    Args:
        cells: What it shows.
        outputs: A cell without outputs has neither JSD nor disagreement; a note names it.
    """
    by_seed = by_records(cells.ok)
    missing: list[Key] = []
    for (dataset, seed), methods in in_scenarios(by_seed).items():
        reference = outputs.probabilities(dataset, REFERENCE, seed)
        if not reference:
            missing.append((dataset, REFERENCE, seed))
        for method in (method for method in methods if method != REFERENCE):
            own = outputs.probabilities(dataset, method, seed)
            if not own:
                missing.append((dataset, method, seed))
            elif reference:
                by_seed[dataset, method, seed] |= compared(own, reference)
    lines = list(rows(cells, by_seed))
    columns = [DATA, METHOD, *(Column(header, shown) for header in HEADERS.values())]
    headers = ["Data", "Method", *(f"{h}{end}" for h in HEADERS.values() for end in (" mean", " std", " n"))]
    tidy = [[*row[:2], *(value for n in row[2:] for value in (n.mean, n.deviation, n.n))] for row in lines]
    return Grid(
        f"{cells.title}: distance to Retrain",
        columns,
        lines,
        [*NOTES, *left_out(cells, by_seed, missing)],
        Data(headers, tidy),
    )


def in_metrics(cells: Cells) -> Grid:
    """The distances of each method to Retrain that need no outputs."""
    lines = [row[: 2 + len(IN_METRICS)] for row in rows(cells, by_records(cells.ok))]
    columns = [DATA, METHOD, *(Column(HEADERS[name], shown) for name in IN_METRICS)]
    return Grid(f"{cells.title}: distance to Retrain", columns, lines, NOTES[:1])


def left_out(cells: Cells, by_seed: Mapping[Key, object], missing: Collection[Key]) -> Iterator[str]:
    """Notes on the seeds that numbers leave out.

    Args:
        cells: What the table shows.
        by_seed: The cells with numbers.
        missing: Those of them without outputs.
    """
    alone: list[tuple[str, int]] = []
    without: list[tuple[str, int]] = []
    for group in groups(cells.ok):
        label = f"{group.dataset_title} {group.method_title}"
        for seed in sorted(group.cells["seed"]):
            key = group.dataset, group.method, int(seed)
            alone += [] if key in by_seed else [(label, seed)]
            without += [(label, seed)] if key in missing else []
    if alone:
        yield f"Left out, because Retrain lacks the seed: {by_label(alone)}."
    if without and len(missing) == len(by_seed):
        yield (
            "Neither JSD nor Dis: no outputs of these cells are in the cache. `merge --cache` copies those of other "
            "machines."
        )
    elif without:
        yield (
            f"JSD and Dis leave out cells whose outputs are not in the cache: {by_label(without)}. A seed without "
            "Retrain's outputs is left out for every method. `merge --cache` copies outputs of other machines."
        )


def by_label(cells: Sequence[tuple[str, int]]) -> str:
    """Cells in words, e.g. "DIGITS-8x8 LAF (seeds 0, 2)"."""
    seeds: dict[str, list[str]] = {}
    for label, seed in cells:
        seeds.setdefault(label, []).append(str(seed))
    return "; ".join(f"{label} (seed{'s' if len(of) > 1 else ''} {', '.join(of)})" for label, of in seeds.items())


def by_records(frame: pd.DataFrame) -> dict[Key, dict[str, float]]:
    """Gap, tug of war and gap in noise floors of each cell, from the metrics in records.

    Args:
        frame: Cells with numbers.

    Returns:
        By data set, method and seed; only where Retrain has the seed too.
    """
    by_seed: dict[Key, dict[str, float]] = {}
    for dataset, here in frame.groupby("dataset"):
        floors = {column: floor(here, column) for column in here["columns"].iloc[0]}
        seed: Any
        for seed, group in here.groupby("seed"):
            cells: Any = group.set_index("method").to_dict("index")
            if REFERENCE in cells:
                for method, cell in cells.items():
                    by_seed[str(dataset), method, int(seed)] = distances(cell, cells[REFERENCE], floors)
    return by_seed


def distances(
    cell: Mapping[str, Any], reference: Mapping[str, Any], floors: Mapping[str, float | None]
) -> dict[str, float]:
    """The distances of a cell to Retrain.

    Args:
        cell: Its metrics in [0, 1], and their names as "columns".
        reference: Those of Retrain.
        floors: The noise floor of each metric, if it is known.

    Returns:
        "gap" in percentage points, "tow" in percent, and "floors", the gap in noise floors, if these are known.
    """
    gaps = {column: abs(cell[column] - reference[column]) for column in cell["columns"]}
    pulls = [1 - abs(cell[column] - reference[column]) for column in ("train_f", "train_r", "test")]
    values = {"gap": 100 * float(np.mean(list(gaps.values()))), "tow": 100 * math.prod(pulls)}
    if all(floors[column] for column in gaps):
        values["floors"] = float(np.mean([gap / noise for column, gap in gaps.items() if (noise := floors[column])]))
    return values


def in_scenarios(keys: Mapping[Key, object]) -> dict[tuple[str, int], list[str]]:
    """The methods of each data set and seed."""
    scenarios: dict[tuple[str, int], list[str]] = {}
    for dataset, method, seed in keys:
        scenarios.setdefault((dataset, seed), []).append(method)
    return scenarios


def compared(own: Mapping[str, Floats], reference: Mapping[str, Floats]) -> dict[str, float]:
    """Mean divergence and disagreement, in percent, by part.

    Args:
        own: Class probabilities of a network by part, float64 [samples, classes].
        reference: Those of Retrain.
    """
    values = {}
    for part in PARTS:
        p, q = own[part], reference[part]
        values[f"jsd_{part}"] = 100 * float(jensen_shannon(p, q).mean())
        values[f"disagreement_{part}"] = 100 * float((p.argmax(1) != q.argmax(1)).mean())
    return values


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """The Jensen-Shannon divergence of the rows of p and q (Lin, IEEE Transactions on Information Theory 1991).

    Args:
        p: Probabilities, float64 [n, classes].
        q: Likewise.

    Returns:
        In bits, in [0, 1], float64 [n].
    """
    from scipy.special import rel_entr

    middle = (p + q) / 2
    total: Floats = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * math.log(2))
    return total


def rows(cells: Cells, by_seed: Mapping[Key, Mapping[str, float]]) -> Iterator[list[Any]]:
    """A row for each method on each data set: both titles, and a number for each header."""
    for group, numbers in by_method(cells, by_seed):
        yield [group.dataset_title, group.method_title, *numbers]


def by_method(cells: Cells, by_seed: Mapping[Key, Mapping[str, float]]) -> Iterator[tuple[Group, list[Number]]]:
    """The distances of each method but Retrain on each data set, in the order of `HEADERS`."""
    for group in groups(cells.ok):
        keys = [(group.dataset, group.method, seed) for seed in sorted(group.cells["seed"])]
        seeds = [by_seed[key] for key in keys if key in by_seed]
        if group.method != REFERENCE and seeds:
            yield group, [summary([values[name] for values in seeds if name in values]) for name in HEADERS]


def summary(values: Sequence[float]) -> Number:
    """Mean and sample standard deviation."""
    if not values:
        return Number()
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Number(float(np.mean(values)), deviation, len(values))


def shown(number: Number) -> str:
    """A number in a table."""
    if not number.n:
        return "n/a"
    return f"{number.mean:.2f}" + ("" if math.isnan(number.deviation) else f"±{number.deviation:.2f}")
