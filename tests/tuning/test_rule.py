"""The rule takes the point that is closest to Retrain on average, if it does no damage anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearnbench import UserError
from unlearnbench.tuning import rule, trials
from unlearnbench.tuning.trials import ORIGINAL, RETRAIN, Trial


def trial(split: int, network: str, train_f: float, test: float = 95.0, reason: str = "") -> Trial:
    point = {} if network in (RETRAIN, ORIGINAL) else {"lr": float(network)}
    measures = {} if reason else {"train_f": train_f, "test": test}
    return Trial(split, network, f"key {split} {network}", point, measures, reason)


def study(*points: Trial) -> list[Trial]:
    """Two splits: Retrain's Train_f is 90 and the original's 100."""
    references = [trial(split, name, value) for split in (0, 1) for name, value in ((RETRAIN, 90.0), (ORIGINAL, 100.0))]
    return [*references, *points]


def best(*points: Trial) -> rule.Scored:
    return rule.ranked(rule.scored(study(*points)))[0]


def test_the_least_mean_distance_over_the_splits_wins() -> None:
    steady = [trial(0, "1", 93.0), trial(1, "1", 93.0)]
    lucky = [trial(0, "2", 90.0), trial(1, "2", 98.0)]
    row = best(*lucky, *steady)
    assert row.point == {"lr": 1.0}
    assert row.distances == [1.5, 1.5]  # the mean of two measures, of which one is equal
    assert row.mean == 1.5


def test_a_point_that_does_damage_in_one_split_is_out_although_it_is_closer() -> None:
    harmless = [trial(0, "1", 99.0), trial(1, "1", 99.0)]
    harmful = [trial(0, "2", 90.0), trial(1, "2", 90.0, test=89.9)]
    assert best(*harmful, *harmless).point == {"lr": 1.0}
    kept = [trial(0, "2", 90.0), trial(1, "2", 90.0, test=90.1)]
    assert best(*kept, *harmless).point == {"lr": 2.0}


def test_a_point_that_fails_in_one_split_is_out() -> None:
    failed = [trial(0, "2", 90.0), trial(1, "2", 0.0, reason="FloatingPointError: not finite")]
    assert best(*failed, trial(0, "1", 99.0), trial(1, "1", 99.0)).point == {"lr": 1.0}


def test_of_equal_points_the_first_is_taken() -> None:
    equal = [trial(split, name, 95.0) for split in (0, 1) for name in ("1", "2")]
    assert best(*equal).point == {"lr": 1.0}


def test_a_point_that_did_not_go_on_to_the_last_split_is_not_chosen() -> None:
    assert best(trial(0, "1", 90.0), trial(0, "2", 99.0), trial(1, "2", 99.0)).point == {"lr": 2.0}


def test_the_gain_is_measured_against_doing_nothing() -> None:
    rows = rule.scored(study(trial(0, "1", 100.0), trial(1, "1", 98.0)))
    assert rule.gain(rows, rule.ranked(rows)[0]) == 0.5
    worse = rule.scored(study(trial(0, "1", 70.0), trial(1, "1", 70.0)))
    assert rule.gain(worse, rule.ranked(worse)[0]) == -5.0


def test_where_every_point_does_damage_the_closest_is_taken() -> None:
    row = best(*(trial(split, name, 90.0, test=float(name)) for split in (0, 1) for name in ("10", "20")))
    assert (row.point, row.damaged) == ({"lr": 20.0}, [0, 1])


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = study(trial(0, "1", 93.25), trial(1, "1", 0.0, reason="timeout"))
    path = tmp_path / "log.csv"
    content = trials.write(path, entries)
    assert path.read_bytes() == content
    assert trials.read(path) == sorted(entries, key=trials.order)
    assert trials.write(path, list(reversed(entries))) == content
    assert trials.read(tmp_path / "none.csv") == []


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("split,network\n0,Retrain\n")
    with pytest.raises(UserError, match=r"log\.csv is damaged"):
        trials.read(path)
