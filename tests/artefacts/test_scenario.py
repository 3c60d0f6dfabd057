"""A recipe may hold out a part of a data set, and resize its images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NOWHERE, plan_in

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import (
    Scenario,
    content_of,
    held_out_content,
    held_out_split,
    positions_of,
    split_of,
)
from unlearnbench.artefacts.splits import shadow_members
from unlearnbench.planning.cells import planned
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.storage.store import Store
from unlearnbench.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("in_this_process")

NOISY = "noisy-label-removal"


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


@pytest.fixture
def held(tiny: Path, tmp_path: Path) -> Path:
    """A preset that holds out a tenth."""
    path = tmp_path / "held.toml"
    path.write_text(tiny.read_text().replace("epochs = 1\n[data", "epochs = 1\nheld_out = 0.1\n[data"))
    return path


def scenario_of(preset: Path, store: Store, task: str = NOISY, seed: int = 0) -> Scenario:
    return plan_in(store, NOWHERE, preset, tasks=task, seeds=seed).cells[0].scenario


def test_a_tenth_of_each_class_is_held_out_and_the_positions_of_the_rest_are_known(
    held: Path, store: Store, datasets: Datasets, digits: Dataset
) -> None:
    scenario = scenario_of(held, store)
    content, held_out, positions = (
        content_of(scenario, datasets),
        held_out_content(scenario, datasets),
        positions_of(scenario, datasets),
    )
    assert torch.equal(content.train_images, digits.train_images[positions])
    assert torch.equal(content.train_labels, digits.train_labels[positions])
    assert torch.equal(content.test_images, digits.test_images)
    outside = torch.ones(len(digits.train_labels), dtype=torch.bool)
    outside[positions] = False
    assert torch.equal(held_out.test_images, digits.train_images[outside])
    assert torch.equal(held_out.train_images, content.train_images)
    assert held_out.test_labels.bincount().tolist() == (digits.train_labels.bincount() * 0.1).int().tolist()
    other = scenario_of(held, store, "data-removal", seed=3)
    assert torch.equal(positions_of(other, datasets), positions)


def test_splits_do_not_share_memory(tiny: Path, store: Store, datasets: Datasets) -> None:
    scenario = scenario_of(tiny, store)
    first, again = split_of(scenario, datasets), split_of(scenario, datasets)
    for name, tensor in first.tensors().items():
        expected = tensor.clone()
        tensor.zero_()
        assert torch.equal(again.tensors()[name], expected)
        assert torch.equal(split_of(scenario, datasets).tensors()[name], expected)


def test_other_data_of_the_same_name_get_a_new_split(
    tiny: Path, store: Store, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = scenario_of(tiny, store, "class-removal")
    before, (content, _) = split_of(scenario, datasets), datasets.load(scenario.dataset, scenario.root)
    other = dataclasses.replace(content, train_labels=content.train_labels.flip(0))
    monkeypatch.setattr(datasets, "load", lambda *_: (other, "of other data"))
    monkeypatch.setattr(datasets, "divided", lambda *_: (other, other))
    assert (other.train_labels[split_of(scenario, datasets).forget] == 0).all()
    assert not (other.train_labels[before.forget] == 0).all()


def test_other_data_of_the_same_name_are_divided_anew(
    held: Path, store: Store, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = scenario_of(held, store)
    before, (content, _) = content_of(scenario, datasets), datasets.load(scenario.dataset, scenario.root)
    other = dataclasses.replace(content, train_images=255 - content.train_images)
    monkeypatch.setattr(datasets, "load", lambda *_: (other, "of other data"))
    assert torch.equal(content_of(scenario, datasets).train_images, 255 - before.train_images)


def test_without_a_held_out_part_nothing_changes(tiny: Path, store: Store, datasets: Datasets) -> None:
    scenario = scenario_of(tiny, store)
    assert content_of(scenario, datasets) is datasets.load("digits-8x8", scenario.root)[0]
    assert len(held_out_content(scenario, datasets).test_labels) == 0


def test_held_out_samples_are_mislabelled_like_the_forgotten_ones(held: Path, store: Store, datasets: Datasets) -> None:
    scenario = scenario_of(held, store)
    loaded = LoadedScenario.of(scenario, datasets)
    part, like_forgotten = loaded.validation_set()
    true = held_out_content(scenario, datasets).test_labels
    wrong = part.labels != true
    assert torch.equal(wrong.nonzero()[:, 0], like_forgotten)
    assert like_forgotten.tolist() == sorted(set(like_forgotten.tolist()))
    assert (true[like_forgotten] <= 4).all()
    assert len(like_forgotten) == sum(int(0.6 * n) for n in true.bincount()[:5].tolist())
    assert len(set(part.labels[like_forgotten].tolist())) > 5
    assert torch.equal(loaded.split.forget, held_out_split(scenario, datasets).forget)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("task", ["data-removal", "class-removal", NOISY])
def test_scrub_rewinds_where_a_part_is_held_out(task: str, tenth: Path, cache: Path, tmp_path: Path) -> None:
    summary = unlearnbench.run(str(tenth), tasks=[task], methods=["scrub", "scrub-r"], results=tmp_path, cache=cache)
    assert not summary.failed
    frame = unlearnbench.load("tenth", tmp_path).set_index("method")
    assert set(frame.index) == {"retrain", "scrub", "scrub-r"}
    assert "validation: labels" in (tmp_path / "tenth" / "tables" / f"table{TABLE[task]}.md").read_text()


TABLE = {"data-removal": 1, "class-removal": 2, NOISY: 3}


def test_methods_that_need_held_out_samples_are_planned_only_where_there_are_some(
    held: Path, tiny: Path, store: Store, datasets: Datasets
) -> None:
    def methods(preset: Path, **changes: Any) -> set[str]:
        selection = Selection.of(preset, **changes)
        everything = dataclasses.replace(selection, preset=dataclasses.replace(selection.preset, methods=None))
        return {cell.method for cell in planned(everything, Workspace.of(cache=store.root)).cells}

    assert methods(held) - methods(tiny) == {"scrub-r"}
    with pytest.raises(UserError, match="scrub-r needs training images that no network is trained on, and .* holds"):
        methods(tiny, methods=["scrub-r"])


def test_exported_positions_are_those_in_the_whole_training_set(
    held: Path, store: Store, datasets: Datasets, digits: Dataset, tmp_path: Path
) -> None:
    from unlearnbench.operations.export import export

    selection = Selection.of(held, "digits-8x8", NOISY, seeds=0)
    export(tmp_path / "out", selection, Workspace.of(cache=store.root), say=lambda _: None)
    forget, retain, labels = (
        np.load(tmp_path / "out" / f"{name}.npy") for name in ("forget", "retain", "train_labels")
    )
    positions = positions_of(scenario_of(held, store), datasets)
    assert sorted([*forget, *retain]) == positions.tolist()
    assert (labels[forget] != digits.train_labels.numpy()[forget]).all()
    assert (labels[retain] == digits.train_labels.numpy()[retain]).all()
    assert json.loads((tmp_path / "out" / "about.json").read_text())["recipe"]["held_out"] == 0.1


def test_the_network_is_built_for_the_size_that_images_are_resized_to(
    tiny: Path, cache: Path, store: Store, datasets: Datasets, digits: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "larger.toml"
    path.write_text(tiny.read_text().replace("epochs = 1\n[data", "epochs = 1\nresize = 32\n[data"))
    assert scenario_of(path, store).shape(digits) == (1, 32, 32)
    summary = unlearnbench.run(
        str(path), tasks=["data-removal"], methods=["original"], results=tmp_path, cache=cache, jobs=1
    )
    assert not summary.failed
    cell = summary.plan.cells[0]
    weights, _ = WorkerContext(store).get(cell.outputs.needs["original"])
    assert sum(tensor.numel() for tensor in weights.values()) * 4 == cell.outputs.needs["original"].size


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(UserError, match=r"held_out must lie in \[0, 1\)"):
        Recipe(held_out=share)


@pytest.mark.parametrize("task", ["data-removal", "class-removal", NOISY])
def test_half_of_the_unlearned_shadow_models_contain_and_forget_each_compared_sample(
    task: str, tiny: Path, store: Store, datasets: Datasets
) -> None:
    scenario = scenario_of(tiny, store, task)
    content, split = content_of(scenario, datasets), split_of(scenario, datasets)
    rows = torch.cat([split.forget, len(content.train_labels) + split.heldout])
    labels = torch.cat([split.labels(content)[split.forget], split.labels_of_heldout(content)])
    times = torch.zeros(len(content.pool.train_labels), dtype=torch.int64)
    for index in range(4):
        shadow = dataclasses.replace(scenario, shadow=index)
        half, shadow_split = content_of(shadow, datasets), split_of(shadow, datasets)
        member = shadow_members(shadow.dataset, len(times), index)
        positions = member.nonzero()[:, 0]
        assert torch.equal(half.train_images, content.pool.train_images[positions])
        assert torch.equal(half.test_images, content.pool.train_images[~member])
        assert torch.equal(positions[shadow_split.forget], rows[member[rows]].sort().values)
        expected = dict(zip(rows.tolist(), labels.tolist(), strict=True))
        forgotten = zip(
            positions[shadow_split.forget].tolist(), half.train_labels[shadow_split.forget].tolist(), strict=True
        )
        assert all(expected[row] == label for row, label in forgotten)
        times[positions[shadow_split.forget]] += 1
    assert (times[rows] == 2).all()
    assert times.sum() == 2 * len(rows)
