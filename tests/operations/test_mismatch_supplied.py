"""Label mismatch with a user's own data, networks, training function and lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import unlearnbench
from unlearnbench import UserError, table
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.operations.run import Summary
from unlearnbench.planning.plan import Cell
from unlearnbench.plugins import files
from unlearnbench.storage.records import read_record

pytestmark = pytest.mark.usefixtures("in_this_process")
TRAIN = 300
PRODUCT = """
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from unlearnbench import Dataset, Taxonomy, dataset, model

PAIRS = Taxonomy.of({"a": [0, 9], "b": [1, 8], "c": [2, 3], "d": [4, 6], "e": [5, 7]}, [str(n) for n in range(10)])


@dataset(title="Marks", files={}, reference="The product")
def marks(root):
    "Digits in pairs."
    digits = load_digits()
    images, labels = torch.tensor(digits.images * 15.9).byte().unsqueeze(1), torch.tensor(digits.target)
    return Dataset(images[:300], labels[:300], images[300:600], labels[300:600], 10, {"pairs": PAIRS})


class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.hidden, self.top = nn.Linear(64, 16), nn.Linear(16, classes)

    def forward(self, images):
        return self.top(self.hidden(images.flatten(1)).relu())


@model(title="Small", reference="The product")
def small(shape, num_classes):
    "The network of the product."
    return Small(num_classes)


def fit(network, images, labels, seed):
    with Path(__file__).with_name("calls.txt").open("a") as file:
        print(len(images), int(labels.max()), network(images[:2]).shape[1], file=file)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for rows in torch.randperm(len(images)).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
"""
PRESET = """
shadows = 2
[select]
seeds = "0"
tasks = ["model-mismatch", "data-mismatch"]
methods = ["original", "ft", "tarf"]
[recipe]
epochs = 1
[datasets."product.py:marks"]
model = "product.py:small"
train = "product.py:fit"
[methods]
ft.epochs = 1
tarf.epochs = 2
tarf.data-mismatch.identify = "samples"
"""
SUPPLIED = 'original = "{task}.pt"\nretrain = "again-{task}.pt"\ntrain ='


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A product with superclasses: its code, and a preset."""
    (tmp_path / "product.py").write_text(PRODUCT)
    (tmp_path / "mine.toml").write_text(PRESET)
    yield tmp_path
    for known in {where for where, _ in files._imported.values()}:
        files.forget(known.parent)


def run(folder: Path, **more: Any) -> Summary:
    where = {"results": folder / "r", "cache": folder / "c", "jobs": 1}
    return unlearnbench.run(folder / "mine.toml", **{**where, **more})


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "mine.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def small(seed: int, classes: int = 5) -> Any:
    """A network of the product."""
    names: dict[str, Any] = {"__name__": "product"}
    exec(PRODUCT, names)
    torch.manual_seed(seed)
    return names["Small"](classes)


def outputs(summary: Summary, task: str, method: str) -> torch.Tensor:
    """The logits of a method on the training images."""
    return WorkerContext(summary.plan.store).get(cell_of(summary, task, method).outputs)[0]["train"]


def cell_of(summary: Summary, task: str, method: str) -> Cell:
    return next(c for c in summary.plan.cells if (c.scenario.task, c.method) == (task, method))


def test_a_training_function_gets_superclasses_and_for_retrain_no_hidden_sample(folder: Path) -> None:
    summary = run(folder)
    assert [outcome.reason for outcome in summary.failed] == []
    labels = load_digits().target[:TRAIN]
    calls = [tuple(map(int, line.split())) for line in (folder / "calls.txt").read_text().splitlines()]
    assert {(top, classes) for _, top, classes in calls} == {(4, 5)}
    without = [int((labels != 0).sum()), int(((labels != 0) & (labels != 9)).sum())]
    assert sorted(n for n, _, _ in calls) == sorted([TRAIN, TRAIN, TRAIN, *without])  # original, both shadow models
    assert table(7, str(folder / "mine.toml"), folder / "r").count("| TARF") == 2


def test_networks_of_superclasses_can_be_supplied_for_each_task(folder: Path) -> None:
    edit(folder, "train =", SUPPLIED)
    for seed, task in enumerate(["model-mismatch", "data-mismatch"]):
        torch.save(small(seed).state_dict(), folder / f"{task}.pt")
        torch.save(small(seed + 2).state_dict(), folder / f"again-{task}.pt")
    summary = run(folder)
    assert [outcome.reason for outcome in summary.failed] == []
    images = torch.tensor(load_digits().images[:TRAIN] * 15.9).byte().unsqueeze(1) / 255
    for seed, task in enumerate(["model-mismatch", "data-mismatch"]):
        assert torch.allclose(outputs(summary, task, "original"), small(seed)(images), atol=1e-5)
        assert torch.allclose(outputs(summary, task, "retrain"), small(seed + 2)(images), atol=1e-5)
        record: Any = read_record(cell_of(summary, task, "retrain").path)
        assert record["cell"]["access"] == "not enforced"
        assert record["metrics"]["clean"]["mia"] is not None
        assert "cost" not in record["metrics"]


def test_a_network_of_classes_is_refused_where_one_of_superclasses_is_needed(folder: Path) -> None:
    edit(folder, "train =", 'original = "w.pt"\ntrain =')
    torch.save(small(0, 10).state_dict(), folder / "w.pt")
    message = r"w.pt does not have the weights of product.small for product.marks with the 5 superclasses of task"
    with pytest.raises(UserError, match=rf"{message} model-mismatch: top.weight has shape \(10, 16\), but \(5, 16\)"):
        run(folder, dry_run=True)
    assert run(folder, dry_run=True, tasks="all-matched").plan.to_run


def test_images_without_superclasses_are_refused(folder: Path) -> None:
    digits = load_digits()
    np.savez(folder / "scans.npz", x_train=digits.images.astype(np.uint8), y_train=digits.target)
    edit(folder, '[datasets."product.py:marks"]', '[datasets.scans]\nimages = "scans.npz"')
    with pytest.raises(UserError, match="task model-mismatch: this dataset has no superclasses"):
        run(folder, dry_run=True)


def test_a_list_may_be_that_of_one_dataset(folder: Path) -> None:
    (folder / "gone.txt").write_text("1\n2\n3\n")
    edit(folder, '["model-mismatch", "data-mismatch"]', '["given"]')
    edit(folder, "[methods]", '[tasks.given."product.py:marks"]\nforget = "gone.txt"\n[methods]')
    summary = run(folder, methods="original")
    assert [outcome.reason for outcome in summary.failed] == []
    record: Any = read_record(cell_of(summary, "given", "original").path)
    assert record["cell"]["task"] == "given"
    assert record["metrics"]["items"]["train_f"] == 3
    (folder / "gone.txt").write_text("1\n2\n4\n")
    with pytest.raises(UserError, match="stale because of changes in given.forget"):
        table("given", str(folder / "mine.toml"), folder / "r", format="csv")
