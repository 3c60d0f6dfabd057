"""Exports contain the data that the suite itself uses; external networks are evaluated like those of the suite."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import plan_in
from safetensors.torch import load_file, save_file

from unlearnbench import load, table
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.cli.main import main
from unlearnbench.operations.export import export, facts_of
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Model
from unlearnbench.runtime import seeds
from unlearnbench.storage.store import Store

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the results of the tiny run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "finished"))


@pytest.fixture
def exported(tiny: Path, cache: Path, tmp_path: Path, tiny_run: Path) -> Path:
    """An export of the original of the tiny run and its forget set."""
    folder = tmp_path / "exported"
    export(folder, Selection.of(tiny, "digits-8x8", "noisy-label-removal", seeds=0), Workspace.of(cache=cache))
    return folder


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def score(weights: Path, tiny: Path, cache: Path, results: Path, *more: str) -> Result:
    names = ["-d", "digits-8x8", "-t", "noisy-label-removal", "--preset", tiny, "--cache", cache, "--results", results]
    return call("score", weights, *names, *more)


def test_forget_and_retain_set_divide_the_training_set_and_only_forget_labels_are_wrong(
    exported: Path, digits: Dataset
) -> None:
    forget, retain, labels = (np.load(exported / f"{name}.npy") for name in ("forget", "retain", "train_labels"))
    assert sorted([*forget, *retain]) == list(range(len(digits.train_labels)))
    assert (labels[retain] == digits.train_labels.numpy()[retain]).all()
    assert (labels[forget] != digits.train_labels.numpy()[forget]).all()


def test_the_exported_weights_load_into_the_model_named_in_about_json(exported: Path, tiny_run: Path) -> None:
    about = json.loads((exported / "about.json").read_text())
    network = registry.get(Model, about["network"]["model"]).build((1, 8, 8), about["dataset"]["classes"])
    network.load_state_dict(load_file(exported / "original.safetensors"))
    assert about["score"].startswith("unlearnbench score WEIGHTS.safetensors -d digits-8x8 -t noisy-label-removal")


def test_the_exported_original_gets_the_numbers_of_the_original(
    exported: Path, tiny: Path, cache: Path, finished: Path
) -> None:
    done = score(exported / "original.safetensors", tiny, cache, finished, "--name", "back again")
    assert done.exit_code == 0, done.output
    frame = load(None, finished).query("task == 'noisy-label-removal'").set_index("method")
    numbers = [c for c in frame.columns if c.startswith(("train_", "test", "asr", "released", "shadow."))]
    ours, theirs = frame.loc["back again", numbers], frame.loc["original", numbers]
    assert ours.astype(float).equals(theirs.astype(float))
    assert np.isnan(frame.loc["back again", "seconds_unlearn"])  # the cost is unknown
    shown = table(3, str(tiny), finished)
    assert "*Made elsewhere*" in shown
    assert "Made elsewhere, with unknown access to training data: back again." in shown


def test_other_weights_get_other_numbers_and_are_evaluated_once(
    tiny: Path, cache: Path, finished: Path, tmp_path: Path
) -> None:
    with seeds.pinned("random weights"):
        network = registry.get(Model, "cnn").build((1, 8, 8), 10)
    path = tmp_path / "fresh.safetensors"
    save_file(network.state_dict(), path)
    first = score(path, tiny, cache, finished, "--json")
    record = json.loads(first.stdout)
    assert record["metrics"]["clean"]["test"] < 0.3
    assert record["cell"]["method"] == "fresh"
    assert score(path, tiny, cache, finished, "--dry-run").stdout.count("cached") == 2
    planned = json.loads(score(path, tiny, cache, finished, "--dry-run", "--json").stdout)
    assert [cell["method"] for cell in planned["cells"]] == ["retrain", "fresh"]


def test_what_failed_is_tried_again(
    exported: Path, tiny: Path, cache: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no memory left")

    path = exported / "original.safetensors"
    with monkeypatch.context() as broken:
        broken.setattr(Attack, "score", fail)
        done = score(path, tiny, cache, finished, "--name", "unlucky")
    assert done.exit_code == 1
    assert "out-of-memory: digits-8x8 noisy-label-removal unlucky 0: attack shadow: MemoryError" in done.stderr
    done = score(path, tiny, cache, finished, "--name", "unlucky")
    assert done.exit_code == 0
    assert "unlucky on DIGITS-8x8, Noisy-label removal" in done.stdout


def test_the_original_is_trained_on_one_thread_as_in_a_run(
    exported: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums on several threads differ in the last bits, so `export` into an empty cache must not use them."""
    torch.set_num_threads(2)
    selection = Selection.of(tiny, "digits-8x8", "noisy-label-removal", seeds=0)
    lines: list[str] = []
    export(tmp_path / "again", selection, Workspace.of(cache=tmp_path / "empty"), say=lines.append)
    assert lines == ["training the original first: 1 pass over the training set"]
    assert torch.get_num_threads() == 2
    first, again = ((folder / "original.safetensors").read_bytes() for folder in (exported, tmp_path / "again"))
    assert first == again


def test_commands_name_the_options_of_the_task(tiny: Path, cache: Path, tmp_path: Path) -> None:
    names = ["-d", "digits-8x8", "-t", "class-removal", "--preset", tiny, "--cache", cache]
    names += ["-p", "class-removal.classes=[3]"]
    assert call("export", tmp_path / "three", *names).exit_code == 0
    about = json.loads((tmp_path / "three/about.json").read_text())
    assert about["task"]["options"]["classes"] == [3]
    assert "-p 'class-removal.classes=[3]'" in about["score"]
    assert about["network"]["input"].startswith("float32 [n, 1, 8, 8], pixels divided by 255;")
    done = call(
        "score", tmp_path / "three/original.safetensors", *names, "--name", "x", "--results", tmp_path, "--json"
    )
    record = json.loads(done.stdout)
    assert record["cell"]["task"] == "class-removal+classes=3"
    assert "-p 'class-removal.classes=[3]'" in record["observed"]["command"]


def test_the_size_of_the_input_is_that_after_resizing(tiny: Path, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "larger.toml"
    path.write_text(tiny.read_text().replace("epochs = 1\n[data", "epochs = 1\nresize = 32\n[data"))
    cell = plan_in(store, tmp_path, path, tasks="class-removal").cells[0]
    about = facts_of(cell, LoadedScenario.of(cell.scenario, Datasets(store)))
    assert about["network"]["input"].startswith("float32 [n, 1, 32, 32], pixels divided by 255 and resized from 8 x 8")


def renamed(prefix: str, weights: dict[str, torch.Tensor]) -> None:
    """Puts a prefix before the names of weights."""
    for name in list(weights):
        weights[prefix + name] = weights.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.1.bias"), "head.1.bias is not in the file"),
        (lambda w: w.update(extra=torch.zeros(2)), "extra is not in that network"),
        (lambda w: w.update({"head.1.bias": torch.zeros(7)}), "head.1.bias has shape (7,), but (10,) in that network"),
        (lambda w: w["head.1.bias"].fill_(torch.nan), "has numbers in head.1.bias that are not finite"),
        (lambda w: w.update({"head.1.bias": w["head.1.bias"].to(torch.int8)}), "has head.1.bias in torch.int8, and"),
        (lambda w: w.update({"head.1.bias": w["head.1.bias"] > 0}), "has head.1.bias in torch.bool, and"),
        (
            lambda w: w.update({"head.1.bias": w["head.1.bias"].to(torch.float8_e4m3fn)}),
            "float8_e4m3fn, and the net",
        ),
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
        (broken, (), "broken.safetensors is neither a safetensors file nor"),
        (exported / "original.safetensors", (), "original is the name of a method"),
        (exported / "original.safetensors", ("--name", "laf"), "laf is the name of a method"),
        (exported / "original.safetensors", ("--name", "Retrain"), "Retrain is the name of a method"),
        (exported / "original.safetensors", ("--name", "laf (Tuned)"), "laf (Tuned) is the name of a method"),
        (exported / "original.safetensors", ("--name", "laf+tau=5.0"), "no plus sign"),
        (exported / "original.safetensors", ("--name", ".."), "not only dots"),
        (exported / "original.safetensors", ("--name", "two\nlines"), "no control characters"),
        (exported / "original.safetensors", ("--name", "red\x1b[31m"), "no control characters"),
        (exported / "original.safetensors", ("--name", "x", "--seed", "-1"), "seeds must be numbers"),
    ):
        done = score(path, tiny, cache, tmp_path, *more)
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Traceback" not in done.output
