"""The oracles of membership inference: an over-fitted network leaks, chance does not, and labels give nothing away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unlearnbench import Audit, Observed, Scores, registry, stats
from unlearnbench.attacks import Attack


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
