"""Differences to Retrain with the same seed, and the noise floor: their size between two Retrains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.presets import REFERENCE, SECOND_RETRAIN

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.statistics import Floats


def differences(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The difference of each method to Retrain with the same seed: a row for each seed, a column for each method.

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
    """A method's differences, float64 [seeds]; only of the seeds that have one.

    Args:
        table: As from `differences`.
        method: Label of the method.
    """
    values: Floats = table[method].dropna().to_numpy(dtype=np.float64) if method in table else np.zeros(0)
    return values


def floor(frame: pd.DataFrame, column: str) -> float | None:
    """The noise floor: the root mean square over seeds of the difference between two Retrains, at least one sample.

    Args:
        frame: As in `differences`.
        column: A metric of protocol `clean`.

    Returns:
        In [0, 1], or None if there is no second Retrain.
    """
    between = of_method(differences(frame, column), SECOND_RETRAIN)
    if not len(between):
        return None
    return max(float(np.sqrt(np.mean(between**2))), resolution(frame, column))


def resolution(frame: pd.DataFrame, column: str) -> float:
    """The change of a metric by one sample: 1 / n of an accuracy, 1 / (2 n) of a balanced accuracy; 0 for unknown n."""
    name = f"items.{column}"
    samples = frame[name].max() if name in frame else np.nan
    return 0.0 if np.isnan(samples) else (0.5 if column == "asr" else 1.0) / float(samples)
