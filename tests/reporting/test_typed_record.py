"""Records are typed and compared before pandas: what was made under the conditions of the newest Retrain counts."""

from __future__ import annotations

from typing import Any

from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.reporting.comparable import comparable, marked
from unlearnbench.reporting.record import Record


def record(method: str, seed: int = 0, day: int = 1, dataset: str = "digits-8x8", **changes: Any) -> Record:
    """A record of a recipe with `lr`, with an attack that `measure` added with `options`."""
    cell = {
        "dataset": dataset, "dataset_title": "DIGITS", "model": "cnn", "task": "data-removal",
        "task_title": "Data removal", "columns": ["test", "asr"], "method": method, "method_title": method,
        "role": "method", "access": "nothing", "seed": seed,
    }  # fmt: skip
    lr, options = changes.pop("lr", 0.1), changes.pop("options", {})
    content = {
        "cell": cell,
        "status": "ok",
        "key": {"shadows": {"count": 8}, "outputs": {"original": {"recipe": {"lr": lr}, "seed": seed}}},
        "metrics": {"clean": {"test": 0.9, "asr": 0.5}},
        "more": {"rmia": {"key": {"options": options}, "found": {"auc": [0.6, 0.5, 0.7], "tpr@1%": None}}},
        "observed": {"seconds": {"unlearn": 1.5}, "date": f"2025-01-{day:02}T00:00:00+00:00"},
    }
    return Record.from_json({**content, **changes})


def test_a_row_has_titles_metrics_intervals_and_costs() -> None:
    row = record("laf").row()
    assert (row["dataset_title"], row["status"], row["test"], row["seconds_unlearn"]) == ("DIGITS", "ok", 0.9, 1.5)
    assert (row["rmia.auc"], row["rmia.auc_low"], row["rmia.auc_high"], row["rmia.tpr@1%"]) == (0.6, 0.5, 0.7, None)


def test_a_failed_record_has_a_status_and_a_reason_and_no_numbers() -> None:
    failed = record("laf", status="out-of-memory", reason="MemoryError", metrics={}, more={})
    assert failed.status is CellStatus.OUT_OF_MEMORY
    assert (failed.ok, failed.state, failed.why) == (False, "out-of-memory", "MemoryError")
    assert "test" not in failed.row()


def test_the_newest_retrain_of_a_data_set_decides_which_conditions_count() -> None:
    old, new = record("retrain", seed=0, day=1, lr=0.1), record("retrain", seed=1, day=2, lr=0.2)
    others = [record("laf", seed=0, lr=0.1), record("laf", seed=1, lr=0.2), record("laf", dataset="mnist", lr=0.1)]
    found = comparable([new, old, *others])
    assert [one.ok for one in found] == [True, False, False, True, True]
    assert found[1].state == "stale"
    assert found[1].why == "made with another recipe, data, attack or code than Retrain; run again"
    assert [one.cell for one in found] == [one.cell for one in (new, old, *others)]


def test_a_failed_retrain_decides_nothing_and_a_failed_cell_stays_failed() -> None:
    good, failed = record("retrain", seed=0, lr=0.1), record("retrain", seed=1, day=2, lr=0.2, status="failed")
    found = comparable([good, failed, record("laf", lr=0.1)])
    assert [one.state for one in found] == ["ok", "failed", "ok"]


def test_the_seed_and_the_labels_of_an_original_are_no_conditions() -> None:
    assert record("laf", seed=1).conditions == record("retrain", seed=2).conditions


def test_what_was_measured_otherwise_than_for_retrain_has_no_numbers_and_the_rest_stays() -> None:
    found = comparable([record("retrain"), record("laf", options={"n": 2}), record("scrub")])
    assert ["rmia.auc" in one.row() for one in found] == [True, False, True]
    assert all(one.ok and one.row()["test"] == 0.9 for one in found)


def test_a_change_makes_a_record_stale_unless_it_is_accepted() -> None:
    stale, accepted = marked(record("laf"), "method laf", False), marked(record("laf"), "method laf", True)
    assert (stale.state, stale.accepted) == ("stale", "")
    assert stale.why == "changed since: method laf; run again, or accept it with --accept-stale"
    assert (accepted.state, accepted.accepted) == ("ok", "method laf")
    failed = marked(record("laf", status="failed", reason="ValueError: no"), "method laf", False)
    assert (failed.state, failed.why) == ("failed", "ValueError: no")
