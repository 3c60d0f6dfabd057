"""Relearning trains on a few forgotten samples, and measures how fast the others are classified again."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Problem
from unlearnbench.artefacts import relearning
from unlearnbench.artefacts.relearning import BACK, SAMPLES, curves, summary
from unlearnbench.reporting.relearning import rows
from unlearnbench.training import loop


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    """Forty samples of classes 5 to 9, most of which the original classifies correctly."""
    access = Access(forget="labels", retain="labels")
    untrained = make_problem(access)
    network, _ = untrained.fit(untrained.forget, epochs=15)
    return make_problem(access, original=network)


@pytest.mark.usefixtures("in_float64")
def test_each_step_trains_on_the_same_samples_and_evaluates_the_others(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearning, "STEPS", 20)
    network = problem.fresh_network()
    before = copy.deepcopy(network.state_dict())
    forget = problem.forget.shuffled_by(torch.Generator().manual_seed(3))
    curve = curves(network, problem.original, forget, problem.retain, problem.recipe)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    again, others = problem.forget.subset(order[:SAMPLES]), problem.forget.subset(order[SAMPLES:])
    optimizer = torch.optim.Adam(network.parameters(), lr=problem.recipe.lr, weight_decay=problem.recipe.weight_decay)
    accuracies = []
    for _ in range(20 + 1):
        network.eval()
        hits = network(others.images).argmax(1) == others.labels
        accuracies.append(hits.float().mean().item())
        loss = cross_entropy(network(again.images), again.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert curve["after"].tolist() == pytest.approx(accuracies)
    hits = loop.predict(problem.original, others.pixels, others.pipeline.plain).argmax(1) == others.labels
    assert curve["original"].item() == pytest.approx(hits.float().mean().item())
    assert (int(curve["items"]), int(curve["others"])) == (20, 20)


@pytest.mark.usefixtures("in_float64")
def test_the_retain_set_alone_trains_another_copy_of_the_network(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearning, "STEPS", 3)
    network = problem.network()
    forget, retain = (part.shuffled_by(torch.Generator().manual_seed(3)) for part in (problem.forget, problem.retain))
    curve = curves(network, problem.original, forget, retain, problem.recipe)
    others = problem.forget.subset(torch.randperm(40, generator=torch.Generator().manual_seed(3))[SAMPLES:])
    optimizer = torch.optim.Adam(network.parameters(), lr=problem.recipe.lr, weight_decay=problem.recipe.weight_decay)
    for batch in problem.retain.shuffled_by(torch.Generator().manual_seed(3)).batches(problem.recipe.batch):
        loss = cross_entropy(network.eval()(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hits = network(others.images).argmax(1) == others.labels
    assert curve["retain"].item() == pytest.approx(hits.float().mean().item())


def test_the_original_is_back_at_once_and_a_fresh_network_is_not(problem: Problem) -> None:
    rest = problem.original, problem.forget, problem.retain, problem.recipe
    idle = summary(curves(problem.network(), *rest))
    assert (idle["steps"], idle["before"]) == (0, idle["original"])
    fresh = summary(curves(problem.fresh_network(), *rest))
    assert fresh["steps"] is None or fresh["steps"] > 1
    assert fresh["before"] < 0.5 < idle["before"]


def test_steps_are_counted_until_the_accuracy_is_regained() -> None:
    after = torch.tensor([0.0, 0.5, BACK * 0.8, 0.1, 0.9])
    counts = {"items": torch.tensor(5), "others": torch.tensor(9)}
    curve = {"after": after, "original": torch.tensor(0.8), "retain": torch.tensor(0.25), **counts}
    assert summary(curve) == {
        "steps": 2, "limit": 4, "original": pytest.approx(0.8), "before": 0.0, "after": pytest.approx(0.9),
        "retain": 0.25, "items": 5, "others": 9,
    }  # fmt: skip
    assert summary({**curve, "after": after[:2]})["steps"] is None


def test_networks_without_weights_cannot_relearn(problem: Problem) -> None:
    with pytest.raises(TypeError, match="something without weights, which cannot be trained again"):
        rest = problem.original, problem.forget, problem.retain, problem.recipe
        curves(lambda images: torch.zeros(len(images), 10), *rest)


def test_the_index_is_relative_to_retrain_and_nan_where_it_has_no_meaning() -> None:
    def cells(method: str, steps: list[float | None]) -> list[dict[str, object]]:
        about = {"dataset": "d", "dataset_title": "D", "method": method, "method_title": method, "role": "method"}
        curve = {"limit": 50, "before": 0.1, "after": 0.9}
        return [
            {**about, "seed": seed, "relearning.steps": taken, **{f"relearning.{k}": v for k, v in curve.items()}}
            for seed, taken in enumerate(steps)
        ]

    def index(own: list[float | None], retrain: list[float | None]) -> float:
        frame = pd.DataFrame([*cells("retrain", retrain), *cells("laf", own)])
        return next(row.anamnesis for row in rows(frame) if row.method == "laf")

    assert index([1.0, 3.0], [10.0, 30.0]) == pytest.approx(2.01 / 20.01)
    assert index([20.0, None], [10.0, 30.0]) == pytest.approx(35.01 / 20.01)
    assert math.isnan(index([0.0, 1.0], [0.0, 0.0]))
    assert math.isnan(index([None, None], [None, None]))
    old = pd.DataFrame(cells("retrain", [1.0]))
    assert math.isnan(next(rows(old)).retain)
    assert next(rows(old.assign(**{"relearning.retain": 0.25}))).retain == 25.0
