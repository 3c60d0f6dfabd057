"""Attacks whose success rate is no measurement: one answer for every sample, or members and non-members swapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import CLEAN, Protocol
from unlearnbench.reporting.notes import below_guessing

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.5
"""The share of seeds with one answer from which on the mean success rate is not ranked."""
NEGLIGIBLE = 1e-9


class Degenerate(NamedTuple):
    """What is wrong with the attack of a protocol on a data set.

    Attributes:
        title: Of the data set.
        constant: Seeds with one answer and all seeds, by title of the method; only of methods at or above `SHARE`.
        swapped: Titles of the methods whose forget set the attack ranks below the held-out set.
        unranked: Labels of the methods whose success rate is not ranked.
    """

    title: str
    constant: Mapping[str, tuple[int, int]]
    swapped: list[str]
    unranked: frozenset[str]


def degenerate(frame: pd.DataFrame, protocol: Protocol) -> dict[str, Degenerate]:
    """What is wrong with a protocol's attack, by name of the data set.

    An attack gives one answer for every sample if its balanced accuracy is exactly 1/2 and its accuracy is that of a
    constant answer. It swaps members and non-members if its balanced accuracy is below 1/2 on average while its AUC
    is below guessing and below Retrain's with every seed (see `below_guessing`).

    Args:
        frame: The cells of a table, as in `load`.
        protocol: Whose attack is looked at. Metrics without a threshold are never degenerate.
    """
    names = [f"{protocol.attack}.{name}" for name in ("balanced_accuracy", "accuracy", "constant")]
    if protocol.metric not in ("balanced_accuracy", "accuracy") or not all(name in frame for name in names):
        return {}
    cells = frame[(frame["status"] == CellStatus.OK) & frame[names].notna().all(axis=1)]
    balanced, accuracy, constant = (cells[name].astype(float) for name in names)
    blind = (accuracy - constant).abs().lt(NEGLIGIBLE) | (accuracy - (1 - constant)).abs().lt(NEGLIGIBLE)
    cells = cells.assign(one_answer=blind & (balanced - 0.5).abs().lt(NEGLIGIBLE), balanced=balanced)
    return {str(name): on_dataset(here, protocol) for name, here in cells.groupby("dataset")}


def on_dataset(cells: pd.DataFrame, protocol: Protocol) -> Degenerate:
    """What is wrong with an attack on one data set; see `degenerate`."""
    titles = dict(zip(cells["method"], cells["method_title"], strict=True))
    by_method = cells.groupby("method", sort=False)
    shares, means = by_method["one_answer"].mean(), by_method["balanced"].mean()
    blind = [method for method in titles if shares[method] >= SHARE]
    swapped = [method for method in below_guessing(cells, protocol.attack) if means[method] < 0.5]
    constant = {titles[m]: (int(by_method["one_answer"].sum()[m]), int(by_method.size()[m])) for m in blind}
    unranked = frozenset(titles) if REFERENCE in blind else frozenset([*blind, *swapped])
    return Degenerate(str(cells["dataset_title"].iloc[0]), constant, sorted(titles[m] for m in swapped), unranked)


def notes(faults: Mapping[str, Degenerate]) -> Iterator[str]:
    """Names the methods on which an attack is degenerate, by data set."""
    for fault in faults.values():
        if fault.constant:
            names = ", ".join(
                title if few == seeds else f"{title} ({few} of {seeds} seeds)"
                for title, (few, seeds) in sorted(fault.constant.items())
            )
            yield (
                f"{fault.title}: the attack gives the same answer for every sample, so its success rate shows nothing "
                f"and is not ranked: {names}."
            )
        if fault.swapped:
            yield (
                f"{fault.title}: the attack takes forgotten samples for held-out ones and the reverse, so its success "
                f"rate is not ranked: {', '.join(fault.swapped)}."
            )


def of_attack(frame: pd.DataFrame) -> Iterator[str]:
    """Names the methods on which the attack of the standard table is degenerate; `frame` as in `degenerate`."""
    return notes(degenerate(frame, CLEAN))
