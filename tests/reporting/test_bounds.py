"""Numbers in tables stay within what they can mean: intervals, noise floors, and attacks no better than guessing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unlearnbench.reporting.distance import distances
from unlearnbench.reporting.notes import below_guessing
from unlearnbench.reporting.paired import difference

CELL = {"columns": ["train_r", "asr"], "train_r": 0.9, "train_f": 0.5, "test": 0.8, "asr": 0.6}
RETRAIN = {**CELL, "train_r": 1.0, "asr": 0.5}


def test_a_gap_is_in_noise_floors_only_if_every_metric_has_one() -> None:
    known = distances(CELL, RETRAIN, {"train_r": 0.1, "asr": 0.05})
    assert known["floors"] == pytest.approx((1 + 2) / 2)
    for floors in ({"train_r": 0.1, "asr": None}, {"train_r": None, "asr": 0.05}, {"train_r": None, "asr": None}):
        values = distances(CELL, RETRAIN, floors)
        assert "floors" not in values
        assert values["gap"] == pytest.approx(10.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_intervals_of_differences_end_at_100_points(sign: int) -> None:
    """A t-interval of three seeds would be wider than accuracies can differ."""
    shown = difference(sign * np.array([1.0, 0.9, -0.2]), None)
    assert shown is not None
    assert (shown.low, shown.high)[sign > 0] == sign * 100.0
    assert -100.0 <= shown.low < shown.mean < shown.high <= 100.0


def seeds_of(method: str, low: float, high: float) -> list[dict[str, object]]:
    auc = {"shadow.auc": (low + high) / 2, "shadow.auc_low": low, "shadow.auc_high": high}
    return [{"seed": seed, "method": method, **auc} for seed in range(2)]


@pytest.mark.parametrize(
    ("retrain", "high", "named"),
    [
        ((0.60, 0.70), 0.55, False),  # below Retrain, but no attack is worse than guessing
        ((0.60, 0.70), 0.49, True),
        ((0.40, 0.60), 0.45, False),  # Retrain is as low by chance
        ((0.40, 0.60), 0.39, True),
    ],
)
def test_over_unlearning_is_worse_than_guessing_and_than_retrain(
    retrain: tuple[float, float], high: float, named: bool
) -> None:
    frame = pd.DataFrame([*seeds_of("retrain", *retrain), *seeds_of("laf", high - 0.1, high)])
    assert below_guessing(frame, "shadow") == (
        {"laf": f"AUC of attack shadow {100 * (high - 0.05):.1f}"} if named else {}
    )
