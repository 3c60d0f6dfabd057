"""Distances of methods to Retrain: in metrics, and in outputs sample by sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.cells import Cells, Group, groups
from unlearnbench.reporting.degenerate import of_attack
from unlearnbench.reporting.grid import DATA, METHOD, Column, Data, Grid
from unlearnbench.reporting.noise_floor import floor
from unlearnbench.reporting.outputs import PARTS, Key, Outputs
from unlearnbench.reporting.rendering import Number
from unlearnbench.reporting.samplewise import CONFUSED, FEWEST, LEAST, Comparison, comparison

if TYPE_CHECKING:
    import pandas as pd

HEADERS = {
    "gap": "Gap",
    "floors": "Floors",
    "tow": "ToW",
    **{f"jsd_{part}": f"JSD_{short}" for part, short in PARTS.items()},
    **{f"disagreement_{part}": f"Dis_{short}" for part, short in PARTS.items()},
    **{f"activation_{part}": f"Act_{short}" for part, short in PARTS.items()},
    **{f"klom_{part}": f"KLOM_{short}" for part, short in PARTS.items()},
    "zrf": "ZRF",
    **{f"confusion_{part}": f"Conf_{PARTS[part]}" for part in CONFUSED},
}
IN_METRICS = ("gap", "floors", "tow")
"""The first of them, which need no outputs."""
SOMETIMES = ("zrf", *(f"confusion_{part}" for part in CONFUSED))
"""The last of them, which are no columns of a table in which no method has them."""
NOTES = (
    "Gap: mean absolute difference to Retrain over the columns of the table, ASR included, in percentage points. "
    "Floors: the same with each difference in units of its noise floor, the root mean square over seeds of the "
    "difference between two Retrains, at least one sample; the second Retrain is just below 1; n/a without control "
    "`retrain-2`. ToW, tug of war (Zhao et al., NeurIPS 2024): (1 - |difference of Train_f|) (1 - |of Train_r|) "
    "(1 - |of Test|), in percent; Retrain has 100.",
    "JSD: Jensen-Shannon divergence between the class probabilities of a model and of Retrain with the same seed, in "
    "percent of one bit, averaged over the forget set (f), the retain set (r) and the test set (t). Dis: share of "
    "samples with different predicted classes, in percent. Act, activation distance (Chundawat et al., AAAI 2023): "
    "Euclidean distance of these probabilities, times 100. Two Retrains differ too: compare with `retrain-2`.",
)
KLOM = (
    "KLOM (Georgiev et al., 2024): for each sample, the divergence KL(method || Retrain) of histograms of the margin "
    "over seeds, in nats, averaged over a part; 0 is alike, {most:.1f} is as far apart as it can be. Two sets of "
    "Retrains are at 0 only with many pairs of networks (the paper has 100): compare with `retrain-2`. Pairs here: "
    "{pairs}."
)
ZRF = (
    "ZRF, zero retrain forgetting (Chundawat et al., AAAI 2023): 100 - JSD on the forget set between a model and an "
    "untrained network (control `untrained`), in percent. No target by itself: Retrain has {retrain}."
)
NO_ZRF = "No ZRF: it needs the outputs of control `untrained`, which cost next to nothing: run it with -m untrained."
CONFUSION = (
    "Conf, interclass confusion (Goel et al., 2022): share of the samples of a class that a model takes for one of the "
    "wrong labels of that class; here the absolute difference to Retrain's share, averaged over the classes with wrong "
    "labels, in percentage points. --confusion shows the classes."
)


def view(cells: Cells, outputs: Outputs) -> Grid:
    """The distances of each method to Retrain.

    Args:
        cells: What it shows.
        outputs: A cell without outputs has the first three distances only; a note names it.
    """
    by_seed = by_records(cells.ok)
    compared = comparison(by_seed, outputs)
    for key, values in compared.values.items():
        by_seed[key] |= values
    lines = list(rows(cells, by_seed))
    present = {name for (_, method, _), values in by_seed.items() if method != REFERENCE for name in values}
    kept = [place for place, name in enumerate(HEADERS) if name not in SOMETIMES or name in present]
    columns = [DATA, METHOD, *(Column(list(HEADERS.values())[place], shown) for place in kept)]
    return Grid(
        f"{cells.title}: distance to Retrain",
        columns,
        [[*row[:2], *(row[2 + place] for place in kept)] for row in lines],
        [
            *NOTES,
            *notes(cells, compared, present),
            *of_attack(cells.frame),
            *left_out(cells, by_seed, compared.missing),
        ],
        tidy(list(HEADERS.values()), lines),
    )


def tidy(headers: Sequence[str], lines: Sequence[Sequence[Any]]) -> Data:
    """What a csv file has of rows of two titles and a number for each header: mean, deviation and number of seeds."""
    columns = ["Data", "Method", *(f"{header}{end}" for header in headers for end in (" mean", " std", " n"))]
    rows = [[*line[:2], *(value for n in line[2:] for value in (n.mean, n.deviation, n.n))] for line in lines]
    return Data(columns, rows)


def notes(cells: Cells, compared: Comparison, present: set[str]) -> Iterator[str]:
    """Notes on the distances that a table has, beside `NOTES`.

    Args:
        cells: What the table shows.
        compared: The distances.
        present: Their names.
    """
    titles = {record.cell.dataset: record.cell.dataset_title for record in cells.records}
    if any(compared.pairs.values()):
        pairs = [
            f"{titles[dataset]} " + ", ".join(f"{compared.pairs[dataset, part]:.3g} ({PARTS[part]})" for part in PARTS)
            for dataset in dict.fromkeys(dataset for dataset, _ in compared.pairs)
        ]
        yield KLOM.format(most=-math.log(LEAST), pairs="; ".join(pairs))
    elif compared.pairs:
        yield f"No KLOM: it needs outputs of {FEWEST} seeds or more in which a sample is in the same part of the data."
    if "zrf" in present:
        of_retrain: dict[str, list[float]] = {}
        for (dataset, method, _), values in compared.values.items():
            if method == REFERENCE and "zrf" in values:
                of_retrain.setdefault(titles[dataset], []).append(values["zrf"])
        yield ZRF.format(retrain=", ".join(f"{shown(summary(zrf))} on {title}" for title, zrf in of_retrain.items()))
    elif compared.values:
        yield NO_ZRF
    if not present.isdisjoint(f"confusion_{part}" for part in CONFUSED):
        yield CONFUSION


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
            "Gap, Floors and ToW only: no outputs of these cells are in the cache. `merge --cache` copies those of "
            "other machines."
        )
    elif without:
        yield (
            f"All but Gap, Floors and ToW leave out cells whose outputs are not in the cache: {by_label(without)}. A "
            "seed without Retrain's outputs is left out for every method. `merge --cache` copies outputs of other "
            "machines."
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
