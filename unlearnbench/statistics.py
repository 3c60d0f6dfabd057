"""Estimates with their confidence intervals, and tests over seeds, tasks and data sets.

Not used, on purpose: `binomtest` and `ttest_1samp` of scipy give the same intervals, but neither the same last bits nor
in less than ten times the time, like `wilcoxon` with `PermutationMethod`; with method="exact" it is wrong for ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_SIGNS = 16
"""The largest number of differences for which all combinations of signs are enumerated."""


class Interval(NamedTuple):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


def proportion(successes: int, n: int, level: float = 0.95) -> Interval:
    """The success rate of independent trials with its exact interval (Clopper & Pearson, Biometrika 1934).

    Args:
        successes: Number of successes.
        n: Number of trials.
        level: Confidence of the interval.

    Returns:
        In [0, 1]; the rate is nan for n = 0.
    """
    from scipy.special import betaincinv

    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(successes / n, low, high)


def balanced_accuracy(members: Floats, nonmembers: Floats, level: float = 0.95) -> Interval:
    """The mean of true-positive and true-negative rate of an attack that predicts "member" for scores above zero.

    The interval combines those of the two rates (method of variance estimates recovery; Newcombe, Statistics in
    Medicine 1998, and Zou & Donner 2008).

    Args:
        members: Scores, float64 [m].
        nonmembers: Scores, float64 [n].
        level: Confidence of the interval.
    """
    positive = proportion(int((members > 0).sum()), len(members), level)
    negative = proportion(int((nonmembers <= 0).sum()), len(nonmembers), level)
    value = (positive.value + negative.value) / 2
    below = np.hypot(positive.value - positive.low, negative.value - negative.low) / 2
    above = np.hypot(positive.high - positive.value, negative.high - negative.value) / 2
    return Interval(value, max(0.0, float(value - below)), min(1.0, float(value + above)))


def auc(members: Floats, nonmembers: Floats, level: float = 0.95) -> Interval:
    """The area under the ROC curve: the probability that a member scores higher than a non-member, ties counting half.

    The interval is DeLong's (DeLong et al., Biometrics 1988), from the variances of both kinds of placement; the exact
    interval of a proportion where all members score higher than all non-members, or all lower.

    Args:
        members: Scores, float64 [m], m >= 2.
        nonmembers: Scores, float64 [n], n >= 2.
        level: Confidence of the interval.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    m, n = len(members), len(nonmembers)
    ranks = rankdata(np.concatenate([members, nonmembers]))
    of_members = (ranks[:m] - rankdata(members)) / n
    of_nonmembers = 1 - (ranks[m:] - rankdata(nonmembers)) / m
    value = float(of_members.mean())
    spread = np.sqrt(of_members.var(ddof=1) / m + of_nonmembers.var(ddof=1) / n)
    half = float(ndtri((1 + level) / 2) * spread)
    if value in (0.0, 1.0):  # the spread is zero, but only because the samples are few
        return proportion(round(value * min(m, n)), min(m, n), level)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def tpr_at_fpr(members: Floats, nonmembers: Floats, fpr: float, level: float = 0.95) -> Interval | None:
    """The largest true-positive rate whose false-positive rate is at most `fpr`.

    The interval includes the uncertainty of the threshold: the number of non-members above the true threshold is
    binomial, which bounds the threshold by two of their scores. The interval goes from the lower exact limit of the
    rate at one of them to the upper limit at the other, and is conservative (Bonferroni).

    Args:
        members: Scores, float64 [m].
        nonmembers: Scores, float64 [n].
        fpr: The false-positive rate, in (0, 1).
        level: Confidence of the interval.

    Returns:
        The rate, or None if there are fewer than 1 / fpr non-members.
    """
    from scipy.stats import binom

    n = len(nonmembers)
    if n * fpr < 1 - 1e-9:
        return None
    tail = (1 - level) / 4
    ascending = np.sort(nonmembers)

    def rate(allowed: int) -> Interval:
        threshold = ascending[n - allowed - 1] if allowed < n else -np.inf
        return proportion(int((members > threshold).sum()), len(members), 1 - 2 * tail)

    few, many = (int(binom.ppf(share, n, fpr)) for share in (tail, 1 - tail))
    low = rate(few - 1).low if few else 0.0  # perhaps no non-member is above
    return Interval(rate(int(n * fpr + 1e-9)).value, low, rate(many).high)


def true_positive_rates(members: Floats, nonmembers: Floats, fprs: Sequence[float]) -> list[float]:
    """The largest true-positive rates whose false-positive rates are at most `fprs`, as in `tpr_at_fpr`.

    Args:
        members: Scores, float64 [m], m >= 1.
        nonmembers: Scores, float64 [n], n >= 1.
        fprs: False-positive rates in (0, 1].
    """
    n, ascending, ordered = len(nonmembers), np.sort(nonmembers), np.sort(members)
    allowed = [int(n * fpr + 1e-9) for fpr in fprs]
    thresholds = [ascending[n - k - 1] if k < n else -np.inf for k in allowed]
    above = len(members) - np.searchsorted(ordered, thresholds, side="right")
    return [float(share) for share in above / len(members)]


def best_threshold(members: Floats, nonmembers: Floats) -> float:
    """The threshold with the best balanced accuracy of predicting "member" for scores above it; between two scores.

    Args:
        members: Scores, float64 [m], m >= 1.
        nonmembers: Scores, float64 [n], n >= 1.
    """
    scores = np.unique(np.concatenate([members, nonmembers]))
    candidates = np.concatenate([scores[:1] - 1, (scores[1:] + scores[:-1]) / 2, scores[-1:] + 1])
    above = 1 - np.searchsorted(np.sort(members), candidates, side="right") / len(members)
    below = np.searchsorted(np.sort(nonmembers), candidates, side="right") / len(nonmembers)
    return float(candidates[np.argmax(above + below)])


def welch(a: tuple[float, float, int], b: tuple[float, float, int], level: float = 0.95) -> Interval | None:
    """The difference b - a of two means, with the interval for unequal variances (Welch, Biometrika 1947).

    Args:
        a: Mean, sample standard deviation, and number of values.
        b: Likewise.
        level: Confidence of the interval.

    Returns:
        The interval, or None where one side has fewer than two values.
    """
    from scipy.special import stdtrit

    (mean_a, std_a, n_a), (mean_b, std_b, n_b) = a, b
    if min(n_a, n_b) < 2:
        return None
    of_a, of_b = std_a**2 / n_a, std_b**2 / n_b
    if of_a + of_b == 0:
        return Interval(mean_b - mean_a, mean_b - mean_a, mean_b - mean_a)
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (n_a - 1) + of_b**2 / (n_b - 1))
    half = float(stdtrit(freedom, (1 + level) / 2) * np.sqrt(of_a + of_b))
    return Interval(mean_b - mean_a, mean_b - mean_a - half, mean_b - mean_a + half)


def paired(differences: Floats, level: float = 0.95) -> Interval:
    """The mean of paired differences with its t-interval, which is infinite for a single difference.

    Args:
        differences: One for each pair, e.g. a method's number less Retrain's with the same seed, float64 [n], n >= 1.
        level: Confidence of the interval.
    """
    from scipy.special import stdtrit

    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(stdtrit(n - 1, (1 + level) / 2) * differences.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def friedman(scores: Floats) -> float | None:
    """The p-value of Friedman's test that all methods are alike (JASA 1937), corrected for ties.

    Args:
        scores: float64 [blocks, methods].

    Returns:
        The p-value, or None for fewer than two blocks or three methods, or if all methods tie everywhere.
    """
    from scipy.stats import friedmanchisquare

    blocks, methods = scores.shape
    if blocks < 2 or methods < 3 or (scores == scores[:, :1]).all():
        return None
    return float(friedmanchisquare(*scores.T).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for multiple tests (Holm, Scandinavian Journal of Statistics 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    n, adjusted, highest = len(p_values), [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (n - place) * p_values[index]))
        adjusted[int(index)] = highest
    return adjusted


def signed_rank(differences: Floats) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test (Biometrics Bulletin 1945).

    It is exact, also with ties, for up to 16 differences, and a normal approximation beyond. Zeros are dropped.

    Args:
        differences: float64 [n].

    Returns:
        In (0, 1]; 1 for fewer than two differences that are not zero.
    """
    from scipy.stats import rankdata, wilcoxon

    differences = differences[differences != 0]
    n = len(differences)
    if n < 2:  # either sign of a single one is equally extreme
        return 1.0
    if n > MOST_SIGNS:
        return float(wilcoxon(differences, method="approx").pvalue)
    ranks = rankdata(np.abs(differences))
    signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    totals, observed = signs @ ranks, np.sign(differences) @ ranks  # multiples of 1/2, so that comparing is exact
    return min(1.0, 2 * float((totals <= observed).mean()), 2 * float((totals >= observed).mean()))


def least_p(blocks: int) -> float:
    """The smallest possible p-value of a two-sided signed-rank test over this many blocks."""
    return float(min(1.0, 2.0 ** (1 - blocks)))


def critical_difference(methods: int, blocks: int, level: float = 0.95) -> float:
    """The smallest difference of two mean ranks that is significant in Nemenyi's test (Demsar, JMLR 2006)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(level, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))


def mean_ranks(scores: Floats) -> Floats:
    """The mean rank of each method over blocks: 1 for the smallest score; ties share the mean of their ranks.

    Args:
        scores: float64 [..., blocks, methods].

    Returns:
        float64 [..., methods].
    """
    from scipy.stats import rankdata

    ranks: Floats = rankdata(scores, axis=-1).mean(axis=-2)
    return ranks
