"""Notes that name methods: those that change almost nothing, damage the model, or over-unlearn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from unlearnbench import statistics
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.presets import ORIGINAL, REFERENCE
from unlearnbench.planning.protocols import COLUMNS, Protocol
from unlearnbench.reporting.noise_floor import differences, floor, of_method
from unlearnbench.reporting.rendering import Number

if TYPE_CHECKING:
    import pandas as pd

IDLE = 1.0
"""In percentage points: a method within this distance of the original in every column has changed almost nothing."""
UNSTABLE = 10.0
"""In percentage points: a method whose seeds deviate by more in a column is named."""
DAMAGED = 5.0
"""In percentage points: a method further below Retrain and the original than this has damaged the model."""
CLEARLY = 2.0
"""In noise floors, or in percentage points if these are not known: the size of a clear difference."""
Numbers = dict[tuple[str, str, str], Number]
"""Numbers by data set, method and column."""


def remarks(
    numbers: Numbers, methods: Mapping[str, CellInfo], datasets: Mapping[str, str], columns: Sequence[str]
) -> Iterator[str]:
    """Names the methods that changed almost nothing, and those that damaged the model, by their means as printed.

    Args:
        numbers: Of the table.
        methods: A cell of each method, by the method's label.
        datasets: Titles by name.
        columns: Of the table.
    """
    utility = "test_r" if "test_r" in columns else "test"
    for dataset, title in datasets.items():
        rows = {m: {c: numbers[dataset, m, c] for c in columns if (dataset, m, c) in numbers} for m in methods}
        competing = [
            (methods[m].method_title, row)
            for m, row in rows.items()
            if utility in row and m != REFERENCE and methods[m].role != "control"
        ]
        retrain, original = rows.get(REFERENCE, {}), rows.get(ORIGINAL, {})
        if retrain and original and near(retrain, original, 2 * IDLE):
            yield (
                f"{title}: Retrain is within {2 * IDLE:.0f} points of the original in every column, so this table can "
                "hardly distinguish unlearning from doing nothing."
            )
        elif idle := [name for name, row in competing if row.keys() == original.keys() and near(row, original)]:
            names = ", ".join(idle)
            yield f"{title}: almost unchanged, within {IDLE:.0f} point of the original in every column: {names}."
        if erratic := [name for name, row in competing if any(n.deviation > UNSTABLE for n in row.values())]:
            yield (f"{title}: unstable, a deviation over {UNSTABLE:.0f} points in some column: {', '.join(erratic)}.")
        if retrain and original and (worse := [name for name, row in competing if is_farther(row, original, retrain)]):
            yield (
                f"{title}: worse than doing nothing, farther from Retrain than the original by the mean over the "
                f"columns: {', '.join(worse)}."
            )
        present = [info for m, info in methods.items() if (dataset, m, utility) in numbers]
        if vain := [info.method_title for info in present if info.gain is not None and info.gain <= 0]:
            yield f"{title}: tuning found nothing better than doing nothing for {', '.join(vain)}."
        if utility in retrain and utility in original:
            limit = min(retrain[utility].mean, original[utility].mean) - DAMAGED
            if damaged := [name for name, row in competing if row[utility].mean < limit]:
                yield (
                    f"{title}: damaged, {COLUMNS[utility]} more than {DAMAGED:.0f} points below Retrain and the "
                    f"original: {', '.join(damaged)}."
                )


def is_farther(row: Mapping[str, Number], original: Mapping[str, Number], retrain: Mapping[str, Number]) -> bool:
    """Whether a method's mean distance to Retrain over the columns is larger than the original's, as printed.

    A method that changes almost nothing is not: its distance differs from the original's by chance.
    """
    columns = row.keys() & original.keys() & retrain.keys()
    own, undone = (round(sum(r[c].distance(retrain[c]) for c in columns), 2) for r in (row, original))
    return own > undone and not near(row, original)


def near(row: Mapping[str, Number], original: Mapping[str, Number], limit: float = IDLE) -> bool:
    """Whether a method is within a distance of the original in every column that both have, as printed."""
    return all(number.distance(original[column]) <= limit for column, number in row.items() if column in original)


def overdone(frame: pd.DataFrame, protocol: Protocol) -> Iterator[str]:
    """Names the methods that expose the forget set because the model is worse on it than Retrain.

    Args:
        frame: The cells of a table, as in `load`.
        protocol: Whose attack is looked at.
    """
    for _, group in frame[frame["status"] == CellStatus.OK].groupby("dataset"):
        reasons = [below_guessing(group, protocol.attack), below_retrain(group)]
        about = group.drop_duplicates("method")
        title_of_data = group["dataset_title"].iloc[0]
        competing = about[about["role"].isin(["method", "variant", "ablation"]) & (about["method"] != REFERENCE)]
        names = []
        for method, title in zip(competing["method"], competing["method_title"], strict=True):
            if why := [reason[method] for reason in reasons if method in reason]:
                names.append(f"{title} ({'; '.join(why)})")
        if names:
            yield f"{title_of_data}: over-unlearned, which also exposes the forget set: {', '.join(sorted(names))}."


def below_guessing(group: pd.DataFrame, attack: str) -> dict[str, str]:
    """The methods whose forget set an attack ranks below the held-out set with every seed.

    The interval of its AUC must be below 0.5, and below the interval of Retrain, whose AUC may be low by chance.

    Args:
        group: Cells on one data set, as in `load`.
        attack: Name of the attack.

    Returns:
        Reasons in words, by method.
    """
    column = f"{attack}.auc"
    if column not in group:
        return {}
    high, low, auc = (
        group.pivot(index="seed", columns="method", values=f"{column}{end}") for end in ("_high", "_low", "")
    )
    if REFERENCE not in low:
        return {}
    limit = low[REFERENCE].dropna().clip(upper=0.5)
    known = high.reindex(limit.index)
    below = known.lt(limit, axis=0) | known.isna()
    names = (method for method in map(str, high.columns) if below[method].all() and known[method].notna().any())
    return {method: f"AUC of attack {attack} {100 * auc[method].mean():.1f}" for method in names}


def below_retrain(group: pd.DataFrame) -> dict[str, str]:
    """The methods with a clearly lower accuracy on the forget set than Retrain.

    Args:
        group: Cells on one data set, as in `load`.

    Returns:
        Reasons in words, by method.
    """
    if "train_f" not in group:
        return {}
    noise, table = floor(group, "train_f"), differences(group, "train_f")
    limit = CLEARLY * (0.01 if noise is None else noise)
    reasons = {}
    for method in map(str, table.columns):
        between = of_method(table, method)
        if is_clearly_negative(between, max(limit, DAMAGED / 100) if len(between) == 1 else limit):
            reasons[method] = f"Train_f {-100 * between.mean():.1f} points below Retrain"
    return reasons


def is_clearly_negative(differences: statistics.Floats, limit: float) -> bool:
    """Whether the mean of differences is below -limit, and, for several, their 95 % t-interval below zero.

    Args:
        differences: float64 [seeds].
        limit: Positive.
    """
    if not len(differences) or differences.mean() >= -limit:
        return False
    return len(differences) == 1 or statistics.paired(differences).high < 0
