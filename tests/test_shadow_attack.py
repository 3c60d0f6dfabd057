"""The oracles of membership inference: an over-fitted network leaks, chance does not, and labels give nothing away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearnbench import Audit, Observed, Scores, registry, seeds, stats, training
from unlearnbench.attacks import Attack
from unlearnbench.data import Dataset
from unlearnbench.data.augmentation import Pipeline
from unlearnbench.models import Builder, Model
from unlearnbench.recipe import Recipe
from unlearnbench.samples import TrainingSet

SHADOWS = 8


def trained_on_noise(digits: Dataset, member: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Trains a network on the first 600 digits where `member`, with 40 % random labels, until it knows them by heart.

    Returns:
        Its logits on all 600, and the labels that members had and the others would have had.
    """
    builder = Builder(registry.get(Model, "cnn"), {}, (1, 28, 28), 10, torch.device("cpu"))
    generator = seeds.generator("noise", seed)
    labels = digits.train_labels[:600].clone()
    noisy = torch.rand(600, generator=generator) < 0.4
    labels[noisy] = torch.randint(0, 10, (600,), generator=generator)[noisy]
    network = builder.fresh("overfitted", seed)
    pool = TrainingSet(digits.train_images[:600], labels)
    samples = pool.samples(member.nonzero()[:, 0], "labels", seeds.generator("order", seed), "members")
    assert samples is not None
    state = None
    for _ in range(12):
        state = training.fit(network, samples, Recipe(lr=2e-3, weight_decay=0.0), epochs=5, state=state)
        logits = training.predict(network, pool.pixels, Pipeline().plain)
        if (logits.argmax(1) == labels)[member].float().mean() > 0.995:
            break
    assert (logits.argmax(1) == labels)[member].float().mean() > 0.97
    return logits, labels


def observed(logits: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> Observed:
    return Observed(logits[rows].double().numpy(), labels[rows].numpy())


@pytest.fixture(scope="module")
def audit(digits: Dataset) -> Audit:
    """An over-fitted network of 300 digits, and shadows of other halves of the same 600."""
    torch.set_num_threads(1)
    member = torch.arange(600) < 300
    target, labels = trained_on_noise(digits, member, 0)
    inside, outside = [], []
    for index in range(SHADOWS):
        order = torch.randperm(600, generator=seeds.generator("half", index // 2))
        half = torch.zeros(600, dtype=torch.bool)
        half[order[:300] if index % 2 else order[300:]] = True
        logits, shadow_labels = trained_on_noise(digits, half, 1 + index)
        inside.append(observed(logits, shadow_labels, half))
        outside.append(observed(logits, shadow_labels, ~half))
    forgotten, heldout = observed(target, labels, member), observed(target, labels, ~member)
    return Audit(forgotten, heldout, forgotten, heldout, tuple(inside), tuple(outside), 0)


@pytest.fixture(scope="module")
def scores(audit: Audit) -> Scores:
    return registry.get(Attack, "shadow").score(audit)


def test_a_network_that_knows_its_members_by_heart_is_found_out(scores: Scores) -> None:
    assert stats.auc(scores.forgotten, scores.heldout).low > 0.7
    assert stats.balanced_accuracy(scores.forgotten, scores.heldout).low > 0.6


def test_permuted_membership_is_a_coin_toss(scores: Scores) -> None:
    both = np.random.default_rng(0).permutation(np.concatenate([scores.forgotten, scores.heldout]))
    for metric in (stats.auc, stats.balanced_accuracy):
        found = metric(both[:300], both[300:], level=0.999)
        assert found.low < 0.5 < found.high


def test_two_halves_of_the_held_out_items_cannot_be_told_apart(scores: Scores) -> None:
    halves = np.random.default_rng(0).permutation(scores.heldout)
    for metric in (stats.auc, stats.balanced_accuracy):
        found = metric(halves[:150], halves[150:], level=0.999)
        assert found.low < 0.5 < found.high


def test_the_attack_is_the_same_every_time(audit: Audit, scores: Scores) -> None:
    from unlearnbench.attacks import shadow

    shadow.fitted.cache_clear()
    again = registry.get(Attack, "shadow").score(audit)
    assert np.array_equal(again.forgotten, scores.forgotten)
    assert np.array_equal(again.heldout, scores.heldout)


def test_a_label_that_no_shadow_knows_gets_no_verdict(audit: Audit) -> None:
    strange = Observed(audit.forgotten.logits, np.full(300, 77))
    scores = registry.get(Attack, "shadow").score(replace(audit, forgotten=strange))
    assert (scores.forgotten == 0).all()
