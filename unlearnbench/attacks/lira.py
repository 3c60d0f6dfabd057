"""LiRA, the likelihood-ratio attack: compares a network with reference models with and without a sample.

Carlini et al., Membership Inference Attacks From First Principles, S&P 2022. The log-odds of a sample's label are
assumed to be normal over networks that were trained on it, and over those that were not. The suite has few shadow
models, half of them with the sample, so as in the paper there is one standard deviation for all samples. Locations are
means; in the released code they are medians.
"""

from __future__ import annotations

import numpy as np

from unlearnbench.attacks.references import Statistics, mean_where, statistics_of
from unlearnbench.plugins.attack import Audit, NotApplicableError, Observed, Scores, attack
from unlearnbench.statistics import Floats, best_threshold

PAPER = "Carlini et al., Membership Inference Attacks From First Principles, S&P 2022"


@attack(title="LiRA, online", reference=f"{PAPER}, Algorithm 1")
def lira(audit: Audit) -> Scores:
    """The logarithm of the ratio of a sample's likelihoods under networks with it and networks without it."""
    forgotten, heldout = label_log_odds(audit)
    inside, outside = deviation(forgotten, heldout, inside=True), deviation(forgotten, heldout, inside=False)

    def log_ratio(part: Statistics) -> Floats:
        return log_normal(part.target, part.mean_inside, inside) - log_normal(part.target, part.mean_outside, outside)

    return Scores(log_ratio(forgotten), log_ratio(heldout), {"references": len(forgotten.references)})


@attack(title="LiRA, offline", reference=f"{PAPER}, section V-C")
def lira_offline(audit: Audit) -> Scores:
    """How many standard deviations a sample's log-odds are above the mean of networks without it.

    The threshold is the best one for the references, where each in turn takes the place of the unlearned network, with
    the others as its references.
    """
    forgotten, heldout = label_log_odds(audit)
    outside = deviation(forgotten, heldout, inside=False)

    def distance(part: Statistics) -> Floats:
        return (part.target - part.mean_outside) / outside

    members, nonmembers = [], []
    for part in (forgotten, heldout):
        for inside, without_one in zip(part.inside, part.leave_one_out(), strict=True):
            distances = distance(without_one)
            members.append(distances[inside])
            nonmembers.append(distances[~inside])
    threshold = best_threshold(np.concatenate(members), np.concatenate(nonmembers))
    facts = {"references": len(forgotten.references)}
    return Scores(distance(forgotten) - threshold, distance(heldout) - threshold, facts)


def label_log_odds(audit: Audit) -> tuple[Statistics, Statistics]:
    """The log-odds of labels, for the forget set and for the held-out set.

    Raises:
        NotApplicableError: If the references were trained with other labels.
    """
    if not audit.same_labels:
        raise NotApplicableError("the task replaces labels, and each shadow model has others than the unlearned one")
    return statistics_of(audit, "forgotten", log_odds), statistics_of(audit, "heldout", log_odds)


def log_odds(observed: Observed) -> Floats:
    """The log-odds of labels, log p_y - log(1 - p_y), float64 [n]."""
    return observed.of_labels(observed.log_odds())


def deviation(*parts: Statistics, inside: bool) -> float:
    """The standard deviation, pooled over samples, of the references with (`inside`) or without each sample."""
    squares, freedom = 0.0, 0
    for part in parts:
        side = part.inside == inside
        residuals = (part.references - mean_where(part.references, side))[side]
        squares += float(residuals @ residuals)
        freedom += side.sum() - side.shape[1]
    if not freedom:
        raise NotApplicableError("too few networks to see how much they differ")
    return float(np.sqrt(squares / freedom)) + 1e-30


def log_normal(values: Floats, means: Floats, sigma: float) -> Floats:
    """The logarithm of the normal density, without its constant."""
    result: Floats = -0.5 * ((values - means) / sigma) ** 2 - np.log(sigma)
    return result
