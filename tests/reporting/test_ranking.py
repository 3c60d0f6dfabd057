"""Distances and ranks agree with scipy and definitions; no claim exceeds what the number of blocks supports."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, norm, t, wilcoxon

from unlearnbench import UserError, statistics, table
from unlearnbench.reporting import ranking
from unlearnbench.reporting.charts import ranks, svg
from unlearnbench.reporting.rendering import render
from unlearnbench.storage.records import read_record, write_record

GAPS = {"boundary": [0.10, 0.12], "laf": [0.02, 0.03], "scrub": [0.04, 0.01], "neggrad": [0.30, 0.20]}
TASKS = {"data-removal": "Data removal", "class-removal": "Class removal", "noisy-label-removal": "Noisy labels"}


@pytest.fixture
def results(tmp_path: Path) -> tuple[str, Path]:
    """Records of three tasks in which methods are as far from Retrain as `GAPS` says, times the task's number."""
    for (number, task), (method, gaps) in product(enumerate(TASKS, start=1), [*GAPS.items(), ("retrain", [0.0, 0.0])]):
        for seed, gap in enumerate(gaps):
            shift = gap * number
            numbers = {"train_r": 1 - shift, "train_f": 0.9 - shift, "test": 0.95 - shift, "asr": 0.5 + shift}
            made = {
                "schema": 1,
                "status": "ok",
                "cell": {
                    "dataset": "digits-8x8", "dataset_title": "DIGITS-8x8", "model": "cnn", "task": task,
                    "task_title": TASKS[task], "columns": ["train_r", "train_f", "test", "asr"], "method": method,
                    "method_title": method.title(), "role": "method", "access": "nothing", "start": "", "seed": seed,
                },
                "key": {"shadows": {"count": 8}},
                "metrics": {"clean": numbers, "attacks": {}},
                "observed": {"seconds": {"prepare": 0.0, "unlearn": 1.0}},
            }  # fmt: skip
            write_record(tmp_path / f"mine/records/digits-8x8/cnn/{task}/{method}/{seed}.json", made)
    path = tmp_path / "mine.toml"
    path.write_text('select.seeds = "0-1"\ndatasets.digits-8x8.model = "cnn"\n')
    return str(path), tmp_path


def test_ranks_are_means_over_tasks_of_the_order_of_gaps(results: tuple[str, Path]) -> None:
    found = ranking.rank(*results)
    assert list(found.methods) == ["Scrub", "Laf", "Boundary", "Neggrad"] or list(found.methods)[:2] == ["Laf", "Scrub"]
    assert dict(zip(found.methods, found.ranks.tolist(), strict=True)) == {
        "Laf": 1.5, "Scrub": 1.5, "Boundary": 3.0, "Neggrad": 4.0,
    }  # fmt: skip
    assert found.seeds == 2
    assert found.friedman is not None
    order = dict(zip(found.methods, zip(found.low, found.high, found.first, strict=True), strict=True))
    assert order["Neggrad"] == (4.0, 4.0, 0.0)
    assert order["Laf"][0] < 1.5 < order["Laf"][1]
    assert 0.2 < order["Laf"][2] < 1.0


def test_seeds_are_paired_and_only_those_of_all_methods_count(results: tuple[str, Path]) -> None:
    folder = results[1]
    path = next(folder.glob("mine/records/*/*/data-removal/laf/0.json"))
    path.unlink()  # laf's better seed: of the others only seed 1 counts there now
    found = ranking.rank(*results)
    assert found.seeds == 1
    assert found.dropped == {}
    ranks = dict(zip(found.methods, found.ranks.tolist(), strict=True))
    assert ranks["Laf"] == pytest.approx((1.5 + 1.5 + 2) / 3)
    for place in folder.glob("mine/records/*/*/class-removal/laf/*.json"):
        place.unlink()
    text = render(ranking.view(ranking.rank(*results)), "markdown")
    assert "Left out: Laf, which lacks class-removal on digits-8x8." in text
    assert "Ranked in each of 3 blocks" in text
    assert "| Laf " not in text


def test_a_method_with_one_task_is_left_out_and_takes_no_task_from_the_others(results: tuple[str, Path]) -> None:
    complete = ranking.rank(*results)
    for path in sorted(results[1].glob("mine/records/*/*/data-removal/laf/*.json")):
        record = read_record(path) or {}
        cell = {**record["cell"], "method": "ssd", "method_title": "SSD"}
        write_record(path.parents[1] / "ssd" / path.name, {**record, "cell": cell})
    found = ranking.rank(*results)
    assert (found.blocks, list(found.methods)) == (complete.blocks, list(complete.methods))
    assert (found.ranks == complete.ranks).all()
    text = render(ranking.view(found), "markdown")
    assert "- Left out: SSD, which lacks class-removal on digits-8x8, noisy-label-removal on digits-8x8." in text


def test_a_task_that_only_a_few_methods_have_is_left_out_and_named(results: tuple[str, Path]) -> None:
    complete = ranking.rank(*results)
    for path in sorted(results[1].glob("mine/records/*/*/data-removal/*/*.json")):
        record = read_record(path) or {}
        if record["cell"]["method"] in ("retrain", "laf"):
            other = {**record, "cell": {**record["cell"], "task": "data-removal+fraction=0.1"}}
            write_record(path.parents[2] / "data-removal+fraction=0.1" / path.parent.name / path.name, other)
    found = ranking.rank(*results)
    assert (found.blocks, list(found.methods)) == (complete.blocks, list(complete.methods))
    text = render(ranking.view(found), "markdown")
    assert "- Left out: data-removal+fraction=0.1 on digits-8x8, which less than half of the methods have." in text


def test_a_method_with_other_seeds_than_all_others_is_left_out(results: tuple[str, Path]) -> None:
    for path in sorted(results[1].glob("mine/records/*/*/*/*/*.json")):
        record = read_record(path) or {}
        if record["cell"]["method"] in ("retrain", "laf"):
            cell = {**record["cell"], "seed": 7 + record["cell"]["seed"]}
            write_record(path.with_name(f"{cell['seed']}.json"), {**record, "cell": cell})
            if record["cell"]["method"] == "laf":
                path.unlink()
    found = ranking.rank(*results)
    assert "Laf" not in found.methods
    assert len(found.methods) == 3
    text = render(ranking.view(found), "markdown")
    assert "- Left out: Laf, which has no seed in common with the others." in text


def test_methods_without_a_common_task_cannot_be_ranked(results: tuple[str, Path]) -> None:
    for task, kept in (("data-removal", ("laf", "scrub")), ("class-removal", ("boundary", "neggrad"))):
        for path in sorted(results[1].glob(f"mine/records/*/*/{task}/*/*.json")):
            if path.parent.name not in (*kept, "retrain"):
                path.unlink()
    with pytest.raises(UserError, match="none has all tasks and datasets: Boundary lacks data-removal on digits-8x8"):
        ranking.rank(*results)


def test_the_title_and_messages_have_the_name_of_a_preset_and_advice_has_its_file(results: tuple[str, Path]) -> None:
    assert ranking.view(ranking.rank(*results)).title == "Ranks by the gap to Retrain, preset mine"
    assert "preset mine" in table(1, *results).splitlines()[0]
    shutil.rmtree(results[1] / "mine" / "records")
    with pytest.raises(UserError) as error:
        ranking.rank(*results)
    assert str(error.value).endswith(f"{results[1] / 'mine'}: run `unlearnbench run --preset {results[0]}`")
    with pytest.raises(UserError) as error:
        table(1, *results, view="relearning")
    assert f"--preset {results[0]}" in str(error.value)


def test_resamples_draw_the_same_seeds_for_all_methods() -> None:
    gaps = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])  # the same order with every seed, so in every resample
    assert {tuple(ranks) for ranks in ranking.resamples([gaps, gaps])} == {(1.0, 2.0, 3.0)}


def test_each_way_to_draw_few_seeds_is_taken_once() -> None:
    gaps = np.array([[1.0, 2.0], [4.0, 2.0], [4.0, 3.9]])
    found = ranking.resamples([gaps])
    by_hand = [
        (gaps[[a, b, c], 0].sum() < gaps[[a, b, c], 1].sum()) for a in range(3) for b in range(3) for c in range(3)
    ]
    assert (found[:, 0] == 1).tolist() == by_hand
    assert len(ranking.resamples([gaps, gaps])) == 27**2
    five = np.arange(10.0).reshape(5, 2)
    assert len(ranking.resamples([five])) == 5**5
    assert len(ranking.resamples([five, five])) == ranking.RESAMPLES


def test_notes_say_which_resamples_were_taken(results: tuple[str, Path]) -> None:
    found = ranking.rank(*results)
    assert found.resampled == f"all {found.ways:,} ways to draw the {found.seeds} seeds again"
    assert f"the central 95 % of {found.resampled};" in render(ranking.view(found), "markdown")
    drawn = replace(found, resamples=ranking.RESAMPLES)
    assert drawn.resampled == f"2,000 resamples of the {found.seeds} seeds"


def test_one_seed_has_no_resamples(results: tuple[str, Path]) -> None:
    for path in results[1].glob("mine/records/*/*/*/*/1.json"):
        path.unlink()
    text = render(ranking.view(ranking.rank(*results)), "markdown")
    assert "One seed cannot show how stable ranks are: two or more are needed." in text
    assert [line.split("|")[3].strip() for line in text.splitlines() if "Laf" in line] == ["-"]


def test_bars_join_methods_within_the_critical_difference(results: tuple[str, Path]) -> None:
    found = ranking.rank(*results)
    limit = found.critical_difference
    assert limit is not None
    assert limit == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 3)), abs=2e-3)
    assert ranks.cliques(found) == [(0, 3)]
    closer = replace(found, ranks=np.array([1.0, 2.0, 3.0, 1.5 + limit]))
    assert ranks.cliques(closer) == [(0, 2), (1, 3)]


def test_three_blocks_support_no_claim_about_pairs(results: tuple[str, Path]) -> None:
    text = render(ranking.view(ranking.rank(*results)), "markdown")
    assert (
        "No pair can differ at 5% with 3 blocks, whatever the numbers: 6 pairs need 8 blocks (Wilcoxon, Holm)." in text
    )
    assert "before" not in text


def test_the_diagram_is_svg_with_every_method_once(results: tuple[str, Path]) -> None:
    found = ranking.rank(*results)
    root = ElementTree.fromstring(svg.file_text(ranks.diagram(found), []))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for name, rank in zip(found.methods, found.ranks, strict=True):
        assert texts.count(f"{name} ({rank:.2f})") == 1


def test_gaps_are_means_over_columns_in_points(results: tuple[str, Path], tmp_path: Path) -> None:
    text = table(1, *results, format="csv", view="distance", cache=tmp_path / "cache")
    rows = {line.split(",")[1]: line.split(",") for line in text.splitlines()[1:]}
    assert float(rows["Laf"][2]) == pytest.approx(2.5)
    assert float(rows["Laf"][3]) == pytest.approx(math.sqrt(0.5))
    assert rows["Laf"][5:8] == ["", "", "0"]  # no second Retrain, so no noise floor
    assert float(rows["Laf"][8]) == pytest.approx(100 * (0.98**3 + 0.97**3) / 2)
    assert "Retrain" not in rows
    assert rows["Laf"][11:14] == ["", "", "0"]  # no outputs, so no divergence
    shown = table(1, *results, view="distance", cache=tmp_path / "cache")
    assert "n/a" in shown
    assert "Gap, Floors and ToW only: no outputs of these cells are in the cache." in shown


def test_tests_over_blocks_are_scipys() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(8, 4))
    assert statistics.friedman(scores) == pytest.approx(friedmanchisquare(*scores.T).pvalue)
    difference = scores[:, 0] - scores[:, 1]
    assert statistics.signed_rank(difference) == pytest.approx(wilcoxon(difference, method="exact").pvalue)
    assert statistics.signed_rank(np.zeros(5)) == 1.0
    tied = np.full(5, 0.01)
    assert statistics.signed_rank(tied) == pytest.approx(statistics.least_p(5))
    assert statistics.signed_rank(np.array([1.0, 1.0, 1.0, -1.0])) == pytest.approx(10 / 16)
    assert statistics.friedman(scores[:1]) is None
    assert statistics.friedman(np.ones((4, 3))) is None


def test_the_least_p_is_that_of_differences_that_all_agree() -> None:
    for blocks in range(2, 12):
        assert statistics.signed_rank(np.arange(1.0, blocks + 1)) == pytest.approx(statistics.least_p(blocks))


def test_holms_correction_is_that_of_a_published_example() -> None:
    """The example of Aickin & Gensler, American Journal of Public Health 1996, in its order and out of it."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(("methods", "q"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_that_of_demsars_table(methods: int, q: float) -> None:
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 12))
    assert statistics.critical_difference(methods, 12) == pytest.approx(expected, abs=2e-3)


def test_paired_intervals_are_students_and_cover_the_truth_in_95_percent_of_cases() -> None:
    rng = np.random.default_rng(2)
    sample = rng.normal(1, 2, 5)
    found = statistics.paired(sample)
    low, high = t.interval(0.95, 4, sample.mean(), sample.std(ddof=1) / math.sqrt(5))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert statistics.paired(sample[:1]).low == -math.inf
    hits = sum(i.low <= 1 <= i.high for i in (statistics.paired(rng.normal(1, 2, 5)) for _ in range(2000)))
    margin = norm.ppf(0.9995) * math.sqrt(0.95 * 0.05 / 2000)
    assert abs(hits / 2000 - 0.95) < margin


def test_auc_intervals_cover_the_truth_in_95_percent_of_cases() -> None:
    rng = np.random.default_rng(3)
    truth = norm.cdf(0.8 / math.sqrt(2))
    found = (statistics.auc(rng.normal(0.8, 1, 150), rng.normal(0, 1, 150)) for _ in range(1500))
    hits = sum(i.low <= truth <= i.high for i in found)
    assert abs(hits / 1500 - 0.95) < 0.02


def test_a_ranking_without_records_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with pytest.raises(UserError, match="there are no records to rank"):
        ranking.rank("demo", tmp_path)
