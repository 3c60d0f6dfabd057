"""The attack of the released code: the samples that it compares, its features, and the score of a constant guess."""

from __future__ import annotations

import numpy as np
import pytest

from unlearnbench import Audit, Observed, Scores, UserError, statistics
from unlearnbench.evaluation import membership
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack

CONSTANT = {  # training, test and forgotten samples, and the accuracy in percent (independently derived from the paper)
    "MNIST data": (60_000, 10_000, 11_760, 33.78),
    "Fashion data": (60_000, 10_000, 12_000, 33.33),
    "CIFAR-10 data": (50_000, 10_000, 10_000, 37.50),
    "SVHN data": (73_257, 26_032, 11_161, 50.02),
    "MNIST class": (60_000, 10_000, 5_923, 50.12),
    "Fashion class": (60_000, 10_000, 6_000, 50.00),
    "CIFAR-10 class": (50_000, 10_000, 5_000, 50.12),
    "MNIST noise": (60_000, 10_000, 18_355, 24.64),
    "Fashion noise": (60_000, 10_000, 18_000, 25.00),
    "CIFAR-10 noise": (50_000, 10_000, 15_000, 28.57),
    "SVHN noise": (73_257, 26_032, 27_207, 44.75),
}


def rows(logits: np.ndarray) -> Observed:
    return Observed(logits.astype(np.float64), np.zeros(len(logits), dtype=np.int64))


def one_hot(n: int, seed: int) -> Observed:
    return rows(np.eye(10)[np.random.default_rng(seed).integers(0, 10, n)])


def random_outputs(n: int, confidence: float, seed: int) -> Observed:
    """Logits of which the largest stands out by about `confidence`."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 10))
    logits[np.arange(n), random.integers(0, 10, n)] += confidence
    return rows(logits)


def attack(forgotten: Observed, retained: Observed, test: Observed, **options: object) -> Scores:
    audit = Audit(forgotten, test, retained, test, (), (), seed=1)
    return registry.get(Attack, "released").score(audit, **options)


@pytest.mark.parametrize("name", CONSTANT)
def test_hard_votes_have_the_accuracy_of_a_constant_guess_as_published(name: str) -> None:
    train, test, forgotten, percent = CONSTANT[name]
    scores = attack(one_hot(forgotten, 0), one_hot(train - forgotten, 1), one_hot(test, 2))
    result = membership.success(scores)
    assert result["k"] == 4000
    assert round(100 * result["accuracy"][0], 2) == pytest.approx(percent, abs=0.011)
    assert result["accuracy"][0] == result["constant"]
    assert result["balanced_accuracy"][0] == 0.5


def test_forgotten_samples_like_retained_ones_are_classified_as_members() -> None:
    scores = attack(random_outputs(400, 6, 0), random_outputs(600, 6, 1), random_outputs(1000, 0, 2))
    assert statistics.auc(scores.forgotten, scores.heldout).low > 0.9
    assert (scores.forgotten > 0).mean() > 0.9
    assert (scores.heldout <= 0).mean() > 0.9


def test_forgotten_samples_like_test_samples_are_classified_as_non_members() -> None:
    scores = attack(random_outputs(400, 0, 0), random_outputs(600, 6, 1), random_outputs(1000, 0, 2))
    assert (scores.forgotten <= 0).mean() > 0.9
    result = statistics.auc(scores.forgotten, scores.heldout, level=0.999)
    assert result.low < 0.5 < result.high


def test_without_a_difference_it_is_a_coin_toss() -> None:
    scores = attack(random_outputs(2000, 2, 0), random_outputs(3000, 2, 1), random_outputs(5000, 2, 2))
    for metric in (statistics.auc, statistics.balanced_accuracy):
        result = metric(scores.forgotten, scores.heldout, level=0.999)
        assert result.low < 0.5 < result.high


def test_training_samples_of_the_classifier_are_not_compared() -> None:
    """Only the second half of the test set has confident outputs: samples of the first half would score lower."""
    test = np.concatenate([random_outputs(100, 0, 0).logits, random_outputs(100, 9, 1).logits])
    scores = attack(random_outputs(500, 9, 2), random_outputs(500, 9, 3), rows(test))
    assert scores.facts == {"k": 100}
    assert len(scores.heldout) == 100
    assert (scores.heldout > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("forgotten", "retained", "test", "k", "compared"),
    [(10, 500, 500, 10, 32), (33, 500, 500, 33, 64), (64, 20, 500, 20, 64), (300, 500, 101, 50, 51)],
)
def test_numbers_of_samples(forgotten: int, retained: int, test: int, k: int, compared: int) -> None:
    scores = attack(random_outputs(forgotten, 1, 0), random_outputs(retained, 1, 1), random_outputs(test, 1, 2))
    assert (scores.facts["k"], len(scores.heldout), len(scores.forgotten)) == (k, compared, forgotten)


def test_it_sees_neither_labels_nor_classes() -> None:
    def shuffled(observed: Observed) -> Observed:
        random = np.random.default_rng(3)
        return Observed(random.permuted(observed.logits, axis=1), random.integers(0, 10, len(observed.labels)))

    sides = random_outputs(300, 3, 0), random_outputs(400, 4, 1), random_outputs(500, 2, 2)
    plain, other = attack(*sides), attack(*map(shuffled, sides))
    assert np.allclose(plain.forgotten, other.forgotten)
    assert np.allclose(plain.heldout, other.heldout)


def test_the_original_classifier_agrees_where_it_is_installed() -> None:
    pytest.importorskip("xgboost")
    sides = random_outputs(2000, 3, 0), random_outputs(3000, 3, 1), random_outputs(5000, 1, 2)
    ours, theirs = attack(*sides), attack(*sides, classifier="xgboost")
    accuracy, original = (membership.success(scores)["accuracy"][0] for scores in (ours, theirs))
    assert abs(accuracy - original) < 0.02
    assert np.corrcoef(ours.forgotten, theirs.forgotten)[0, 1] > 0.9


def test_an_unknown_classifier_gets_a_hint() -> None:
    with pytest.raises(UserError, match="unknown value of released.classifier: 'xgbost': did you mean 'xgboost'"):
        registry.get(Attack, "released").resolve("released", {"classifier": "xgbost"})
