"""The noise floor, differences in its units, and over-unlearned methods agree with numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from unlearnbench import table
from unlearnbench.planning.protocols import CLEAN
from unlearnbench.reporting import noise_floor, paired
from unlearnbench.reporting.notes import overdone
from unlearnbench.reporting.record import Record
from unlearnbench.storage.records import write_record

ROLES = {"retrain-2": "control", "original": "control"}
TRAIN_F = {
    "retrain": [0.90, 0.92, 0.91],
    "retrain-2": [0.91, 0.90, 0.91],
    "laf": [0.80, 0.84, 0.80],
    "t-s": [0.5, 1, 1],
}


def record(method: str, seed: int, train_f: float, auc: tuple[float, float, float], title: str = "") -> dict[str, Any]:
    numbers = {"train_r": 0.99, "train_f": train_f, "test": 0.95, "asr": 0.5}
    return {
        "schema": 1,
        "status": "ok",
        "cell": {
            "dataset": "digits-8x8", "dataset_title": "DIGITS", "model": "cnn", "task": "data-removal",
            "task_title": "Data removal", "columns": list(numbers), "method": method, "method_title": title or method,
            "role": ROLES.get(method, "method"), "access": "nothing", "start": "", "seed": seed,
        },
        "key": {"shadows": {"count": 8}},
        "metrics": {
            "clean": numbers,
            "items": {"train_r": 1000, "train_f": 50, "test": 400, "asr": 200},
            "attacks": {"shadow": {"auc": list(auc)}},
        },
        "observed": {"seconds": {"prepare": 0.0, "unlearn": 1.0}},
    }  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> tuple[str, Path]:
    for method, values in TRAIN_F.items():
        for seed, value in enumerate(values):
            made = record(method, seed, value, (0.5, 0.4, 0.6))
            write_record(tmp_path / f"mine/records/digits-8x8/cnn/data-removal/{method}/{seed}.json", made)
    path = tmp_path / "mine.toml"
    path.write_text('select.seeds = "0-2"\ndatasets.digits-8x8.model = "cnn"\n')
    return str(path), tmp_path


@pytest.fixture
def frame(results: tuple[str, Path]) -> pd.DataFrame:
    from unlearnbench import load

    return load(None, results[1])


def test_the_floor_is_the_root_mean_square_difference_of_two_retrains_but_at_least_one_sample(
    frame: pd.DataFrame,
) -> None:
    assert noise_floor.floor(frame, "train_f") == pytest.approx(
        0.02
    )  # rms of .01, .02, 0 is .0129, and a sample is 1/50
    frame["items.train_f"] = 5000
    assert noise_floor.floor(frame, "train_f") == pytest.approx(math.sqrt((0.01**2 + 0.02**2) / 3))
    assert noise_floor.floor(frame, "asr") == pytest.approx(0.5 / 200)
    assert noise_floor.floor(frame[frame["method"] != "retrain-2"], "train_f") is None


def test_differences_are_between_cells_of_the_same_seed(frame: pd.DataFrame) -> None:
    found = noise_floor.of_method(noise_floor.differences(frame.sample(frac=1, random_state=0), "train_f"), "laf")
    assert sorted(found.tolist()) == pytest.approx([-0.11, -0.10, -0.08])
    without = frame[~((frame["method"] == "retrain") & (frame["seed"] == 1))]
    assert sorted(noise_floor.of_method(noise_floor.differences(without, "train_f"), "laf").tolist()) == pytest.approx(
        [-0.11, -0.10]
    )


def test_the_table_has_means_t_intervals_and_floors(results: tuple[str, Path]) -> None:
    lines = table(1, *results, format="csv", view="paired").splitlines()
    rows = {tuple(line.split(",")[1:3]): line.split(",")[3:] for line in lines[1:]}
    sample = np.array([-10.0, -8.0, -11.0])
    low, high = t.interval(0.95, 2, sample.mean(), sample.std(ddof=1) / math.sqrt(3))
    assert [float(v) for v in rows["laf", "train_f"]] == pytest.approx([sample.mean(), low, high, 3, 2.0])
    assert not any(name == "retrain" for name, _ in rows)
    assert rows["laf", "train_r"] == ["0.0", "", "", "3", "0.1"]  # all seeds agree, which is no interval
    text = table(1, *results, view="paired")
    assert f"another Retrain stays within {t.ppf(0.975, 3) / math.sqrt(3):.1f} noise floors" in text
    assert f"{sample.mean():+.2f} [{low:+.2f}, {high:+.2f}] ({-sample.mean() / 2:.1f})" in text
    assert "3 seeds cannot distinguish any method from Retrain" in text
    assert "the smallest p of a signed-rank test is 0.25, and one below 0.05 needs 6 seeds." in text
    gaps = table(1, *results, format="csv", view="distance", cache=results[1] / "cache").splitlines()
    by_name = [dict(zip(gaps[0].split(","), line.split(","), strict=True)) for line in gaps[1:]]
    laf = next(row for row in by_name if row["Method"] == "laf")
    assert float(laf["Floors mean"]) == pytest.approx(-sample.mean() / 2.0 / 4)


def test_two_seeds_have_no_interval(results: tuple[str, Path]) -> None:
    text = table(1, *results, view="paired", seeds="0-1")
    assert "- 2 seeds have no interval: 3 are needed." in text
    assert "| -9.00 (" in text
    assert "[" not in text.split("\n\n")[1]
    rows = [line.split(",") for line in table(1, *results, format="csv", view="paired", seeds="0-1").splitlines()[1:]]
    assert {(low, high, n) for *_, low, high, n, _ in rows} == {("", "", "2")}


def test_methods_that_are_clearly_worse_on_the_forget_set_than_retrain_are_named(results: tuple[str, Path]) -> None:
    text = table(1, *results)
    assert "DIGITS: over-unlearned, which also exposes the forget set: laf (Train_f 9.7 points below Retrain" in text
    assert (
        "t-s (" not in text.split("over-unlearned")[1].split("\n")[0]
    )  # its mean is below, but its interval includes zero
    assert "retrain-2 (" not in text.split("over-unlearned")[1].split("\n")[0]


@pytest.mark.parametrize(
    ("aucs", "named"),
    [
        ([(0.3, 0.2, 0.39), (0.35, 0.31, 0.39)], True),
        ([(0.3, 0.2, 0.39), (0.35, 0.25, 0.45)], False),  # Retrain's interval begins at 0.4
        ([(0.3, 0.2, 0.39), (0.45, 0.35, 0.55)], False),  # one seed of two may be chance
        ([(0.7, 0.6, 0.8), (0.65, 0.55, 0.75)], False),
    ],
)
def test_methods_whose_auc_is_below_guessing_with_every_seed_are_named(
    aucs: list[tuple[float, float, float]], named: bool
) -> None:
    rows = [record("retrain", seed, 0.9, (0.5, 0.4, 0.6)) for seed in (0, 1)]
    rows += [record("laf", seed, 0.9, auc) for seed, auc in enumerate(aucs)]
    notes = list(overdone(pd.DataFrame([Record.from_json(row).row() for row in rows]), CLEAN))
    assert notes == (
        ["DIGITS: over-unlearned, which also exposes the forget set: laf (AUC of attack shadow 32.5)."] if named else []
    )


def test_a_clear_difference_is_at_least_two_noise_floors() -> None:
    for gap, named in ((0.03, False), (0.05, True)):  # the floor is one sample of fifty
        rows = [record("retrain", seed, 0.9 + seed / 100, (0.5, 0.4, 0.6)) for seed in range(3)]
        rows += [record("retrain-2", seed, 0.9 + seed / 100, (0.5, 0.4, 0.6)) for seed in range(3)]
        rows += [record("laf", seed, 0.9 + seed / 100 - gap + seed / 1e4, (0.5, 0.4, 0.6)) for seed in range(3)]
        assert bool(list(overdone(pd.DataFrame([Record.from_json(row).row() for row in rows]), CLEAN))) == named


def test_with_one_seed_only_a_difference_of_five_points_is_clear() -> None:
    for train_f, named in ((0.86, False), (0.84, True)):
        rows = [record("retrain", 0, 0.9, (0.5, 0.4, 0.6)), record("laf", 0, train_f, (0.5, 0.4, 0.6))]
        assert bool(list(overdone(pd.DataFrame([Record.from_json(row).row() for row in rows]), CLEAN))) == named


def test_another_retrain_stays_within_the_reach_in_95_percent_of_cases() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(4000):
        first, second, third = rng.normal(0, 1, (3, 5))
        hits += abs((third - first).mean()) <= paired.reach(5) * math.sqrt(((second - first) ** 2).mean())
    assert 0.93 < hits / 4000 < 0.98
