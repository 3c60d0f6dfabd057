"""Features: the embeddings of the same samples for every method, with numbers and a map out of them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import plan_in
from sklearn.linear_model import Ridge

from unlearnbench.artefacts import features as kind
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.features import Features, chosen, stratified
from unlearnbench.artefacts.features_rule import RIDGE
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.evaluation import representation
from unlearnbench.planning.plan import Cell
from unlearnbench.reporting.charts.representation import decoded
from unlearnbench.storage.store import Store


@pytest.fixture
def cells(tiny: Path, tiny_run: Path, store: Store) -> dict[str, Cell]:
    """The cells of class removal by method."""
    plan = plan_in(store, tiny_run, tiny, tasks="class-removal")
    return {cell.method: cell for cell in plan.cells}


def loaded(cell: Cell, store: Store) -> LoadedScenario:
    return WorkerContext(store).load(cell.scenario)


def test_the_same_samples_are_embedded_for_every_method(cells: dict[str, Cell], store: Store) -> None:
    index, forgotten = chosen(loaded(cells["laf"], store))
    assert torch.equal(index, chosen(loaded(cells["retrain"], store))[0])
    split, labels = loaded(cells["laf"], store).split, loaded(cells["laf"], store).content.train_labels
    assert set(index[:forgotten].tolist()) <= set(split.forget.tolist())
    assert not set(index[forgotten:].tolist()) & set(split.forget.tolist())
    assert len(index.unique()) == len(index) <= kind.SAMPLES
    assert int(forgotten) == min(kind.FORGOTTEN, len(split.forget))
    for part in (labels[index[:forgotten]], labels[index[forgotten:]]):
        assert torch.equal(part, part.sort().values)


def test_classes_keep_their_shares() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    drawn = stratified(torch.randperm(100), labels, 50)
    assert torch.bincount(labels[drawn]).tolist() == [30, 15, 5]
    assert len(stratified(torch.randperm(100), labels, 1000)) == 100


def test_embeddings_are_those_of_the_network(cells: dict[str, Cell], store: Store) -> None:
    context = WorkerContext(store)
    tensors, _ = context.get(Features.of(cells["original"].outputs))
    here = context.load(cells["original"].scenario)
    network = here.builder.trained(context.get(cells["original"].outputs.needs["original"])[0]).eval()
    images = here.pipeline.plain(here.content.train_images[tensors["index"]])
    with torch.no_grad():
        assert torch.allclose(tensors["features"].float(), network.features(images), atol=1e-2, rtol=1e-2)
    assert tensors["features"].dtype == torch.float16
    assert Features.of(cells["laf"].outputs).digest != Features.of(cells["original"].outputs).digest


def test_what_has_no_features_says_so(cells: dict[str, Cell], store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Features, "unlearn", lambda *_: (lambda images: images, None, {"seconds": {}}))
    tensors, facts = Features.of(cells["laf"].outputs).make(WorkerContext(store))
    assert tensors == {}
    assert facts["n/a"] == kind.NO_FEATURES


def test_purity_is_the_share_of_forgotten_neighbours() -> None:
    apart = np.concatenate([np.random.default_rng(0).normal(size=(20, 3)), np.full((40, 3), 50.0)])
    assert representation.purity(apart, 20) == 1.0
    line = np.arange(6.0)[:, None] * [1.0]
    assert representation.purity(line, 1) == 0.0
    mixed = np.random.default_rng(1).normal(size=(400, 2))
    assert representation.purity(mixed, 100) == pytest.approx(0.25, abs=0.05)
    assert representation.purity(np.zeros((40, 2)), 20) <= 1.0


def test_a_probe_reads_what_a_linear_classifier_can_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 40)
    apart = np.eye(3)[labels] + 0.01 * generator.normal(size=(120, 3))
    assert representation.probe(apart, labels, 30) == 1.0
    assert representation.probe(5 + 1e3 * apart, labels, 30) == 1.0
    assert representation.probe(np.zeros((120, 2)), labels, 30) == pytest.approx(1 / 3, abs=0.01)
    nothing = generator.normal(size=(120, 3))
    assert representation.probe(nothing, labels, 60) == pytest.approx(1 / 3, abs=0.2)


def test_a_probe_is_ridge_regression_on_the_other_half() -> None:
    """One forgotten sample in each half; scikit-learn fits the same with a penalised constant column."""
    generator = np.random.default_rng(1)
    features, labels = generator.normal(size=(12, 4)), np.array([0, 1, *generator.integers(0, 2, 10)])
    inputs = np.column_stack([(features - features.mean(axis=0)) / features.std(axis=0), np.ones(12)])
    hits = []
    for tested in (0, 1):
        learned = [row for row in range(12) if row != tested]
        model = Ridge(alpha=RIDGE, fit_intercept=False).fit(inputs[learned], np.eye(2)[labels[learned]])
        hits.append(model.predict(inputs[[tested]]).argmax() == labels[tested])
    assert representation.probe(features, labels, 2) == np.mean(hits)


def test_wrong_labels_that_were_not_memorised_are_not_read() -> None:
    """Forgotten samples of class 0 that were called 1 lie among the others of class 0: the probe calls them 0."""
    generator = np.random.default_rng(2)
    features = np.concatenate([generator.normal(0, 0.1, (60, 2)), generator.normal(3, 0.1, (50, 2))])
    labels = np.repeat([1, 0, 1], [10, 50, 50])
    assert representation.probe(features, labels, 10) == 0.0
    memorised = features + np.where(np.arange(110) < 10, 3.0, 0.0)[:, None]
    assert representation.probe(memorised, labels, 10) == 1.0


def test_cka_ignores_rotation_and_scale_and_is_small_for_unrelated_embeddings() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(200, 5))
    turned = 3 * one @ np.linalg.qr(generator.normal(size=(5, 5)))[0] + 7
    assert representation.cka(one, turned) == pytest.approx(1.0)
    assert representation.cka(one, generator.normal(size=(200, 8))) < 0.1
    assert representation.cka(one, np.zeros((200, 2))) == 0.0


def test_a_map_keeps_groups_together_and_is_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    features = generator.normal(size=(60, 8)) + 20 * np.eye(8)[labels]
    own = {
        "features": torch.tensor(features).half(),
        "label": torch.tensor(np.concatenate([labels[:10], labels[10:]])),
        "forgotten": torch.tensor(10),
    }
    drawn = representation.drawing(own)
    assert drawn == representation.drawing(own)
    assert len(base64.b64decode(drawn["points"])) == 120
    points, classes, forgotten = decoded(drawn)
    assert (forgotten, drawn["classes"]) == (10, [[10, 0, 0], [10, 20, 20]])
    assert classes.tolist() == labels.tolist()
    assert representation.purity(points, 20) == 1.0
