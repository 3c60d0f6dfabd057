"""Distances between outputs are those of closed forms, and tables show them with what they need."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from made_up import write_all
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp, softmax
from scipy.stats import entropy

from unlearnbench import UserError
from unlearnbench.reporting import confusion, distance
from unlearnbench.reporting.cells import Cells, cells_of_table
from unlearnbench.reporting.grid import Grid, grid_text
from unlearnbench.reporting.outputs import PARTS, Key, Part, Parts
from unlearnbench.reporting.samplewise import (
    BINS,
    LEAST,
    activation_distance,
    compared,
    confusion_by_class,
    divergence_of_margins,
    jensen_shannon,
    klom,
    margins,
    zero_retrain_forgetting,
)
from unlearnbench.storage.records import write_record

FAR = -math.log(LEAST)
"""The divergence, in nats, of two histograms that share no bin, up to 1e-5."""


def part(
    logits: Sequence[Sequence[float]], labels: Sequence[int], classes: Sequence[int] = (), index: Sequence[int] = ()
) -> Part:
    """The outputs on some samples; the true labels and positions are those given, or the labels and 0, 1, ..."""
    values = np.asarray(logits, dtype=np.float64)
    positions = np.asarray(index or range(len(values)))
    return Part(positions, values, np.asarray(labels), np.asarray(classes or labels))


def predicting(predicted: Sequence[int], labels: Sequence[int], classes: Sequence[int] = ()) -> Part:
    """The outputs of a network that is sure of these classes, of five."""
    return part(10 * np.eye(5)[list(predicted)], labels, classes)


def everywhere(one: Part) -> dict[str, Part]:
    """The same outputs on every part of the data."""
    return dict.fromkeys(PARTS, one)


def test_disagreement_counts_samples_of_different_classes() -> None:
    mine = np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    labels = [0, 0, 0, 0]
    own = {"forget": part(mine[:3], labels[:3]), "retain": part(mine, labels), "test": part(mine[:1], labels[:1])}
    other = {**own, "forget": part(mine[:3, ::-1], labels[:3])}
    found = compared(own, other)
    assert (found["disagreement_forget"], found["disagreement_retain"], found["jsd_test"]) == (100.0, 0.0, 0.0)


def test_jensen_shannon_is_scipys_squared_and_in_bits() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), 20), rng.dirichlet(np.ones(5), 20)
    assert jensen_shannon(p, q) == pytest.approx([jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, q, strict=True)])
    assert jensen_shannon(np.eye(3)[:1], np.eye(3)[1:2])[0] == pytest.approx(1.0)
    assert (jensen_shannon(p, p) == 0).all()


def test_activation_distance_is_that_of_points_of_the_simplex() -> None:
    p, q = np.array([[1.0, 0.0], [0.7, 0.3], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.3, 0.7], [0.5, 0.5]])
    assert activation_distance(p, q) == pytest.approx([math.sqrt(2), 0.4 * math.sqrt(2), 0.0])
    found = compared(everywhere(part(np.log(p[1:]), [0, 0])), everywhere(part(np.log(q[1:]), [0, 0])))
    assert found["activation_test"] == pytest.approx(100 * 0.2 * math.sqrt(2))


def test_zrf_is_100_for_the_untrained_network_and_0_for_one_that_is_sure_of_what_the_other_excludes() -> None:
    untrained = part([[0.0, 0.0]], [0])
    assert zero_retrain_forgetting(untrained, untrained) == 100.0
    sure, other = part([[0.0, -1e4]], [0]), part([[-1e4, 0.0]], [0])
    assert zero_retrain_forgetting(sure, other) == pytest.approx(0.0)
    # p = (1, 0) and q = (1/2, 1/2) have the middle (3/4, 1/4):
    closed = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2))
    assert zero_retrain_forgetting(sure, untrained) == pytest.approx(100 * (1 - closed))


def test_margins_are_log_odds_of_the_label() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4))
    labels = [0, 1, 2, 3, 0, 1]
    index, found = margins(part(logits, labels, index=[3, 5, 7, 8, 9, 11]))
    p = softmax(logits, axis=1)[range(6), labels]
    assert found == pytest.approx(np.log(p / (1 - p)))
    assert index.tolist() == [3, 5, 7, 8, 9, 11]
    direct = logits[2, 2] - logsumexp(np.delete(logits[2], 2))
    assert found[2] == pytest.approx(direct)


@pytest.mark.parametrize(
    ("own", "reference", "closed"),
    [
        ([1.0, 2.0, 3.0], [3.0, 1.0, 2.0], 0.0),
        ([7.0, 7.0], [7.0, 7.0], 0.0),
        # In one bin each, at both ends: p log(p / q) with p = 1, and q = LEAST of 1 + LEAST in all.
        ([0.0, 0.0], [1.0, 1.0], FAR + math.log(1 + LEAST)),
        # p = (1/2, 1/2) and q = (1/4, 3/4): a coin against another.
        ([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        # Beyond the limits, all margins are alike.
        ([1e3, 1e4], [1e5, 200.0], 0.0),
    ],
)
def test_klom_of_one_sample_is_that_of_two_histograms(own: list[float], reference: list[float], closed: float) -> None:
    found = divergence_of_margins(np.array(own)[:, None], np.array(reference)[:, None])
    assert found == pytest.approx([closed], abs=1e-12)


def test_klom_is_scipys_divergence_of_numpys_histograms() -> None:
    """Networks that do not count for a sample are left out on both sides."""
    rng = np.random.default_rng(0)
    own, reference = rng.normal(0, 1, (30, 8)), rng.normal(0.5, 2, (30, 8))
    counts = rng.random((30, 8)) < 0.7
    expected = []
    for mine, theirs, which in zip(own.T, reference.T, counts.T, strict=True):
        edges = np.histogram_bin_edges(np.concatenate([mine[which], theirs[which]]), BINS)
        p, q = (np.histogram(values[which], edges)[0] / which.sum() for values in (mine, theirs))
        expected.append(entropy(p, np.where(p > 0, np.maximum(q, LEAST), q)))
    found = divergence_of_margins(np.where(counts, own, np.nan), np.where(counts, reference, np.nan))
    assert found == pytest.approx(expected)


def test_klom_compares_a_sample_over_the_seeds_in_which_it_belongs_to_the_part() -> None:
    """Sample 0 is forgotten with all seeds, sample 1 with two, sample 2 with one, which is too few."""

    def of(*values: tuple[list[int], list[float]]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        return {seed: (np.array(index), np.array(margin)) for seed, (index, margin) in enumerate(values)}

    own = of(([0, 1, 2], [0.0, 5.0, 0.0]), ([0, 1], [0.0, 5.0]), ([0], [0.0]))
    reference = of(([0, 1, 2], [1.0, 5.0, 9.0]), ([0, 1], [1.0, 5.0]), ([0], [1.0]))
    means, pairs = klom(own, reference)
    assert means == {0: pytest.approx(FAR / 2, abs=1e-4), 1: pytest.approx(FAR / 2, abs=1e-4), 2: pytest.approx(FAR)}
    assert pairs == 2.5
    assert klom({0: own[0]}, {0: reference[0]}) == ({}, 0.0)
    assert klom({}, {}) == ({}, 0.0)


def test_confusion_counts_wrong_labels_of_the_same_class_only() -> None:
    """Zeros were called 1 and 2, threes were called 4; test samples have their true labels."""
    forget = predicting([1, 2, 0, 4, 4, 3], labels=[1, 2, 1, 4, 4, 4], classes=[0, 0, 0, 3, 3, 3])
    test = predicting([0, 2, 3, 0, 0, 3, 1], labels=[0, 0, 0, 0, 3, 3, 1])
    parts = {"forget": forget, "retain": predicting([1], [1]), "test": test}
    assert confusion_by_class(parts) == {
        "forget": {0: pytest.approx(2 / 3), 3: pytest.approx(2 / 3)},
        "test": {0: 0.25, 3: 0.0},
    }
    retrain = {**parts, "forget": predicting([0, 0, 0, 3, 4, 3], [1, 2, 1, 4, 4, 4], [0, 0, 0, 3, 3, 3])}
    found = compared(parts, retrain)
    assert found["confusion_forget"] == pytest.approx(100 * (2 / 3 + 1 / 3) / 2)
    assert found["confusion_test"] == 0.0


def test_without_wrong_labels_there_is_no_confusion() -> None:
    parts = everywhere(predicting([0, 1], [0, 0]))
    assert confusion_by_class(parts) == {"forget": {}, "test": {}}
    assert not any(name.startswith("confusion") for name in compared(parts, parts))


@dataclass
class Stored:
    """Outputs in memory, in place of those in a cache."""

    find: Callable[[str, int], Parts | None]
    keys: Mapping[Key, object] = field(default_factory=lambda: {("", "", 0): {}})

    def parts(self, _: str, method: str, seed: int) -> Parts | None:
        return self.find(method, seed)


def some_parts(method: str, seed: int) -> Parts:
    """Two forgotten samples, called 1 and 2 although they are zeros; methods have learned that, Retrain has not."""
    forget = predicting([0, 0] if method.startswith("retrain") else [1, 2], [1, 2], [0, 0])
    return {"forget": forget, "retain": predicting([3, 3], [3, 3]), "test": predicting([0, seed % 2], [0, 0])}


@pytest.fixture
def noisy(tmp_path: Path) -> Cells:
    """The cells of three seeds of noisy-label removal."""
    write_all(tmp_path, {"laf": ("Laf", 0.2), "untrained": ("Untrained", 0.9)}, tasks=["noisy-label-removal"])
    (cells,) = cells_of_table(3, str(tmp_path / "mine.toml"), tmp_path / "results")
    return cells


def shown(grid: Grid, method: str) -> dict[str, str]:
    """A row of a table as texts, by header."""
    row = next(row for row in grid.rows if row[1] == method)
    return {column.header: column.show(value) for column, value in zip(grid.columns, row, strict=True)}


def test_a_table_has_every_distance_and_says_over_how_many_pairs(noisy: Cells) -> None:
    grid = distance.view(noisy, Stored(some_parts))  # type: ignore[arg-type]
    laf, again = shown(grid, "Laf"), shown(grid, "Retrain again")
    assert laf["Conf_f"] == "100.00±0.00"
    assert (laf["KLOM_f"], laf["KLOM_r"]) == (f"{FAR:.2f}±0.00", "0.00±0.00")
    assert {again[name] for name in ("JSD_f", "Act_f", "KLOM_f", "Conf_f", "Conf_t")} == {"0.00±0.00"}
    assert laf["ZRF"] == "100.00±0.00"  # as the untrained network, which some_parts makes like a method
    text = " ".join(grid.notes)
    assert "11.5 is as far apart as it can be" in text
    assert "Pairs here: DIGITS-8X8 3 (f), 3 (r), 3 (t)." in text
    assert "ZRF, zero retrain forgetting" in text
    assert "Conf, interclass confusion (Goel et al., 2022)" in text
    lines = grid_text(grid, "csv").splitlines()
    assert lines[0].split(",")[2:5] == ["Gap mean", "Gap std", "Gap n"]
    assert lines[0].split(",")[-3:] == ["Conf_t mean", "Conf_t std", "Conf_t n"]


def test_the_zrf_of_retrain_is_in_a_note(noisy: Cells) -> None:
    def parts(method: str, seed: int) -> Parts:
        return everywhere(part([[0.0, 0.0]], [0])) if method == "untrained" else everywhere(part([[0.0, -1e4]], [0]))

    grid = distance.view(noisy, Stored(parts))  # type: ignore[arg-type]
    zrf = f"{100 * (1 - 0.5 * math.log2(4 / 3) - 0.25 * math.log2(4 / 3)):.2f}"
    assert any(f"Retrain has {zrf}±0.00 on DIGITS-8X8" in note for note in grid.notes)


def test_without_an_untrained_network_or_wrong_labels_a_table_has_no_such_columns(noisy: Cells) -> None:
    def parts(method: str, seed: int) -> Parts | None:
        return None if method == "untrained" else everywhere(predicting([0], [0]))

    grid = distance.view(noisy, Stored(parts))  # type: ignore[arg-type]
    headers = [column.header for column in grid.columns]
    assert headers[-1] == "KLOM_t"
    assert any("run it with -m untrained" in note for note in grid.notes)
    assert not any("interclass" in note for note in grid.notes)


def test_one_seed_has_no_klom(tmp_path: Path) -> None:
    write_all(tmp_path, {"laf": ("Laf", 0.2)}, seeds=1, tasks=["noisy-label-removal"])
    (cells,) = cells_of_table(3, str(tmp_path / "mine.toml"), tmp_path / "results")
    grid = distance.view(cells, Stored(some_parts))  # type: ignore[arg-type]
    assert shown(grid, "Laf")["KLOM_f"] == "n/a"
    assert any(note.startswith("No KLOM: it needs outputs of 2 seeds or more") for note in grid.notes)


def test_seeds_that_distances_leave_out_are_named(tmp_path: Path) -> None:
    """Retrain has no record of seed 2 and no outputs of seed 1; Laf has no outputs of seed 0."""
    results = write_all(tmp_path, {"laf": ("Laf", 0.2), "scrub": ("Scrub", 0.1)}, seeds=2, tasks=["data-removal"])
    for path in results.glob("mine/records/*/*/*/scrub/1.json"):
        record = json.loads(path.read_text())
        record["cell"]["seed"] = 2
        write_record(path.with_name("2.json"), record)

    def parts(method: str, seed: int) -> Parts | None:
        return None if (method, seed) in (("retrain", 1), ("laf", 0)) else some_parts(method, seed)

    (cells,) = cells_of_table(1, str(tmp_path / "mine.toml"), results)
    grid = distance.view(cells, Stored(parts))  # type: ignore[arg-type]
    assert list(grid.notes[-2:]) == [
        "Left out, because Retrain lacks the seed: DIGITS-8X8 Scrub (seed 2).",
        "All but Gap, Floors and ToW leave out cells whose outputs are not in the cache: DIGITS-8X8 Retrain (seed 1); "
        "DIGITS-8X8 Laf (seed 0). A seed without Retrain's outputs is left out for every method. `merge --cache` "
        "copies outputs of other machines.",
    ]
    assert {row[1]: [number.n for number in row[2:]][3] for row in grid.rows} == {
        "Laf": 0, "Scrub": 1, "Original": 1, "Retrain again": 1,
    }  # fmt: skip


@pytest.mark.parametrize("view", [distance.view, confusion.view], ids=["distance", "confusion"])
def test_the_tables_fit_into_a_terminal(view: Callable[..., Grid], noisy: Cells) -> None:
    text = grid_text(view(noisy, Stored(some_parts)), "terminal")
    assert max(map(len, text.splitlines())) <= 80


def test_confusion_is_shown_class_by_class_with_retrain(noisy: Cells) -> None:
    grid = confusion.view(noisy, Stored(some_parts))  # type: ignore[arg-type]
    assert [column.header for column in grid.columns[2:]] == ["0_f", "0_t"]
    assert shown(grid, "Laf")["0_f"] == "100.00±0.00"
    assert shown(grid, "Retrain") == {
        "Data": "DIGITS-8X8",
        "Method": "Retrain",
        "0_f": "0.00±0.00",
        "0_t": "16.67±28.87",
    }
    assert grid_text(grid, "csv").splitlines()[0] == "Data,Method,0_f mean,0_f std,0_f n,0_t mean,0_t std,0_t n"


def test_confusion_needs_wrong_labels_and_outputs(noisy: Cells) -> None:
    with pytest.raises(UserError, match="no class of noisy-label-removal has wrong labels"):
        confusion.view(noisy, Stored(lambda *_: everywhere(predicting([0], [0]))))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no outputs of these cells are in the cache"):
        confusion.view(noisy, Stored(lambda *_: None, {}))  # type: ignore[arg-type]
