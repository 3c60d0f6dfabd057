"""RMIA, the attack for few reference networks: is an item likelier here than elsewhere, by more than others are?"""

from __future__ import annotations

import numpy as np

from unlearnbench.attacks.references import Answers, answers
from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats, best_threshold


@attack(
    title="RMIA, offline", reference="Zarifzadeh et al., Low-Cost High-Power Membership Inference Attacks, ICML 2024"
)
def rmia(audit: Audit, *, a: float = 0.3, gamma: float = 1.0) -> Scores:
    """The share of the test items whose likelihood, relative to networks without them, an item's exceeds.

    References are the shadow models that were not trained on an item. "Member" is said above the threshold that is
    best for the references, each asked about as if it were the unlearned network, with the others as its references.
    Where references have other labels, theirs says nothing about this network, and there is none.

    Args:
        audit: What the attacker has.
        a: In [0, 1]: how an item's mean probability with and without it is guessed from that without it.
        gamma: How much likelier an item must be than a test item.
    """
    forgotten, heldout, population = (answers(audit, part, probability) for part in ("forgotten", "heldout", "test"))
    members, nonmembers = [], []
    for part in (forgotten, heldout):
        for inside, outside, other, others in zip(
            part.inside, ~population.inside, part.one_left_out(), population.one_left_out(), strict=True
        ):
            shares = beaten(ratios(other, a), ratios(others, a)[outside], gamma)
            members.append(shares[inside])
            nonmembers.append(shares[~inside])
    threshold = best_threshold(np.concatenate(members), np.concatenate(nonmembers))
    everywhere = ratios(population, a)
    found = [beaten(ratios(part, a), everywhere, gamma) - threshold for part in (forgotten, heldout)]
    facts = {"references": len(forgotten.references), "population": len(everywhere)}
    return Scores(found[0], found[1], facts, thresholded=audit.same_labels)


def probability(observed: Observed) -> Floats:
    """p_y, float64 [n]."""
    return observed.of_labels(observed.posteriors())


def ratios(items: Answers, a: float) -> Floats:
    """p_y over what it would be if one did not know whether the item was in (the paper's Eq. 5 in its offline form)."""
    expected = ((1 + a) * items.without + (1 - a)) / 2
    return items.target / expected


def beaten(of_items: Floats, of_population: Floats, gamma: float) -> Floats:
    """For each item the share of the population with ratio_item / ratio_z > gamma."""
    count: Floats = np.searchsorted(np.sort(of_population * gamma), of_items, side="left") / len(of_population)
    return count
