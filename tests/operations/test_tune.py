"""Hyperparameters are chosen by a rule, without the test set, and all trials are logged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from conftest import METHODS, one_by_one

from unlearnbench import UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.cli.main import main
from unlearnbench.operations import tune
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.storage.store import Store

GRID = {"lr": [1e-6, 1e-4]}


def rows_of(images: torch.Tensor) -> set[bytes]:
    return {bytes(image) for image in images.flatten(1).numpy()}


def test_the_tuning_set_has_training_images_only(store: Store, digits: Dataset) -> None:
    tuning_set, _ = Datasets(store).load("digits-8x8-tuning", Path("no"))
    assert (len(tuning_set.train_labels), len(tuning_set.test_labels)) == (1153, 284)
    assert rows_of(tuning_set.pool.train_images) == rows_of(digits.train_images)
    assert not rows_of(tuning_set.train_images) & rows_of(tuning_set.test_images)
    share = tuning_set.test_labels.bincount() / tuning_set.pool.train_labels.bincount()
    assert (share - 0.2).abs().max() < 0.01


@pytest.fixture(scope="module")
def tuned(tiny: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tune.Tuning:
    lines: list[str] = []
    selection = Selection.of(tiny, "digits-8x8", "data-removal")
    workspace = Workspace.of(tmp_path_factory.mktemp("tuned"), cache)
    with pytest.MonkeyPatch.context() as patch:  # test_files.py tunes in workers
        patch.setattr(tune, "in_parallel", one_by_one)
        tuning = tune.tune("neggrad", selection, workspace, grid=GRID, effort=Effort(jobs=1), say=lines.append)
    # One pass for the original, four fifths of one for Retrain, and five passes over a fifth for each point.
    assert lines[0] == "2 points of neggrad on digits-8x8-tuning, data-removal: 4 passes over its training set"
    assert lines[-1].startswith("[4/4] NegGrad lr=0.0001: train_r")
    return tuning


def test_the_point_closest_to_retrain_is_chosen(tuned: tune.Tuning) -> None:
    retrain, original, *points = tuned.trials
    assert (retrain.name, original.name, [p.point["lr"] for p in points]) == ("Retrain", "Original", [1e-6, 1e-4])
    for trial in (original, *points):
        differences = [
            abs(trial.measures[name] - retrain.measures[name]) for name in ("train_r", "train_f", "test", "auc")
        ]
        assert trial.distance == pytest.approx(sum(differences) / 4)
    assert tuned.best is min(points, key=lambda p: p.distance)
    assert abs(points[0].distance - original.distance) < 1  # so small a step changes next to nothing


def test_all_trials_are_in_the_log_and_none_in_a_record(tuned: tune.Tuning) -> None:
    text = tuned.log.read_text()
    assert all(f"lr = {value}" in text for value in (1e-06, 0.0001))
    assert f"Chosen: lr = {tuned.best.point['lr']}" in text
    assert "seed 1000" in text
    assert not list(tuned.log.parents[4].rglob("*.json"))
    assert [path.suffix for path in tuned.log.parents[4].rglob("*") if path.is_file()] == [".md"]


@pytest.mark.parametrize("name", METHODS)
def test_every_tunable_method_has_a_grid_of_the_same_size(name: str) -> None:
    untunable = ("retrain", "sisa", "scrub-r", "laf-none-l1", "laf-none-l2")  # see grids.toml
    if name in untunable or registry.get(tune.Method, name).role == "control":
        with pytest.raises(UserError, match="there is no grid"):
            tune.points_of(name, None)
    else:
        points = tune.points_of(name, None)
        assert len(points) == tune.MAX_POINTS
        method = registry.get(tune.Method, name)
        for point in points:
            method.resolve(name, point)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["neggrad", "-d", "digits-8x8", "--grid", "lr=1,2,3,4,5"], "at most 4 points, and this grid has 5"),
        (["neggrad", "-d", "digits-8x8", "--grid", "rate=1"], "unknown option of method 'neggrad': 'rate'"),
        (["retrain", "-d", "digits-8x8"], "there is no grid for retrain: give one"),
        (["neggrad", "-d", "mnist"], "unknown data set in preset tiny: 'mnist'"),
        (["negrad", "-d", "digits-8x8"], "unknown method 'negrad': did you mean 'neggrad'"),
    ],
)
def test_bad_input_gets_one_clear_message(
    words: list[str], message: str, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    places = ["-t", "data-removal", "--preset", str(tiny), "--cache", str(cache), "--results", str(tmp_path)]
    done = CliRunner().invoke(main, ["tune", *words, *places])
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_data_set_without_a_tuning_set_is_refused_with_those_that_have_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cifar10 has no tuning set; digits-8x8, mnist have one"):
        tune.tune("neggrad", Selection.of("paper", "cifar10", "data-removal"), Workspace.of(tmp_path))


@pytest.mark.usefixtures("in_this_process")
def test_no_point_is_chosen_if_all_fail(tiny: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every point of neggrad failed, the last with FloatingPointError"):
        tune.tune(
            "neggrad",
            Selection.of(tiny, "digits-8x8", "data-removal"),
            Workspace.of(tmp_path, cache),
            grid={"lr": [1e30]},
            say=lambda _: None,
        )
