"""LiRA, the likelihood-ratio attack: how far from networks without an item, and how near to networks with it?

Carlini et al., Membership Inference Attacks From First Principles, S&P 2022. The log-odds of an item's label are taken
as normal over networks that were trained on it, and over those that were not. The suite has few shadow models, half
of them with the item, so as in the paper there is one spread for all items. Locations are means; in the released code
they are medians.
"""

from __future__ import annotations

import numpy as np

from unlearnbench.attacks.references import Answers, answers, mean_where
from unlearnbench.plugins.attack import Audit, NotApplicableError, Observed, Scores, attack
from unlearnbench.statistics import Floats, best_threshold

PAPER = "Carlini et al., Membership Inference Attacks From First Principles, S&P 2022"


@attack(title="LiRA, online", reference=f"{PAPER}, Algorithm 1")
def lira(audit: Audit) -> Scores:
    """The log of the ratio of an item's likelihoods under networks with it and networks without it."""
    forgotten, heldout = gathered(audit)
    with_it, without_it = spread(forgotten, heldout, inside=True), spread(forgotten, heldout, inside=False)
    found = [
        log_normal(part.target, part.within, with_it) - log_normal(part.target, part.without, without_it)
        for part in (forgotten, heldout)
    ]
    return Scores(found[0], found[1], {"references": len(forgotten.references)})


@attack(title="LiRA, offline", reference=f"{PAPER}, section V-C")
def lira_offline(audit: Audit) -> Scores:
    """How many spreads an item lies above what networks without it answer.

    "Member" is said above the threshold that is best for the references, each asked about as if it were the unlearned
    network, with the others as its references.
    """
    forgotten, heldout = gathered(audit)
    without_it = spread(forgotten, heldout, inside=False)
    members, nonmembers = [], []
    for part in (forgotten, heldout):
        for inside, other in zip(part.inside, part.one_left_out(), strict=True):
            distances = (other.target - other.without) / without_it
            members.append(distances[inside])
            nonmembers.append(distances[~inside])
    threshold = best_threshold(np.concatenate(members), np.concatenate(nonmembers))
    found = [(part.target - part.without) / without_it - threshold for part in (forgotten, heldout)]
    return Scores(found[0], found[1], {"references": len(forgotten.references)})


def gathered(audit: Audit) -> tuple[Answers, Answers]:
    """The log-odds of labels, of forgotten and of held-out items.

    Raises:
        NotApplicableError: If the references were trained with other labels.
    """
    if not audit.same_labels:
        raise NotApplicableError("the task replaces labels, and each shadow model has others than the unlearned one")
    return answers(audit, "forgotten", log_odds), answers(audit, "heldout", log_odds)


def log_odds(observed: Observed) -> Floats:
    """Log p_y - log(1 - p_y), float64 [n]."""
    return observed.of_labels(observed.log_odds())


def spread(*parts: Answers, inside: bool) -> float:
    """The standard deviation, of all items together, about each item's mean over the networks on one side."""
    squares, freedom = 0.0, 0
    for part in parts:
        side = part.inside == inside
        residuals = (part.references - mean_where(part.references, side))[side]
        squares += float(residuals @ residuals)
        freedom += side.sum() - side.shape[1]
    if not freedom:
        raise NotApplicableError("too few networks to see how much they differ")
    return float(np.sqrt(squares / freedom)) + 1e-30


def log_normal(values: Floats, means: Floats, deviation: float) -> Floats:
    """The log of the normal density, without its constant."""
    result: Floats = -0.5 * ((values - means) / deviation) ** 2 - np.log(deviation)
    return result
