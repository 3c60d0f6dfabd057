"""Attacks receive the right samples, in order, under the right transformation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import plan_in
from torch.nn.functional import one_hot

from unlearnbench import Audit, Scores
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.scenario import shadow_split, split_of
from unlearnbench.evaluation.record import Evaluator
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.protocols import CLEAN, RELEASED
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.storage.store import Store


@pytest.fixture
def cell(tiny: Path, tiny_run: Path, store: Store) -> Cell:
    plan = plan_in(store, tiny_run, tiny, tasks="noisy-label-removal")
    return next(cell for cell in plan.cells if cell.method == "laf")


def numbered(n: int, first: int) -> torch.Tensor:
    """Logits that identify their sample."""
    return (torch.arange(n, dtype=torch.float32) + first)[:, None].repeat(1, 10)


def test_an_attack_receives_every_sample_once_and_in_its_part(cell: Cell, store: Store, digits: Dataset) -> None:
    train, test = numbered(599, 0), numbered(1198, 5000)
    audit = Evaluator(WorkerContext(store)).audit(cell, train, test)
    split = split_of(cell.scenario, Datasets(store))
    assert split.train_labels is not None
    places = {
        name: getattr(audit, name).logits[:, 0].astype(int) for name in ("forgotten", "retained", "heldout", "test")
    }
    assert places["forgotten"].tolist() == split.forget.tolist()
    assert places["retained"].tolist() == sorted(set(range(599)) - set(split.forget.tolist()))
    assert places["test"].tolist() == list(range(5000, 6198))
    assert (places["heldout"] - 5000).tolist() == split.heldout.tolist()
    for name in ("forgotten", "retained"):
        assert getattr(audit, name).labels.tolist() == split.train_labels[places[name]].tolist()
    assert audit.test.labels.tolist() == digits.test_labels.tolist()


def test_only_protocol_released_attacks_augmented_training_samples(
    cell: Cell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {"train": numbered(599, 0), "train_augmented": numbered(599, 10_000), "test": numbered(1198, 5000)}
    seen: list[Audit] = []

    def record_call(self: Attack, audit: Audit, **_: object) -> Scores:
        seen.append(audit)
        return Scores(np.ones(3), np.zeros(3))

    monkeypatch.setattr(Attack, "score", record_call)
    evaluator = Evaluator(WorkerContext(store))
    for protocol, first in ((CLEAN, 0), (RELEASED, 10_000)):
        evaluator.evaluate(cell, outputs, protocol)
        for part in (seen[-1].forgotten, seen[-1].retained):
            assert (part.logits[:, 0] // 10_000 * 10_000 == first).all()
        assert (seen[-1].test.logits[:, 0] // 1000 == 5).all()
    evaluator.evaluate(cell, {name: outputs[name] for name in ("train", "test")}, RELEASED)
    assert (seen[-1].forgotten.logits[:, 0] < 599).all()


def test_an_attack_receives_its_options(cell: Cell, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[object] = []

    def record_call(self: Attack, audit: Audit, **options: object) -> Scores:
        received.append(options)
        return Scores(np.ones(3), np.zeros(3))

    monkeypatch.setattr(Attack, "score", record_call)
    changed = replace(cell, attacks={**cell.attacks, "released": {"classifier": "xgboost"}})
    outputs = {"train": numbered(599, 0), "test": numbered(1198, 5000)}
    Evaluator(WorkerContext(store)).evaluate(changed, outputs, RELEASED)
    assert received == [{"classifier": "xgboost"}]


def test_accuracies_of_protocol_released_are_those_on_augmented_images(
    cell: Cell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attack, "score", lambda self, audit, **_: Scores(np.ones(3), np.zeros(3)))
    labels = split_of(cell.scenario, Datasets(store)).train_labels
    assert labels is not None
    right = one_hot(labels, 10).float()
    outputs = {"train": right, "train_augmented": right.roll(1, dims=1), "test": torch.zeros(1198, 10)}
    evaluator = Evaluator(WorkerContext(store))
    clean, released = (evaluator.evaluate(cell, outputs, protocol)[0] for protocol in (CLEAN, RELEASED))
    assert (clean["train_r"], clean["train_f"]) == (1.0, 1.0)
    assert (released["train_r"], released["train_f"]) == (0.0, 0.0)


def test_shadow_models_observe_the_samples_of_their_own_half_as_members(cell: Cell, store: Store) -> None:
    evaluator = Evaluator(WorkerContext(store))
    members, nonmembers = evaluator.shadow_observations(cell.scenario, cell.shadows)
    pool = evaluator.context.load(cell.scenario).content.pool
    for shadow, inside, outside in zip(cell.shadows, members, nonmembers, strict=True):
        tensors, _ = evaluator.context.get(shadow)
        split = shadow_split(cell.scenario, pool, shadow.index)
        for side, is_member in ((inside, True), (outside, False)):
            rows = split.forget[tensors["member"][split.forget] == is_member]
            assert np.array_equal(side.logits, tensors["logits"][rows].double().numpy())
            assert np.array_equal(side.labels, split.labels(pool)[rows].numpy())
