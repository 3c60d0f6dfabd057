"""What a reader of a table must not overlook: who did nothing, who did damage, and who overdid it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from unlearnbench import statistics
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.presets import NOTHING, REFERENCE
from unlearnbench.planning.protocols import COLUMNS, Protocol
from unlearnbench.reporting.noise_floor import differences, floor, of_method
from unlearnbench.reporting.rendering import Number

if TYPE_CHECKING:
    import pandas as pd

IDLE, DAMAGED = 1.0, 5.0
"""In percentage points: up to the first a method has changed next to nothing; beyond the second it has done damage."""
CLEARLY = 2.0
"""How many noise floors a difference must have to be clear, and how many points if it is not known."""
Numbers = dict[tuple[str, str, str], Number]
"""Numbers by data set, method and column."""


def remarks(
    numbers: Numbers, titles: Mapping[str, tuple[str, str]], datasets: Mapping[str, str], columns: Sequence[str]
) -> Iterable[str]:
    """Says which methods changed next to nothing, and which damaged what should stay, by the printed means."""
    utility = "test_r" if "test_r" in columns else "test"
    for dataset, title in datasets.items():
        rows = {m: {c: numbers[dataset, m, c] for c in columns if (dataset, m, c) in numbers} for m in titles}
        both = [rows[m][utility].mean for m in (REFERENCE, NOTHING) if utility in rows.get(m, {})]
        changed = {m: r for m, r in rows.items() if utility in r and m != REFERENCE and titles[m][1] != "control"}
        still = rows.get(NOTHING, {})
        idle = [
            titles[m][0]
            for m, row in changed.items()
            if still.keys() == row.keys() and all(row[c].distance(still[c]) <= IDLE for c in row)
        ]
        reference = rows.get(REFERENCE, {})
        if still and reference and all(n.distance(still[c]) <= 2 * IDLE for c, n in reference.items() if c in still):
            yield (
                f"{title}: Retrain itself is within {2 * IDLE:.0f} points of the original in every column, so this "
                "table can hardly tell forgetting from doing nothing."
            )
        elif idle:
            yield f"{title}: {', '.join(idle)} did next to nothing: within a point of the original in every column."
        worst = min(both, default=0.0) - DAMAGED
        damaged = [titles[m][0] for m, row in changed.items() if row[utility].mean < worst]
        if damaged and len(both) == 2:
            yield (
                f"{title}: {', '.join(damaged)} did damage: {COLUMNS[utility]} is more than {DAMAGED:.0f} points below "
                "Retrain's and the original's."
            )


def overdone(frame: pd.DataFrame, protocol: Protocol) -> Iterator[str]:
    """Says who gives forgotten items away by answering on them as on no other items.

    Args:
        frame: The cells of a table, as in `load`.
        protocol: Whose attack is looked at.
    """
    for dataset, group in frame[frame["status"] == CellStatus.OK].groupby("dataset_title"):
        reasons = [below_guessing(group, protocol.attack), below_retrain(group)]
        about = group.drop_duplicates("method")
        competing = about[about["role"].isin(["method", "variant", "ablation"]) & (about["method"] != REFERENCE)]
        found = []
        for method, title in zip(competing["method"], competing["method_title"], strict=True):
            if why := [reason[method] for reason in reasons if method in reason]:
                found.append(f"{title} ({'; '.join(why)})")
        if found:
            yield f"{dataset}: over-unlearned, which gives forgotten items away as well: {', '.join(sorted(found))}."


def below_guessing(group: pd.DataFrame, attack: str) -> dict[str, str]:
    """The methods whose forgotten items an attack takes for less familiar than held-out ones, every seed, for sure.

    That is: the whole interval of its AUC is below guessing, and below that of Retrain, which may be there by chance.
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
    said = (m for m in map(str, high.columns) if below[m].all() and known[m].notna().any())
    return {method: f"AUC of attack {attack} {100 * auc[method].mean():.1f}" for method in said}


def below_retrain(group: pd.DataFrame) -> dict[str, str]:
    """The methods for which forgotten items are wrong clearly more often than they are for Retrain."""
    if "train_f" not in group:
        return {}
    noise = floor(group, "train_f")
    table, found = differences(group, "train_f"), {}
    for method in map(str, table.columns):
        between = of_method(table, method)
        limit = CLEARLY * (0.01 if noise is None else noise)
        if len(between) == 1:
            limit = max(limit, DAMAGED / 100)
        if len(between) and between.mean() < -limit and (len(between) == 1 or statistics.paired(between).high < 0):
            found[method] = f"Train_f {-100 * between.mean():.1f} points below Retrain's"
    return found
