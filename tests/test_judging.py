"""What is exported is what the suite works with, and a network from elsewhere is judged as one of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from unlearnbench import judging, registry, seeds, tables
from unlearnbench.cli import main
from unlearnbench.data import Dataset
from unlearnbench.models import Model


@pytest.fixture
def exported(tiny: Path, cache: Path, tmp_path: Path, tiny_run: Path) -> Path:
    """The original of the tiny run and what it must forget."""
    folder = tmp_path / "exported"
    judging.export(folder, dataset="digits-8x8", task="noisy-label-removal", preset=tiny, cache=cache)
    return folder


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def score(weights: Path, tiny: Path, cache: Path, results: Path, *more: str) -> Result:
    names = ["-d", "digits-8x8", "-t", "noisy-label-removal", "--preset", tiny, "--cache", cache, "--results", results]
    return call("score", weights, *names, *more)


def test_forget_and_remain_divide_the_training_set_and_only_forgotten_labels_are_wrong(
    exported: Path, digits: Dataset
) -> None:
    forget, remain, labels = (np.load(exported / f"{name}.npy") for name in ("forget", "remain", "train_labels"))
    assert sorted([*forget, *remain]) == list(range(len(digits.train_labels)))
    assert (labels[remain] == digits.train_labels.numpy()[remain]).all()
    assert (labels[forget] != digits.train_labels.numpy()[forget]).all()


def test_the_exported_weights_load_into_the_network_that_about_names(exported: Path, tiny_run: Path) -> None:
    about = json.loads((exported / "about.json").read_text())
    network = registry.get(Model, about["network"]["model"]).build((1, 28, 28), about["dataset"]["classes"])
    network.load_state_dict(load_file(exported / "original.safetensors"))
    assert about["score"].startswith("unlearnbench score WEIGHTS.safetensors -d digits-8x8 -t noisy-label-removal")


def test_the_original_brought_back_gets_the_numbers_of_the_original(
    exported: Path, tiny: Path, cache: Path, tiny_run: Path
) -> None:
    done = score(exported / "original.safetensors", tiny, cache, tiny_run, "--name", "back again")
    assert done.exit_code == 0, done.output
    frame = tables.load(tiny_run).query("task == 'noisy-label-removal'").set_index("method")
    numbers = [c for c in frame.columns if c.startswith(("train_", "test", "asr", "released", "shadow."))]
    ours, theirs = frame.loc["back again", numbers], frame.loc["original", numbers]
    assert ours.astype(float).equals(theirs.astype(float))
    assert np.isnan(frame.loc["back again", "seconds_unlearn"])  # nobody here saw what it cost
    shown = tables.table(3, str(tiny), tiny_run)
    assert "*Made elsewhere*" in shown
    assert "back again (not enforced)" in shown


def test_other_weights_get_other_numbers_and_a_second_verdict_is_free(
    tiny: Path, cache: Path, tiny_run: Path, tmp_path: Path
) -> None:
    with seeds.pinned("random weights"):
        network = registry.get(Model, "cnn").build((1, 28, 28), 10)
    path = tmp_path / "untrained.safetensors"
    save_file(network.state_dict(), path)
    first = score(path, tiny, cache, tiny_run, "--json")
    record = json.loads(first.stdout)
    assert record["metrics"]["clean"]["test"] < 0.3
    assert record["cell"]["method"] == "untrained"
    assert score(path, tiny, cache, tiny_run, "--dry-run").stdout.count("cached") == 2


def test_a_network_that_answers_nan_fails_and_says_so(
    exported: Path, tiny: Path, cache: Path, tiny_run: Path, tmp_path: Path
) -> None:
    weights = {name: torch.full_like(t, torch.nan) for name, t in load_file(exported / "original.safetensors").items()}
    path = tmp_path / "nan.safetensors"
    save_file(weights, path)
    done = score(path, tiny, cache, tmp_path / "results")
    assert done.exit_code == 1
    assert "nan failed: FloatingPointError" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.1.bias"), "head.1.bias is not there, and should be (10,)"),
        (lambda w: w.update(extra=torch.zeros(2)), "extra is (2,), and should be not there"),
        (lambda w: w.update({"head.1.bias": torch.zeros(7)}), "head.1.bias is (7,), and should be (10,)"),
    ],
)
def test_weights_of_another_network_are_refused(
    change: object, message: str, exported: Path, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    weights = load_file(exported / "original.safetensors")
    change(weights)  # type: ignore[operator]
    path = tmp_path / "other.safetensors"
    save_file(weights, path)
    done = score(path, tiny, cache, tmp_path)
    assert done.exit_code == 2
    assert message in done.stderr


def test_bad_files_and_names_get_one_clear_message(exported: Path, tiny: Path, cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights at all")
    for path, more, message in (
        (tmp_path / "nowhere.safetensors", (), "nowhere.safetensors: No such file or directory"),
        (broken, (), "broken.safetensors is no safetensors file"),
        (exported / "original.safetensors", (), "original is the name of a method"),
        (exported / "original.safetensors", ("--name", "laf"), "laf is the name of a method"),
    ):
        done = score(path, tiny, cache, tmp_path, *more)
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Traceback" not in done.output
