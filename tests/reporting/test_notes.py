"""Notes of a table name methods that are unstable, worse than doing nothing, damaged, or that tuning could not help."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.reporting.notes import remarks
from unlearnbench.reporting.rendering import Number

COLUMNS = ["train_r", "train_f", "test"]
RETRAIN = {"train_r": 99.0, "train_f": 40.0, "test": 90.0}
ORIGINAL = {"train_r": 99.0, "train_f": 100.0, "test": 90.0}


def info(method: str, role: str = "method", gain: float | None = None) -> CellInfo:
    return CellInfo(
        preset="mine", dataset="digits", dataset_title="DIGITS", model="cnn", task="data-removal",
        task_title="Data removal", columns=COLUMNS, method=method, method_title=method.title(), role=role,
        access="nothing", seed=0, hyperparameters={}, sources={}, gain=gain,
    )  # fmt: skip


def notes(
    rows: Mapping[str, Mapping[str, float]],
    deviations: Mapping[str, float] | None = None,
    gains: Mapping[str, float] | None = None,
) -> list[str]:
    """The notes of a table with these means; each method has one deviation, by default 1 point, in every column."""
    rows = {"retrain": RETRAIN, "original": ORIGINAL, **rows}
    numbers = {
        ("digits", method, column): Number(mean, (deviations or {}).get(method, 1.0), 5)
        for method, row in rows.items()
        for column, mean in row.items()
    }
    infos = {
        method: info(method, "control" if method == "original" else "method", (gains or {}).get(method))
        for method in rows
    }
    return list(remarks(numbers, infos, {"digits": "DIGITS"}, COLUMNS))


GOOD = {"train_r": 98.0, "train_f": 45.0, "test": 89.0}


def test_a_good_method_is_not_named() -> None:
    assert notes({"good": GOOD}, gains={"good": 10.0}) == []


def test_a_method_whose_seeds_deviate_by_more_than_ten_points_is_unstable() -> None:
    (note,) = notes({"wild": GOOD, "calm": GOOD}, {"wild": 10.01, "calm": 10.0})
    assert note == "DIGITS: unstable, a deviation over 10 points in some column: Wild."


def test_the_controls_and_retrain_are_not_called_unstable() -> None:
    assert notes({"good": GOOD}, {"retrain": 20.0, "original": 20.0}) == []


def test_one_seed_has_no_deviation_and_is_not_called_unstable() -> None:
    assert notes({"good": GOOD}, {"good": float("nan")}) == []


@pytest.mark.parametrize(("train_r", "named"), [(38.9, True), (39.0, False), (39.1, False)])
def test_a_method_farther_from_retrain_than_the_original_by_the_mean_is_worse_than_nothing(
    train_r: float, named: bool
) -> None:
    """The original is 60 points away from Retrain in one of three columns; so is this method at train_r = 39."""
    found = notes({"mine": {"train_r": train_r, "train_f": 40.0, "test": 90.0}})
    message = (
        "DIGITS: worse than doing nothing, farther from Retrain than the original by the mean over the columns: Mine."
    )
    assert (message in found) == named


def test_a_method_that_changes_almost_nothing_is_called_unchanged_and_not_worse() -> None:
    (note,) = notes({"idle": {**ORIGINAL, "test": 89.5}})
    assert note == "DIGITS: almost unchanged, within 1 point of the original in every column: Idle."


def test_a_method_for_which_tuning_found_nothing_better_is_named() -> None:
    (note,) = notes({"vain": GOOD, "none": GOOD, "tuned": GOOD}, gains={"vain": -0.5, "none": 0.0, "tuned": 0.01})
    assert note == "DIGITS: tuning found nothing better than doing nothing for Vain, None."


def test_a_method_that_was_not_tuned_is_not_said_to_be_tuned_in_vain() -> None:
    assert notes({"good": GOOD}) == []


def test_a_method_below_retrain_and_the_original_by_more_than_five_points_has_done_damage() -> None:
    (note,) = notes({"broken": {**GOOD, "test": 84.99}, "close": {**GOOD, "test": 85.0}})
    assert note == "DIGITS: damaged, Test more than 5 points below Retrain and the original: Broken."


def test_where_retrain_and_the_original_are_alike_the_table_says_so_instead_of_naming_methods_unchanged() -> None:
    found = notes({"original": {**RETRAIN, "train_f": 41.9}, "idle": RETRAIN})
    assert found[0].startswith("DIGITS: Retrain is within 2 points of the original in every column")
    assert not any("almost unchanged" in note for note in found)
