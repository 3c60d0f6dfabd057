"""Table 7: its numbers by hand, its layout, the groups apart, identification, and the published numbers beside ours."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_up import Page, markdown_rows

from unlearnbench import UserError, table
from unlearnbench.operations.report import report
from unlearnbench.reporting.published import published_mismatch
from unlearnbench.storage.records import write_record

TITLES = {"all-matched": "All matched", "target-mismatch": "Target mismatch"}
RETRAIN = [{"train_f": 0.0, "train_r": 0.99, "test_r": 0.94, "mia": 1.0}] * 2
FT = [
    {"train_f": 0.5, "train_r": 0.98, "test_r": 0.93, "mia": 0.5},
    {"train_f": 0.3, "train_r": 0.99, "test_r": 0.94, "mia": 0.7},
]
TARF = [
    {"train_f": 0.0, "train_r": 0.97, "test_r": 0.92, "mia": 1.0},
    {"train_f": 0.1, "train_r": 0.99, "test_r": 0.94, "mia": 1.0},
]
SECONDS = {"retrain": 120.0, "ft": 30.0, "tarf": 45.0}
FOUND = [{"found": 10, "hidden": 20, "precision": 0.9, "recall": 0.45}, {"found": 0, "hidden": 20, "precision": None,
         "recall": 0.0}]  # fmt: skip


def record(
    task: str, dataset: str, method: str, seed: int, numbers: Mapping[str, float], **more: Any
) -> dict[str, Any]:
    return {
        "schema": 1,
        "status": "ok",
        "cell": {
            "dataset": dataset, "dataset_title": dataset.upper(), "model": "cnn", "task": task,
            "task_title": TITLES[task], "columns": ["train_f", "train_r", "test_r", "mia"], "method": method,
            "method_title": {"retrain": "Retrain", "ft": "FT", "tarf": "TARF"}[method], "role": "method",
            "access": "retain: labels, hidden: size" if method == "tarf" else "retain: labels", "seed": seed,
        },
        "key": {"shadows": {"count": 2}},
        "metrics": {
            "clean": {"test": 0.9, **numbers, "train_given": numbers["train_f"] / 2, "test_given": 0.25},
            "released": {"test": 0.9, **{name: value for name, value in numbers.items() if name != "mia"}},
            "items": {}, "attacks": {}, "cost": {"prepare": 0.0, "unlearn": SECONDS[method] / 4}, **more,
        },
        "observed": {
            "seconds": {"prepare": 0.0, "unlearn": SECONDS[method]}, "torch": "2.13", "python": "3.11",
            "unlearnbench": "0.1.0",
        },
    }  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> tuple[str, Path]:
    """Two scenarios on two data sets; FT's and TARF's numbers differ from Retrain's as above."""
    for task in TITLES:
        for dataset in ("cifar10", "cifar100"):
            for method, seeds in (("retrain", RETRAIN), ("ft", FT), ("tarf", TARF)):
                for seed, numbers in enumerate(seeds):
                    more = {"identification": FOUND[seed]} if (method, task) == ("tarf", "target-mismatch") else {}
                    made = record(task, dataset, method, seed, numbers, **more)
                    write_record(tmp_path / f"mine/records/{dataset}/cnn/{task}/{method}/{seed}.json", made)
    path = tmp_path / "mine.toml"
    path.write_text(
        'shadows = 2\nselect.seeds = "0-1"\ndatasets.cifar10.model = "cnn"\ndatasets.cifar100.model = "cnn"\n'
    )
    return str(path), tmp_path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_gap_is_the_mean_distance_of_four_metrics_to_retrain_with_the_same_seed(results: tuple[str, Path]) -> None:
    numbers = {
        (row["task"], row["dataset"], row["method"], row["metric"]): row
        for row in rows(table(7, *results, format="csv"))
    }
    ft = numbers["target-mismatch", "CIFAR100", "FT", "gap"]
    gaps = [100 * (0.5 + 0.01 + 0.01 + 0.5) / 4, 100 * (0.3 + 0.3) / 4]
    assert float(ft["mean"]) == pytest.approx(sum(gaps) / 2)
    assert float(ft["std"]) == pytest.approx((gaps[0] - gaps[1]) / 2**0.5)
    assert float(numbers["target-mismatch", "CIFAR100", "FT", "ua"]["mean"]) == pytest.approx(40.0)
    assert float(numbers["all-matched", "CIFAR10", "TARF", "ta"]["mean"]) == pytest.approx(93.0)
    assert float(numbers["all-matched", "CIFAR10", "TARF", "minutes"]["mean"]) == pytest.approx(0.75)
    assert numbers["all-matched", "CIFAR10", "Retrain", "gap"]["mean"] == ""


def test_the_table_has_a_block_for_each_scenario_and_two_data_sets_side_by_side(results: tuple[str, Path]) -> None:
    lines = table(7, *results).splitlines()
    assert lines[0] == "**Table 7: Label mismatch, preset mine**"
    metrics = ["UA", "RA", "TA", "MIA", "Gap", "TIME"]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["Method", *["Data", *metrics] * 2]
    first = [line.split("|")[1].strip() for line in lines[4:12]]
    block = ["Retrain", "FT", "TARF"]
    assert first == ["*All matched*", *block, "*Target mismatch*", *block]
    tarf = [cell.strip() for cell in lines[7].split("|")[1:-1]]
    assert tarf[6] == "**1.75±1.06**"  # the lower gap is bold: (0 + 2 + 2 + 0) / 4 and (10 + 0 + 0 + 0) / 4


def test_latex_has_a_line_for_each_block(results: tuple[str, Path]) -> None:
    text = table(7, *results, format="latex")
    assert text.count(r"\multicolumn{15}{l}{\textit{") == 2
    assert text.index("All matched") < text.index("Target mismatch")
    assert text.count(r"\midrule") == 2  # below the header, and between the blocks


def test_the_notes_say_who_knows_of_hidden_samples_first(results: tuple[str, Path]) -> None:
    note = next(line for line in table(7, *results).splitlines() if "Enforced access" in line)
    assert "data: TARF (retain: labels, hidden: size); FT (retain: labels)" in note


def test_every_run_writes_table_7_in_place_of_the_tables_of_its_scenarios(results: tuple[str, Path]) -> None:
    from unlearnbench.planning import presets
    from unlearnbench.reporting import tables

    written = tables.write(results[1], presets.read(results[0]))
    assert list(written) == ["table7"]
    assert sorted(path.name for path in (results[1] / "mine" / "tables").iterdir()) == [
        "table7.csv", "table7.md", "table7.tex",
    ]  # fmt: skip


def test_groups_are_shown_apart(results: tuple[str, Path]) -> None:
    shown = rows(table("all-matched", *results, format="csv", view="apart"))
    ft = next(row for row in shown if (row["Data"], row["Method"]) == ("CIFAR10", "FT"))
    assert "mean=20.0" in ft["Train given"]
    text = table(7, *results, view="apart")
    assert text.count("groups apart") == 2


def test_identification_is_a_mean_over_the_seeds_that_have_it(results: tuple[str, Path]) -> None:
    text = table(7, *results, view="identification")
    assert "All matched" not in text  # nothing was reported there
    line = next(line for line in text.splitlines() if "TARF" in line)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["CIFAR10", "TARF", "90.00", "22.50±31.82", "5.0", "20.0"]


def test_published_numbers_stand_beside_ours(results: tuple[str, Path]) -> None:
    pairs = {
        (row["dataset"], row["scenario"], row["method"], row["metric"]): row
        for row in rows(table(7, *results, format="csv", view="compare"))
    }
    ft = pairs["CIFAR10", "Target mismatch", "FT", "ua"]
    assert (float(ft["published"]), float(ft["difference"])) == (50.43, pytest.approx(40 - 50.43))
    text = table(7, *results, view="compare")
    assert "one run each" in text


@pytest.mark.parametrize("view", ["standard", "compare", "apart", "identification"])
def test_every_view_of_table_7_fits_into_a_terminal(
    view: str, results: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    lines = table(7, *results, format="terminal", view=view).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("TARF" in line for line in lines)


def test_table_7_without_records_names_the_presets_that_have_it(tmp_path: Path) -> None:
    (tmp_path / "tarf-demo" / "records").mkdir(parents=True)
    with pytest.raises(UserError, match="presets tarf-demo, tarf-fashion and tarf have these tasks"):
        table(7, results=tmp_path)


PUBLISHED = published_mismatch()
METRICS = ("ua", "ra", "ta", "mia")
COUNTS = {"cifar10": (4500, 9000, 45_000, 1000, 2000), "cifar100": (900, 2250, 45_000, 200, 500)}
"""Training samples that are given, of the concept, and all; test samples that are given, and of the concept."""
PAIRS = (("all-matched", "target-mismatch"), ("model-mismatch", "data-mismatch"))
BLIND = ("ft", "rl", "ga", "iu", "boundary", "l1-sparse", "salun", "scrub")
"""Methods that cannot tell the scenarios of a pair apart."""


def test_the_published_table_is_complete() -> None:
    methods = {method for _, _, method, _ in PUBLISHED.numbers}
    assert methods == {"retrain", "tarf", *BLIND}
    assert len(PUBLISHED.numbers) == 4 * 2 * (10 * 5 + 9)  # Retrained has no gap


def test_five_published_gaps_do_not_add_up() -> None:
    wrong = set()
    for (task, dataset, method, metric), gap in PUBLISHED.numbers.items():
        if metric == "gap":
            own, retrained = (
                [PUBLISHED.numbers[task, dataset, name, m] for m in METRICS] for name in (method, "retrain")
            )
            if abs(sum(abs(a - b) for a, b in zip(own, retrained, strict=True)) / 4 - gap) > 0.015:  # rounding
                wrong.add((task, dataset, method, metric))
    assert wrong == {place for place in PUBLISHED.wrong if place[3] == "gap"}
    assert len(wrong) == 5


@pytest.mark.parametrize("method", BLIND)
@pytest.mark.parametrize("dataset", COUNTS)
@pytest.mark.parametrize("pair", PAIRS)
def test_rows_that_are_not_of_one_network_are_marked(pair: tuple[str, str], dataset: str, method: str) -> None:
    """The two scenarios give such a method the same samples, so each metric implies the accuracy on the hidden ones."""
    given, concept, total, test_given, test_concept = COUNTS[dataset]
    (ua, ra, ta), (ua2, ra2, ta2) = (
        [PUBLISHED.numbers[task, dataset, method, m] for m in METRICS[:3]] for task in pair
    )
    hidden, test_hidden = concept - given, test_concept - test_given
    by_ua = (concept * ua2 - given * ua) / hidden
    by_ra = ((total - given) * ra - (total - concept) * ra2) / hidden
    by_ta = ((10_000 - test_given) * ta - (10_000 - test_concept) * ta2) / test_hidden
    rounding = 0.005 * (2 * total) / hidden
    marked = {m for m in METRICS if (pair[0], dataset, method, m) in PUBLISHED.wrong}
    assert marked == {m for m in METRICS if (pair[1], dataset, method, m) in PUBLISHED.wrong}
    if abs(by_ua - by_ra) > rounding:
        assert marked == set(METRICS)
    else:
        usual = 10 if dataset == "cifar10" else 40  # how much worse networks of the table are on test samples
        assert marked == (set() if 0 <= by_ta <= 100 and by_ua - usual <= by_ta <= by_ua + 5 else {"ta"})


def test_a_report_has_table_7_above_its_scenarios(results: tuple[str, Path], tmp_path: Path) -> None:
    preset, folder = results
    page = Page(report(preset, folder, out=tmp_path / "report.html").read_text())
    expected = list(markdown_rows(table(7, preset, folder)))
    width = (len(expected[0]) - 1) // 2  # of a data set: its title and its columns
    for number in range(2):
        own = slice(2 + number * width, 1 + (number + 1) * width)
        assert page.tables[f"s-mismatch-{number + 1}"] == [
            [row[0], *row[own]] if any(row[1:]) else row[:1] for row in expected
        ]
    text = " ".join(page.text.split())
    assert "Given, hidden and sibling samples apart" in text
    assert "Hidden samples that methods found" in text
    assert "Beside the published numbers" in text
    assert "MIAShare of the concept's training samples that attack svc-released takes for non-members." in text
    everywhere = {value for _, key, value in page.attributes if key == "id"}
    assert {link[1:] for link in page.values("a", "href") if link.startswith("#")} <= everywhere
    mia = [row[4] for row in page.tables["s-t1-1-released"]]
    assert mia == [row[4] for row in page.tables["s-t1-1-clean"]]  # one number for both protocols
    assert "100.00±0.00" in mia
