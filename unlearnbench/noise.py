"""Differences to Retrain, seed by seed, and how large they are where nothing but chance makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearnbench.presets import AGAIN, REFERENCE

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.stats import Floats


def differences(frame: pd.DataFrame, method: str, column: str) -> Floats:
    """A method's number less that of Retrain with the same seed, float64 [seeds]; where both have one.

    Args:
        frame: The cells of one task on one data set, as `load` gives them.
        method: Name of the method.
        column: A metric, in [0, 1].
    """
    cells = frame[frame["status"] == "ok"].set_index("seed")
    mine, theirs = (cells.loc[cells["method"] == name, column] for name in (method, REFERENCE))
    found: Floats = (mine - theirs).dropna().to_numpy(dtype=np.float64)
    return found


def floor(frame: pd.DataFrame, column: str) -> float | None:
    """The noise floor: the root mean square over seeds of what two Retrains differ by, but at least a single item.

    Args:
        frame: As in `differences`.
        column: A metric of protocol `clean`.

    Returns:
        In [0, 1], or None if there is no second Retrain.
    """
    between = differences(frame, AGAIN, column)
    if not len(between):
        return None
    return max(float(np.sqrt(np.mean(between**2))), resolution(frame, column))


def resolution(frame: pd.DataFrame, column: str) -> float:
    """What a single item changes: 1 / n of an accuracy, half as much of the balanced accuracy of an attack."""
    name = f"items.{column}"
    items = frame[name].max() if name in frame else np.nan
    return 0.0 if np.isnan(items) else (0.5 if column == "asr" else 1.0) / float(items)
