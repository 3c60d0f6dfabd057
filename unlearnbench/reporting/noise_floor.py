"""Differences to Retrain, seed by seed, and how large they are where nothing but chance makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.presets import AGAIN, REFERENCE

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.statistics import Floats


def differences(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Every method's number less that of Retrain with the same seed: a row for each seed, a column for each method.

    Args:
        frame: The cells of one task on one data set, as `load` gives them.
        column: A metric, in [0, 1].

    Returns:
        float64; nan where the method or Retrain has no number. Without Retrain it is empty.
    """
    cells = frame[frame["status"] == CellStatus.OK]
    numbers = cells.pivot(index="seed", columns="method", values=column).astype("float64")
    return numbers.sub(numbers[REFERENCE], axis=0) if REFERENCE in numbers else numbers.iloc[:0]


def of_method(table: pd.DataFrame, method: str) -> Floats:
    """A method's differences, float64 [seeds], of the seeds that have one."""
    found: Floats = table[method].dropna().to_numpy(dtype=np.float64) if method in table else np.zeros(0)
    return found


def floor(frame: pd.DataFrame, column: str) -> float | None:
    """The noise floor: the root mean square over seeds of what two Retrains differ by, but at least a single item.

    Args:
        frame: As in `differences`.
        column: A metric of protocol `clean`.

    Returns:
        In [0, 1], or None if there is no second Retrain.
    """
    between = of_method(differences(frame, column), AGAIN)
    if not len(between):
        return None
    return max(float(np.sqrt(np.mean(between**2))), resolution(frame, column))


def resolution(frame: pd.DataFrame, column: str) -> float:
    """What a single item changes: 1 / n of an accuracy, half as much of the balanced accuracy of an attack."""
    name = f"items.{column}"
    items = frame[name].max() if name in frame else np.nan
    return 0.0 if np.isnan(items) else (0.5 if column == "asr" else 1.0) / float(items)
