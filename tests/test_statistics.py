"""Every estimate agrees with an independent computation, every interval with a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from unlearnbench import statistics


def gaussians(m: int, n: int, shift: float, seed: int = 0) -> tuple[statistics.Floats, statistics.Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, m), rng.normal(0, 1, n)


def truth(members: statistics.Floats, nonmembers: statistics.Floats) -> tuple[statistics.Floats, statistics.Floats]:
    labels = np.repeat([1.0, 0.0], [len(members), len(nonmembers)])
    return labels, np.concatenate([members, nonmembers])


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 10), (180, 360)])
def test_a_proportion_has_the_exact_interval(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(0.95, "exact")
    assert statistics.proportion(successes, n)[1:] == pytest.approx((expected.low, expected.high), rel=0, abs=1e-12)


def test_the_auc_is_scikit_learns_and_counts_ties_half() -> None:
    members, nonmembers = (np.round(side, 1) for side in gaussians(200, 150, 0.7))
    assert statistics.auc(members, nonmembers).value == pytest.approx(roc_auc_score(*truth(members, nonmembers)))


def test_the_auc_of_two_gaussians_is_the_closed_form() -> None:
    found = statistics.auc(*gaussians(20_000, 20_000, 1.0))
    assert found.low < norm.cdf(1 / np.sqrt(2)) < found.high
    assert found.high - found.low < 0.02


def test_the_balanced_accuracy_is_scikit_learns_with_a_threshold_of_zero() -> None:
    members, nonmembers = gaussians(100, 300, 0.5)
    labels, scores = truth(members, nonmembers)
    assert statistics.balanced_accuracy(members, nonmembers).value == pytest.approx(
        balanced_accuracy_score(labels, scores > 0)
    )


@pytest.mark.parametrize("metric", [statistics.auc, statistics.balanced_accuracy])
def test_95_percent_intervals_cover_the_truth_in_95_percent_of_the_cases(metric: object) -> None:
    shift, repeats = 0.8, 1000
    exact = {
        statistics.auc: norm.cdf(shift / np.sqrt(2)),
        statistics.balanced_accuracy: (norm.cdf(shift) + 0.5) / 2,
    }[metric]  # type: ignore[index]
    hits = 0
    for seed in range(repeats):
        found = metric(*gaussians(60, 90, shift, seed))  # type: ignore[operator]
        hits += found.low <= exact <= found.high
    assert 0.93 <= hits / repeats <= 0.99


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
def test_the_tpr_at_a_small_fpr_is_that_of_the_roc_curve(fpr: float) -> None:
    members, nonmembers = gaussians(300, 500, 1.5)
    false, true, _ = roc_curve(*truth(members, nonmembers), drop_intermediate=False)
    found = statistics.tpr_at_fpr(members, nonmembers, fpr)
    assert found is not None
    assert found.value == pytest.approx(true[false <= fpr].max())
    at_threshold = statistics.proportion(round(300 * found.value), 300)
    assert found.low < at_threshold.low
    assert found.high > at_threshold.high


@pytest.mark.parametrize("n", [150, 1000])
def test_intervals_of_the_tpr_include_the_uncertainty_of_the_threshold(n: int) -> None:
    rng = np.random.default_rng(4)
    truth_ = norm.sf(norm.isf(0.01) - 1.5)
    found = [statistics.tpr_at_fpr(rng.normal(1.5, 1, n), rng.normal(0, 1, n), 0.01) for _ in range(600)]
    hits = sum(interval.low <= truth_ <= interval.high for interval in found if interval)
    assert len(found) == 600
    assert hits / 600 > 0.94


def test_perfect_separation_of_few_samples_has_an_interval() -> None:
    found = statistics.auc(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0]))
    assert found == statistics.proportion(3, 3)
    assert statistics.auc(np.zeros(3), np.ones(4)) == statistics.proportion(0, 3)


def test_there_is_no_tpr_at_an_fpr_that_the_nonmembers_do_not_support() -> None:
    members, nonmembers = gaussians(300, 99, 1.5)
    assert statistics.tpr_at_fpr(members, nonmembers, 0.01) is None
    assert statistics.tpr_at_fpr(members, np.append(nonmembers, 0.0), 0.01) is not None


def test_constant_scores_are_guessing() -> None:
    same = np.zeros(150)
    assert statistics.auc(same, same).value == 0.5
    assert statistics.balanced_accuracy(same, same).value == 0.5
    found = statistics.tpr_at_fpr(same, same, 0.01)
    assert found is not None
    assert found.value == 0.0


def test_fewer_than_two_differences_have_a_p_value_of_1() -> None:
    assert statistics.signed_rank(np.zeros(0)) == 1.0
    assert statistics.signed_rank(np.array([3.0])) == 1.0


def test_the_curve_goes_through_the_reported_rates() -> None:
    members, nonmembers = (np.round(side, 1) for side in gaussians(300, 250, 0.8))
    fprs = [0.004, 0.01, 0.1, 0.5, 1.0]
    expected = [rate.value for fpr in fprs[:4] if (rate := statistics.tpr_at_fpr(members, nonmembers, fpr))]
    rates = statistics.true_positive_rates(members, nonmembers, fprs)
    assert rates[:4] == expected
    assert rates[4] == 1.0
    assert rates == sorted(rates)
