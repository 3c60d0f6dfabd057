"""Attacks that give one answer, or swap members and non-members, are named, and their numbers are not ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unlearnbench import table
from unlearnbench.reporting.ranking import rank
from unlearnbench.storage.records import write_record

HELD_OUT = 0.2
"""The share of held-out samples, which is the accuracy of always answering "not a member"."""
Attack = tuple[float, float, float]
"""Balanced accuracy, accuracy, and AUC with an interval of 0.02 around it."""
GUESSING = (0.52, 0.6, 0.5)
NON_MEMBERS = (0.5, HELD_OUT, 0.5)
MEMBERS = (0.5, 1 - HELD_OUT, 0.5)
SWAPPED = (0.3, 0.3, 0.2)


def written(results: Path, attacks: dict[str, list[Attack]], dataset: str = "digits-8x8", role: str = "method") -> None:
    for method, seeds in attacks.items():
        for seed, (balanced, accuracy, auc) in enumerate(seeds):
            numbers = {"train_r": 0.9, "train_f": 0.9, "test": 0.9, "asr": balanced}
            attack: dict[str, Any] = {
                name: [v, v, v] for name, v in (("balanced_accuracy", balanced), ("accuracy", accuracy))
            }
            attack |= {"auc": [auc, auc - 0.02, auc + 0.02], "constant": HELD_OUT}
            cell = {
                "dataset": dataset, "dataset_title": dataset.upper(), "model": "cnn", "task": "data-removal",
                "task_title": "Data removal", "columns": list(numbers), "method": method,
                "method_title": method.upper(), "role": role, "access": "nothing", "seed": seed,
            }  # fmt: skip
            record = {
                "schema": 1, "status": "ok", "cell": cell, "key": {"shadows": {"count": 8}},
                "metrics": {"clean": numbers, "attacks": {"shadow": attack}}, "observed": {"seconds": {}},
            }  # fmt: skip
            write_record(results / f"two/records/{dataset}/cnn/data-removal/{method}/{seed}.json", record)


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "two.toml"
    path.write_text('select.seeds = "0-2"\n[datasets]\ndigits-8x8.model = "cnn"\nmnist.model = "cnn"\n')
    return str(path)


def asr(text: str) -> dict[str, str]:
    """The last column by method."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {row[1]: row[-2] for row in rows}


@pytest.mark.parametrize("answer", [NON_MEMBERS, MEMBERS])
def test_an_attack_with_one_answer_is_named_and_not_ranked(answer: Attack, preset: str, tmp_path: Path) -> None:
    better = (0.53, 0.6, 0.5)
    written(
        tmp_path, {"retrain": [GUESSING] * 3, "laf": [answer] * 3, "scrub": [(0.6, 0.7, 0.6)] * 3, "sisa": [better] * 3}
    )
    text = table(1, preset, tmp_path)
    assert asr(text) | {"LAF": "50.00±0.00", "SISA": "**53.00±0.00**", "SCRUB": "<u>60.00±0.00</u>"} == asr(text)
    assert (
        "- DIGITS-8X8: the attack gives the same answer for every sample, so its success rate shows nothing and is not "
        "ranked: LAF." in text
    )


@pytest.mark.parametrize("view", ["paired", "distance"])
def test_other_views_and_ranks_name_it_too(view: str, preset: str, tmp_path: Path) -> None:
    written(
        tmp_path,
        {"retrain": [GUESSING] * 3, "laf": [NON_MEMBERS] * 3, "scrub": [(0.6, 0.7, 0.6)] * 3, "sisa": [GUESSING] * 3},
    )
    note = "DIGITS-8X8: the attack gives the same answer for every sample"
    options = {"cache": tmp_path / "cache"} if view == "distance" else {}
    assert note in table(1, preset, tmp_path, view=view, **options)
    assert any(f"Data removal: {note}" in remark for remark in rank(preset, tmp_path).absent)


def test_a_ranking_names_only_what_it_ranks(preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": [NON_MEMBERS] * 3, "scrub": [GUESSING] * 3})
    written(tmp_path, {"untrained": [NON_MEMBERS] * 3}, role="control")
    (note,) = rank(preset, tmp_path).absent
    assert note.endswith("is not ranked: LAF.")
    assert "is not ranked: LAF, UNTRAINED." in table(1, preset, tmp_path)


def test_half_of_the_seeds_are_enough_and_are_counted(preset: str, tmp_path: Path) -> None:
    few, most = [NON_MEMBERS, GUESSING, GUESSING], [NON_MEMBERS, MEMBERS, GUESSING]
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": most, "scrub": few})
    text = table(1, preset, tmp_path)
    assert "is not ranked: LAF (2 of 3 seeds)." in text
    assert asr(text)["SCRUB"].startswith("**")


def test_where_retrains_attack_has_one_answer_no_success_rate_is_ranked(preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"retrain": [NON_MEMBERS] * 3, "laf": [GUESSING] * 3, "scrub": [NON_MEMBERS] * 3})
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": [GUESSING] * 3}, dataset="mnist")
    text = table(1, preset, tmp_path)
    assert "DIGITS-8X8: the attack gives the same answer" in text
    assert "MNIST: the attack" not in text
    (row,) = [line.split("|") for line in text.splitlines() if line.startswith("| LAF ")]
    assert [row[6].strip(), row[11].strip()] == ["52.00±0.00", "**52.00±0.00**"]


def test_an_attack_that_swaps_members_and_non_members_is_named_and_not_ranked(preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": [SWAPPED] * 3, "scrub": [(0.9, 0.9, 0.9)] * 3})
    text = table(1, preset, tmp_path)
    assert "takes forgotten samples for held-out ones and the reverse, so its success rate is not ranked: LAF." in text
    assert (asr(text)["LAF"], asr(text)["SCRUB"]) == ("30.00±0.00", "**90.00±0.00**")


def test_a_balanced_accuracy_of_a_half_alone_is_not_degenerate(preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": [(0.5, 0.45, 0.5)] * 3})
    text = table(1, preset, tmp_path)
    assert "the same answer" not in text
    assert asr(text)["LAF"].startswith("**")


def test_a_metric_without_a_threshold_is_ranked(preset: str, tmp_path: Path) -> None:
    written(tmp_path, {"retrain": [GUESSING] * 3, "laf": [NON_MEMBERS] * 3})
    text = table(1, preset, tmp_path, attack="shadow", metric="auc")
    assert "the same answer" not in text
    assert asr(text)["LAF"].startswith("**")
