"""Data sets, networks, tasks and attacks in files that are not installed work like installed ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.plugins import files
from unlearnbench.reporting.frame import records

pytestmark = pytest.mark.usefixtures("in_this_process")
PARTS = """
import numpy as np
import torch
from torch import nn
from unlearnbench import Dataset, Scores, Split, attack, dataset, model, task

FIRST = 0


@dataset(title="BARS", reference="A test")
def bars(root):
    "A bar in one of four places."
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    images = random.integers(0, 100, (300, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels):
        image[:, 2 * label : 2 * label + 2] += 80
    images, labels = torch.from_numpy(images), torch.from_numpy(labels.astype(np.uint8))
    return Dataset(images[:200], labels[:200], images[200:], labels[200:], 4)


@dataset(title="BARS, sideways", reference="A test")
def sideways(root):
    "The same with its channels at the end."
    data = bars.function(root)
    train, test = (images.permute(0, 2, 3, 1) for images in (data.train_images, data.test_images))
    return Dataset(train, data.train_labels, test, data.test_labels, 4)


@task(title="The first", columns=("train_f", "test", "asr"), reference="A test")
def first(data, generator, *, count: int = 20):
    "The first samples."
    forget = torch.arange(FIRST, FIRST + count)
    classes = data.train_labels[forget].unique()
    return Split(forget, torch.isin(data.test_labels, classes).nonzero()[:, 0])


@model(title="Flat", reference="A test")
def flat(shape, num_classes, *, width: int = 8):
    "Any module."
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], width), nn.ReLU(), nn.Linear(width, num_classes))


@attack(title="Norm", reference="A test")
def norm(audit):
    "The norm of the logits."
    sides = (np.linalg.norm(side.logits, axis=1) for side in (audit.forgotten, audit.heldout))
    return Scores(*sides, thresholded=False)
"""
PRESET = """
shadows = 2
[select]
seeds = "0"
tasks = ["parts.py:first"]
methods = ["neggrad"]
[recipe]
lr = 1e-3
epochs = 1
[datasets."parts.py:bars"]
model = "parts.py:flat"
options = { width = 6 }
[tasks."parts.py:first"]
count = 30
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with parts and a preset that names them."""
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "mine.toml").write_text(PRESET)
    yield tmp_path
    for known in {where for where, _ in files._imported.values()}:
        files.forget(known.parent)


def call(folder: Path, *words: str) -> Result:
    where = ["--preset", str(folder / "mine.toml"), "--results", str(folder / "r")]
    cache = [] if words[0] in ("table", "reproduce") else ["--cache", str(folder / "c")]
    return CliRunner().invoke(main, [*words, *where, *cache])


def test_a_preset_names_them_relative_to_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    done = call(folder, "run")
    assert done.exit_code == 0, done.output
    assert "**The first, preset mine**" in done.output
    record = next(r for r in records(folder / "r") if r["cell"]["method"] == "neggrad")
    names = {part: record["cell"][part] for part in ("dataset", "model", "task", "task_options")}
    assert names == {
        "dataset": "parts.bars",
        "model": "parts.flat",
        "task": "parts.first",
        "task_options": {"count": 30},
    }
    assert record["observed"]["files"] == {
        f"parts.{part}": str(folder / "parts.py") for part in ("bars", "flat", "first")
    }
    assert str(folder) not in json.dumps({part: record[part] for part in ("cell", "key", "metrics")})
    again = call(folder, "reproduce", "parts.bars", "parts.first", "neggrad", "0")
    assert "reproduced: all" in again.output, again.output


def test_the_command_line_names_them_too(folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = call(folder, "run", "-d", "parts.py:bars", "-t", "parts.py:first", "-p", "parts.first.count=10")
    assert done.exit_code == 0, done.output
    assert "The first (count=10)" in done.output
    measured = call(
        folder, "measure", "--attack", "parts.py:norm", "-t", "parts.py:first", "-p", "parts.first.count=10"
    )
    assert "2 of 2 records got new numbers" in measured.output
    table = call(folder, "table", "parts.first+count=10", "--attack", "parts.py:norm")
    assert "auc of attack parts.norm" in table.output
    with pytest.raises(UserError, match=r'does not say how to train parts.bars: add \[datasets."/.*parts.py:bars"\]'):
        unlearnbench.run(tiny, datasets="parts.py:bars", dry_run=True, cache="c")
    planned = unlearnbench.run(tiny, tasks="parts.py:first", dry_run=True, cache="c").plan
    assert {cell.info.task for cell in planned.cells} == {"parts.first"}


def test_an_edit_makes_their_cells_stale(folder: Path) -> None:
    call(folder, "run")
    (folder / "parts.py").write_text(PARTS.replace("FIRST = 0", "FIRST = 5"))
    shown = call(folder, "table", "parts.first").output
    assert all(name in shown for name in ("stale because of changes in", "task parts.first", "model parts.flat"))


def test_an_error_about_classes_names_the_task_and_the_line_to_add(folder: Path) -> None:
    done = call(folder, "run", "-t", "data-removal", "-n")
    assert done.exit_code == 2
    assert (
        "task data-removal: classes must be different numbers from 0 to 3, not [5, 6, 7, 8, 9] on parts.bars"
        in done.stderr
    )
    assert "add classes = [0, 1] below [tasks.data-removal] to the preset" in done.stderr


def test_channels_at_the_end_are_recognised_before_anything_is_computed(folder: Path) -> None:
    (folder / "mine.toml").write_text(PRESET.replace("parts.py:bars", "parts.py:sideways"))
    done = call(folder, "run", "-n")
    assert done.exit_code == 2
    message = "[200, 8, 8, 1], which is [n, H, W, C]: put the channels first, `images.permute(0, 3, 1, 2)`"
    assert message in done.stderr
    checked = CliRunner().invoke(main, ["check", f"{folder}/parts.py:sideways"])
    assert checked.exit_code == 1
    assert message in checked.output


def test_a_model_is_checked_with_images_of_another_shape(folder: Path) -> None:
    place = f"{folder}/parts.py:flat"
    assert "FAILED" in CliRunner().invoke(main, ["check", place, "--shape", "3,12,12"]).output  # it takes one channel
    assert CliRunner().invoke(main, ["check", place, "--shape", "1,12,12"]).exit_code == 0
    for shape, message in (("12,12", "such as 3,32,32, not '12,12'"), ("1,0,5", "not '1,0,5'")):
        assert message in CliRunner().invoke(main, ["check", place, "--shape", shape]).stderr
    refused = CliRunner().invoke(main, ["check", f"{folder}/parts.py:first", "--shape", "1,8,8"])
    assert "a shape is for models, and parts.first is a task" in refused.stderr
