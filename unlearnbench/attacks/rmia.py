"""RMIA, an attack for few reference models: compares likelihood ratios of a sample and of a population."""

from __future__ import annotations

import numpy as np

from unlearnbench.attacks.references import Statistics, statistics_of
from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.plugins.ranges import NonNegative, Share
from unlearnbench.statistics import Floats, best_threshold


@attack(
    title="RMIA, offline", reference="Zarifzadeh et al., Low-Cost High-Power Membership Inference Attacks, ICML 2024"
)
def rmia(audit: Audit, *, a: Share = 0.3, gamma: NonNegative = 1.0) -> Scores:
    """The share of test samples whose likelihood ratio, relative to networks without them, is exceeded by a sample's.

    References are the shadow models that were not trained on a sample. The threshold is the best one for the
    references, where each in turn takes the place of the unlearned network, with the others as its references. If the
    references have other labels, their threshold does not apply to this network, and there is none.

    Args:
        audit: The outputs to attack.
        a: In [0, 1]: extrapolates a sample's mean probability over all networks from that of networks without it.
        gamma: The factor by which a sample's ratio must exceed a test sample's.
    """
    parts = (statistics_of(audit, part, probability) for part in ("forgotten", "heldout", "test"))
    forgotten, heldout, population = parts
    members, nonmembers = [], []
    for part in (forgotten, heldout):
        for inside, outside, part_left, population_left in zip(
            part.inside, ~population.inside, part.leave_one_out(), population.leave_one_out(), strict=True
        ):
            shares = share_exceeded(ratios(part_left, a), ratios(population_left, a)[outside], gamma)
            members.append(shares[inside])
            nonmembers.append(shares[~inside])
    threshold = best_threshold(np.concatenate(members), np.concatenate(nonmembers))
    of_population = ratios(population, a)
    scores = [share_exceeded(ratios(part, a), of_population, gamma) - threshold for part in (forgotten, heldout)]
    facts = {"references": len(forgotten.references), "population": len(of_population)}
    return Scores(scores[0], scores[1], facts, thresholded=audit.same_labels)


def probability(observed: Observed) -> Floats:
    """The probability of the label, float64 [n]."""
    return observed.of_labels(observed.posteriors())


def ratios(part: Statistics, a: float) -> Floats:
    """p_y over its expectation for unknown membership (the paper's Eq. 5 in its offline form), float64 [n]."""
    expected = ((1 + a) * part.mean_outside + (1 - a)) / 2
    return part.target / expected


def share_exceeded(of_samples: Floats, of_population: Floats, gamma: float) -> Floats:
    """For each sample the share of the population with ratio_sample / ratio_z > gamma, float64 [n]."""
    share: Floats = np.searchsorted(np.sort(of_population * gamma), of_samples, side="left") / len(of_population)
    return share
