"""Hyperparameters are chosen by a rule, without the test set; all trials are logged, and none is computed twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import one_by_one

from unlearnbench import UserError, statistics
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.cli.main import main
from unlearnbench.operations import tune
from unlearnbench.operations.work import Effort
from unlearnbench.planning import presets, tuned
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.storage.store import Store
from unlearnbench.tuning import rule, trials
from unlearnbench.tuning.spaces import Choices, Range

SPACE = {"lr": Range(1e-6, 1e-1)}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def preset(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "mine.toml"
    path.write_text(tiny.read_text() + "\n[tuning]\npoints = [3, 2]\n")
    return path


@pytest.fixture(scope="module")
def workspace(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.of(tmp_path_factory.mktemp("tuned"), cache)


def run(preset: Path, workspace: Workspace, methods: Sequence[str] = ("neggrad",), **more: Any) -> list[str]:
    """Tunes in this process; returns the progress lines."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:  # test_files.py tunes in workers
        patch.setattr(tune, "in_parallel", one_by_one)
        selection = Selection.of(preset, "digits-8x8", "data-removal")
        tune.tune(methods, selection, workspace, effort=Effort(jobs=1), say=lines.append, **more)
    return lines


@pytest.fixture(scope="module")
def lines(preset: Path, workspace: Workspace) -> list[str]:
    return run(preset, workspace, space=SPACE, write=True)


@pytest.fixture
def log(lines: list[str], workspace: Workspace) -> Path:
    return workspace.results / "tuning/mine/digits-8x8/data-removal/neggrad.csv"


def test_the_best_points_of_the_first_split_go_on_to_the_second(lines: list[str], log: Path) -> None:
    entries = trials.read(log)
    first = [entry for entry in entries if entry.split == 0]
    second = [entry for entry in entries if entry.split == 1]
    assert [entry.network for entry in first] == ["Retrain", "Original", "1", "2", "3"]
    best = rule.ranked(rule.scored(first))[:2]
    assert {entry.network for entry in second} == {"Retrain", "Original", *(row.network for row in best)}
    # The original 1 pass, Retrain four fifths of one, and NegGrad five epochs on a fifth for each of three points.
    assert lines[0] == "tuning split 1 of 2: 5 trials to compute, 5 passes over the training set"


def test_the_choice_stands_beside_the_preset_with_the_hash_of_its_log(preset: Path, log: Path) -> None:
    (choice,) = presets.read(str(preset)).tuned.values()
    rows = rule.scored(trials.read(log))
    assert choice.values == rule.ranked(rows)[0].point
    assert choice.gain == rule.gain(rows, rule.ranked(rows)[0])
    assert choice.sha256 == hashlib.sha256(log.read_bytes()).hexdigest()
    assert log.parts[-5:] == tuple(Path(choice.log).parts)


def test_the_page_has_every_trial_the_choice_and_the_command(log: Path, preset: Path) -> None:
    text = log.with_suffix(".md").read_text()
    entries = trials.read(log)
    chosen = rule.ranked(rule.scored(entries))[0]
    assert f"Chosen: point {chosen.network}, lr = {chosen.point['lr']}." in text
    for entry in entries:
        assert (entry.reason or f"{entry.measures['train_f']:.2f}") in text
    assert f"unlearnbench tune neggrad -d digits-8x8 -t data-removal --preset {preset} --points 3,2" in text


def test_a_second_run_computes_nothing_and_a_lost_trial_alone_is_computed_again(
    lines: list[str], log: Path, preset: Path, workspace: Workspace
) -> None:
    before = log.read_bytes()
    again = run(preset, workspace, space=SPACE)
    assert [line.partition(": ")[2] for line in again] == ["0 trials to compute, 0 passes over the training set"] * 2
    assert log.read_bytes() == before
    trials.write(log, trials.read(log)[:-1])  # as after a kill
    assert "1 trials to compute" in run(preset, workspace, space=SPACE)[1]
    assert log.read_bytes() == before


def test_a_trial_of_other_code_or_data_is_computed_again(
    lines: list[str], log: Path, preset: Path, workspace: Workspace
) -> None:
    before = log.read_bytes()
    first, *others = trials.read(log)
    trials.write(log, [replace(first, key="of another version"), *others])
    assert "1 trials to compute" in run(preset, workspace, space=SPACE)[0]
    assert log.read_bytes() == before


def test_a_dry_run_computes_nothing(preset: Path, cache: Path, tmp_path: Path) -> None:
    fresh = Workspace.of(tmp_path, cache)
    (line,) = run(preset, fresh, space={"lr": Range(1e-6, 1e-2)}, dry_run=True)
    assert line.startswith("9 trials to compute")
    assert not list(tmp_path.rglob("*.csv"))


def test_measures_are_accuracies_on_training_images_and_the_auc_of_a_loss_attack(
    log: Path, preset: Path, workspace: Workspace
) -> None:
    entry = next(entry for entry in trials.read(log) if entry.network == "Original")
    selection = Selection.of(preset, "digits-8x8", "data-removal")
    cell = tune.cell_of("original", {}, tune.TuningSplit("digits-8x8", 0), "data-removal", selection, workspace)
    outputs, _ = workspace.store.load(cell.outputs.key) or ({}, {})
    loaded = LoadedScenario.of(cell.scenario, Datasets(workspace.store))
    content, forget, heldout = loaded.content, loaded.split.forget, loaded.split.heldout
    right = outputs["train"].argmax(1) == content.train_labels
    assert entry.measures["train_f"] == pytest.approx(100 * right[forget].double().mean().item(), abs=1e-4)
    held_out = outputs["test"].argmax(1) == content.test_labels
    assert entry.measures["test"] == pytest.approx(100 * held_out.double().mean().item(), abs=1e-4)

    def log_probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return logits.double().log_softmax(1)[torch.arange(len(labels)), labels]

    members = log_probability(outputs["train"][forget], content.train_labels[forget])
    others = log_probability(outputs["test"][heldout], content.test_labels[heldout])
    above = (members[:, None] > others).double().mean() + 0.5 * (members[:, None] == others).double().mean()
    assert entry.measures["auc"] == pytest.approx(100 * above.item(), abs=1e-4)
    assert statistics.auc(members.numpy(), others.numpy()).value == pytest.approx(above.item())


def test_hidden_samples_count_as_forgotten(preset: Path, workspace: Workspace) -> None:
    selection = Selection.of(preset, "digits-8x8", "target-mismatch")
    cell = tune.cell_of("original", {}, tune.TuningSplit("digits-8x8", 0), "target-mismatch", selection, workspace)
    loaded = LoadedScenario.of(cell.scenario, Datasets(workspace.store))
    content = loaded.content
    train, test = (torch.nn.functional.one_hot(labels, 10) for labels in (content.train_labels, content.test_labels))
    is_hidden = (content.train_labels == 9)[:, None]  # the class 0 is pointed at, its sibling is 9
    outputs = {"train": torch.where(is_hidden, -train, train).float(), "test": torch.zeros_like(test).float()}
    measures = tune.measures_of(loaded, outputs, cell.info.columns)
    assert measures["train_r"] == 100
    given, hidden = (int((content.train_labels == label).sum()) for label in (0, 9))
    assert measures["train_f"] == pytest.approx(100 * given / (given + hidden))
    assert measures["auc"] == pytest.approx(100 * given / (given + hidden))  # zeros give held-out samples 1/10


def test_class_removal_is_judged_on_forgotten_and_retained_classes_apart(preset: Path, workspace: Workspace) -> None:
    selection = Selection.of(preset, "digits-8x8", "class-removal")
    cell = tune.cell_of("original", {}, tune.TuningSplit("digits-8x8", 0), "class-removal", selection, workspace)
    measures, reason = tune.attempt(cell, workspace.store)
    assert (list(measures), reason) == (["train_r", "train_f", "test_r", "test_f", "auc"], "")


def test_no_point_is_chosen_if_all_fail(tiny: Path, cache: Path, tmp_path: Path) -> None:
    preset = tmp_path / "diverging.toml"
    preset.write_text(tiny.read_text() + "[methods.neggrad]\nlr = 1e29\n")
    with pytest.raises(UserError, match="every point of digits-8x8 data-removal neggrad failed, the last with"):
        run(preset, Workspace.of(tmp_path, cache), space={"lr": Choices([1e30, 1e31])}, budget=(2,))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["neggrad", "--points", "3,4"], "numbers from 1, in falling order, e.g. 8,3: not (3, 4)"),
        (["neggrad", "--points", "few"], "--points takes numbers such as 12,12,12, not 'few'"),
        (["neggrad", "--space", "rate=1,2"], "unknown option of method 'neggrad': 'rate'"),
        (["neggrad", "--space", "lr=1:0"], "lr needs a range LOW:HIGH with 0 < LOW < HIGH, or values V1,V2"),
        (["sisa"], "no space is declared for sisa: give one, e.g. --space lr=1e-5:1e-2"),
        (["neggrad", "laf-r", "--space", "lr=1,2"], "--space belongs to one method: name it"),
        (["neggrad", "--all"], "name the methods to tune, or use --all"),
        (["neggrad", "-d", "mnist"], "unknown data set in preset tiny: 'mnist'"),
        (["neggrad", "-p", "boundary.lr=1"], "unknown method or task to tune: 'boundary'"),
        (["negrad"], "unknown method 'negrad': did you mean 'neggrad'"),
        (["neggrad", "-t", "data-removl"], "unknown task 'data-removl': did you mean 'data-removal'"),
    ],
)
def test_bad_input_gets_one_clear_message(
    words: list[str], message: str, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    places = ["--preset", str(tiny), "--cache", str(cache), "--results", str(tmp_path)]
    done = CliRunner().invoke(main, ["tune", *words, *places])
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize("name", presets.names())
def test_every_tuned_value_of_a_published_preset_follows_from_its_log(name: str, store: Store) -> None:
    preset = presets.read(name)
    for choice in preset.tuned.values():
        log = ROOT / "results" / choice.log
        assert hashlib.sha256(log.read_bytes()).hexdigest() == choice.sha256, log
        rows = rule.scored(trials.read(log))
        best = rule.ranked(rows)[0]
        assert (best.point, rule.gain(rows, best)) == (choice.values, choice.gain), log
        assert {trial.split for trial in trials.read(log)} == set(range(len(preset.tuning.points)))
    assert tuned.path_for(presets.file_of(name)).name == f"{name}.tuned.toml"


def test_a_trial_of_another_space_is_not_taken_for_one_of_this(
    lines: list[str], preset: Path, workspace: Workspace, log: Path
) -> None:
    """The default is the first point of every space, and its network is the same."""
    before = log.read_bytes()
    wider = {**SPACE, "epochs": Choices([5])}
    again = run(preset, workspace, space=wider)
    first = next(entry for entry in trials.read(log) if entry.network == "1")
    assert set(first.point) == {"lr", "epochs"}
    assert "--space 'lr=1e-06:0.1' --space epochs=5" in log.with_suffix(".md").read_text() or (
        "--space lr=1e-06:0.1 --space epochs=5" in log.with_suffix(".md").read_text()
    )
    assert again
    run(preset, workspace, space=SPACE)
    assert log.read_bytes() == before


def test_a_retrain_that_fails_is_named(
    preset: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = tune.attempt

    def failing(job: Any, store: Store) -> tuple[dict[str, float], str]:
        is_retrain = getattr(job, "method", "") == "retrain"
        return ({}, "out of memory") if is_retrain else attempt(job, store)

    monkeypatch.setattr(tune, "attempt", failing)
    with pytest.raises(UserError, match="Retrain of digits-8x8 data-removal neggrad failed on tuning split 0: out of"):
        run(preset, Workspace.of(tmp_path, cache), space={"lr": Choices([1e-6, 1e-5])}, budget=(2,))


def test_the_command_of_a_page_has_the_options_that_were_given(preset: Path, cache: Path, tmp_path: Path) -> None:
    selection = Selection.of(preset, "digits-8x8", "data-removal", overrides={"neggrad": {"epochs": 1}})
    workspace = Workspace.of(tmp_path, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "in_parallel", one_by_one)
        (tuning,) = tune.tune(["neggrad"], selection, workspace, space=SPACE, budget=(1,), say=lambda line: None)
    assert "-p neggrad.epochs=1" in tuning.page.splitlines()[-1]


def test_a_trial_that_failed_is_tried_again_but_one_that_diverged_is_not(
    lines: list[str], log: Path, preset: Path, workspace: Workspace
) -> None:
    before = log.read_bytes()
    *others, last = trials.read(log)
    trials.write(log, [*others, replace(last, measures={}, reason="its process died")])
    assert "1 trials to compute" in run(preset, workspace, space=SPACE)[1]
    assert log.read_bytes() == before
    trials.write(log, [*others, replace(last, measures={}, reason="FloatingPointError: neggrad diverged")])
    assert "0 trials to compute" in run(preset, workspace, space=SPACE)[1]
    trials.write(log, [*others, last])
    assert log.read_bytes() == before


def test_a_method_without_a_usable_point_does_not_keep_the_others_from_their_choice(
    tiny: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tmp_path / "two.toml"
    preset.write_text(tiny.read_text() + "\n[tuning]\npoints = [1]\n")
    attempt = tune.attempt

    def failing(job: Any, store: Store) -> tuple[dict[str, float], str]:
        return ({}, "its process died") if getattr(job, "method", "") == "neggrad" else attempt(job, store)

    monkeypatch.setattr(tune, "attempt", failing)
    with pytest.raises(UserError, match="every point of digits-8x8 data-removal neggrad failed, the last with its pro"):
        run(preset, Workspace.of(tmp_path, cache), methods=["neggrad", "boundary"], write=True)
    assert [choice.method for choice in presets.read(str(preset)).tuned.values()] == ["boundary"]


def test_two_data_sets_with_one_network_cannot_both_write_their_choice(cache: Path, tmp_path: Path) -> None:
    workspace = Workspace.of(tmp_path, cache)
    message = "mnist and fashion-mnist have the same network, cnn, for which --write keeps one choice: name one"
    with pytest.raises(UserError, match=message):
        tune.tune(["neggrad"], Selection.of("paper", ["mnist", "fashion-mnist"]), workspace, dry_run=True, write=True)
