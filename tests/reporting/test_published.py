"""View compare: differences and intervals are right; published numbers that are wrong are marked and not counted."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind_from_stats

from unlearnbench import UserError, statistics, table
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Source
from unlearnbench.reporting.compare import Pair, rank_correlation
from unlearnbench.reporting.published import TITLES, read
from unlearnbench.reporting.rendering import Number
from unlearnbench.storage.records import write_record

METRICS = ("train_r", "train_f", "test", "asr")
OURS = {  # fractions, by seed
    "retrain": [(0.9950, 0.9880, 0.9900, 0.50), (0.9960, 0.9890, 0.9910, 0.49)],
    "neggrad": [(0.9000, 0.9500, 0.9100, 0.40), (0.9200, 0.9600, 0.9300, 0.41)],
    "scrub": [(0.9900, 0.9900, 0.9880, 0.53), (0.9910, 0.9900, 0.9890, 0.54)],
    "sisa": [(0.9900, 0.9800, 0.9900, 0.60), (0.9900, 0.9800, 0.9900, 0.61)],
    "laf": [(0.9800, 0.9700, 0.9700, 0.49), (0.9820, 0.9710, 0.9710, 0.50)],
}


def record(method: str, seed: int, values: tuple[float, ...]) -> dict[str, Any]:
    return {
        "schema": 1,
        "status": "ok",
        "cell": {
            "dataset": "mnist",
            "dataset_title": "DIGITS",
            "model": "cnn",
            "task": "data-removal",
            "task_title": "Data removal",
            "columns": list(METRICS),
            "method": method,
            "method_title": method.upper(),
            "role": "method",
            "access": "nothing",
            "start": "",
            "seed": seed,
        },
        "key": {
            "shadows": {"count": 8},
            "attacks": {"released": {"options": {"classifier": "scikit-learn"}}, "shadow": {"options": {}}},
        },
        "metrics": {
            "clean": dict.fromkeys(METRICS, 0.123),
            "released": dict(zip(METRICS, values, strict=True)),
            "attacks": {},
        },
        "observed": {"seconds": {}},
    }


@pytest.fixture
def preset(tmp_path: Path) -> str:
    for method, by_seed in OURS.items():
        for seed, values in enumerate(by_seed):
            path = tmp_path / f"results/two/records/mnist/cnn/data-removal/{method}/{seed}.json"
            write_record(path, record(method, seed, values))
    path = tmp_path / "two.toml"
    path.write_text('select.seeds = "0-1"\ndatasets.mnist.model = "cnn"\n')
    return str(path)


def rows(preset: str, results: Path) -> dict[tuple[str, str], dict[str, str]]:
    text = table(1, preset, results, "csv", view="compare")
    return {(row["method"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}


def test_a_difference_is_ours_minus_published_with_its_welch_interval(preset: str, tmp_path: Path) -> None:
    row = rows(preset, tmp_path / "results")["LAF", "train_r"]
    theirs = read(1).numbers["mnist", "laf", "train_r"]
    assert (theirs.mean, theirs.deviation, theirs.n) == (98.03, 0.68, 5)
    assert float(row["difference"]) == pytest.approx(98.10 - 98.03)
    low, high = (float(row[name]) for name in ("low", "high"))
    half = (high - low) / 2
    statistic = ttest_ind_from_stats(98.10, 0.2 / 2**0.5, 2, 98.03, 0.68, 5, equal_var=False).statistic
    assert (low + high) / 2 == pytest.approx(0.07)
    assert half == pytest.approx(2.6 * 0.07 / statistic, rel=0.1)  # t quantile for about 5 degrees of freedom


@pytest.mark.parametrize(("a", "b"), [((3.0, 1.0, 5), (4.0, 2.0, 3)), ((0.0, 0.1, 2), (0.2, 0.0, 9))])
def test_welch_excludes_zero_exactly_where_the_test_rejects(
    a: tuple[float, float, int], b: tuple[float, float, int]
) -> None:
    p = float(ttest_ind_from_stats(*b, *a, equal_var=False).pvalue)
    touching = statistics.welch(a, b, level=1 - p)
    assert touching is not None
    assert touching.low == pytest.approx(0, abs=1e-9) or touching.high == pytest.approx(0, abs=1e-9)
    assert touching.value == pytest.approx(b[0] - a[0])


def test_one_seed_has_no_interval_and_equal_values_have_one_of_width_zero() -> None:
    assert statistics.welch((1.0, 0.5, 5), (2.0, float("nan"), 1)) is None
    assert statistics.welch((1.0, 0.0, 5), (2.0, 0.0, 2)) == (1.0, 1.0, 1.0)


def test_the_notes_count_the_numbers_that_agree_without_those_wrong_in_print(preset: str, tmp_path: Path) -> None:
    text = table(1, preset, tmp_path / "results", view="compare")
    numbers = rows(preset, tmp_path / "results").values()
    trusted = [row for row in numbers if not row["known_wrong"]]
    close = sum(abs(float(row["difference"])) <= 1 for row in trusted)
    inside = sum(float(row["low"]) <= 0 <= float(row["high"]) for row in trusted)
    assert len(numbers) == 20
    assert len(trusted) == 19
    assert "- 20 of 36 published numbers for these data have one of ours beside them. 1 of them are known" in text
    assert f"- {close} of 19 differ by at most 1 point." in text
    assert f"- {inside} of 19 intervals" in text
    assert '(1) is the accuracy of always answering "not a member"' in text
    assert "protocol released" in text.splitlines()[0]


def test_rank_correlation_is_that_of_the_distances_to_retrain() -> None:
    def pair(method: str, theirs: float, ours: float) -> Pair:
        return Pair("D", method, "test", Number(theirs, 0.1, 5), Number(ours, 0.1, 5), method == "r", "")

    reference, far, middle, near = pair("r", 90, 80), pair("a", 50, 40), pair("b", 80, 95), pair("c", 91, 79)
    assert rank_correlation([reference, far, middle, near], "test") == "Test +1.00 (3 methods)"
    turned = [reference, pair("a", 50, 80.5), pair("b", 80, 95), pair("c", 91, 40)]
    assert rank_correlation(turned, "test") == "Test -1.00 (3 methods)"
    assert rank_correlation([reference, far, middle], "test") == "Test n/a (2 methods; needs three)"
    assert rank_correlation([far, middle, near], "test") == "Test n/a (no trusted Retrain)"
    assert rank_correlation([reference, near, near, near], "test") == "Test n/a (all equally close)"


def test_mnist_has_the_papers_name_beside_the_papers_numbers_only(preset: str, tmp_path: Path) -> None:
    for path in (tmp_path / "results").rglob("*.json"):
        made = json.loads(path.read_text())
        made["cell"]["dataset_title"] = registry.get(Source, "mnist").title
        write_record(path, made)
    assert {row["dataset"] for row in csv.DictReader(io.StringIO(table(1, preset, tmp_path / "results", "csv")))} == {
        "MNIST"
    }
    compared = table(1, preset, tmp_path / "results", "csv", view="compare")
    assert {row["dataset"] for row in csv.DictReader(io.StringIO(compared))} == {"DIGITS"}
    assert set(TITLES) == set(read(1).datasets)


def test_the_comparison_fits_into_a_terminal(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = table(1, preset, tmp_path / "results", "terminal", view="compare").splitlines()
    assert max(map(len, lines)) <= 80


def test_clean_numbers_can_be_compared_too(preset: str, tmp_path: Path) -> None:
    text = table(1, preset, tmp_path / "results", "csv", view="compare", protocol="clean")
    assert all(float(row["ours_mean"]) == pytest.approx(12.3) for row in csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("form", ["markdown", "latex", "terminal"])
def test_every_format_has_every_number(form: str, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # otherwise the terminal's table has two parts
    text = table(1, preset, tmp_path / "results", form, view="compare")
    assert all(f"{float(row['difference']):+.2f}" in text for row in rows(preset, tmp_path / "results").values())
    assert text.count("NEGGRAD") == 5  # four numbers, and its access
    if form == "latex":
        assert not re.search(r"(?<!\\)[_%&#](?!.*usepackage)", text.replace(" & ", " ").split("\n", 1)[1])


def test_missing_cells_and_the_classifier_are_in_the_notes(preset: str, tmp_path: Path) -> None:
    broken = record("t-s", 0, (0.0, 0.0, 0.0, 0.0))
    del broken["metrics"]
    write_record(
        tmp_path / "results/two/records/mnist/cnn/data-removal/t-s/0.json",
        {**broken, "status": "failed", "reason": "ValueError: no"},
    )
    text = table(1, preset, tmp_path / "results", view="compare")
    assert "- Missing: T-S on DIGITS, seed 0: failed, ValueError: no" in text
    assert "gradient boosting of scikit-learn; the released code uses that of xgboost" in text


def test_one_seed_has_no_interval(preset: str, tmp_path: Path) -> None:
    for method in OURS:
        (tmp_path / f"results/two/records/mnist/cnn/data-removal/{method}/1.json").unlink()
    text = table(1, preset, tmp_path / "results", view="compare")
    assert "One seed has no interval: any difference may be chance." in text
    assert "n/a" in text


def test_a_task_with_other_options_is_not_compared(preset: str, tmp_path: Path) -> None:
    for path in (tmp_path / "results").rglob("*.json"):
        made = json.loads(path.read_text())
        made["cell"]["task"] += "+fraction=0.1"
        write_record(path, made)
    with pytest.raises(UserError, match="has no number to compare: published are those of cifar10"):
        table(1, preset, tmp_path / "results", view="compare")


def test_data_sets_that_were_not_published_cannot_be_compared(tiny: Path, tiny_run: Path) -> None:
    with pytest.raises(UserError, match="published are those of cifar10, fashion-mnist, mnist, svhn"):
        table(1, str(tiny), tiny_run, view="compare")
    with pytest.raises(UserError, match="format must be one of"):
        table(1, str(tiny), tiny_run, "html", view="compare")


def test_the_published_tables_are_complete() -> None:
    methods = {"retrain", "neggrad", "boundary", "sisa", "unrolling", "t-s", "scrub", "laf", "laf-r"}
    ablations = {"retrain", "laf", "laf-none-l1", "laf-none-l2"}
    for number, columns in ((1, 4), (2, 3), (3, 4)):
        assert {method for _, method, _ in read(number).numbers} == methods
        assert len(read(number).numbers) == 4 * 9 * columns
        assert {method for _, method, _ in read(number + 3).numbers} == ablations
        assert len(read(number + 3).numbers) == 4 * 4 * columns


def test_numbers_that_are_called_wrong_contradict_others() -> None:
    """Each reason is checked against the published numbers; those about constant answers in test_released_attack."""
    two, five, six = read(2).numbers, read(5).numbers, read(6).numbers
    for metric in ("test_r", "test_f", "asr"):
        assert two["svhn", "laf-r", metric] == two["svhn", "sisa", metric]
    assert five["fashion-mnist", "laf", "test_r"] == read(1).numbers["fashion-mnist", "laf", "train_r"]
    assert five["mnist", "laf", "test_r"] == read(1).numbers["mnist", "laf", "train_r"]
    for place in [("fashion-mnist", "laf", "test_f"), ("cifar10", "retrain", "test_r"), ("mnist", "laf", "test_r")]:
        assert two[place] != five[place]
    assert (
        read(4).numbers["cifar10", "retrain", "asr"].deviation
        == 0
        < read(1).numbers["cifar10", "retrain", "asr"].deviation
    )
    for metric in ("train_r", "train_f", "test"):
        assert abs(six["cifar10", "laf", metric].mean - six["cifar10", "laf-none-l1", metric].mean) < 0.011
    assert (
        read(3).numbers["mnist", "sisa", "train_r"].deviation > 50 * read(3).numbers["mnist", "sisa", "test"].deviation
    )
    for number in range(1, 7):
        assert read(number).wrong.keys() <= read(number).numbers.keys()
