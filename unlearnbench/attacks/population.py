"""Attacks that need no other network: a statistic of each sample, and a threshold between training and test samples.

Yeom et al., Privacy Risk in Machine Learning, CSF 2018 (loss); Song & Mittal, Systematic Evaluation of Privacy Risks,
USENIX Security 2021 (the others). The threshold best separates the retain set from test samples outside of the held-out
set, under the unlearned network itself; there is none if the held-out set is the whole test set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats, best_threshold


@attack(title="Loss", reference="Yeom et al., Privacy Risk in Machine Learning, CSF 2018")
def loss(audit: Audit) -> Scores:
    """Members have a small cross-entropy."""
    return thresholded(minus_loss, audit)


@attack(title="Confidence", reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021")
def confidence(audit: Audit) -> Scores:
    """Members have a large maximal probability, of whichever class."""
    return thresholded(maximal_log_odds, audit)


@attack(title="Entropy", reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021")
def entropy(audit: Audit) -> Scores:
    """Members have probabilities of small entropy, whatever their label."""
    return thresholded(minus_entropy, audit)


@attack(
    title="Modified entropy",
    reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021, Eq. 8",
)
def modified_entropy(audit: Audit) -> Scores:
    """As entropy, but a confident wrong prediction counts as great uncertainty."""
    return thresholded(minus_modified_entropy, audit)


def minus_loss(observed: Observed) -> Floats:
    """The logarithm of p_y, float64 [n]."""
    return observed.of_labels(observed.log_posteriors())


def maximal_log_odds(observed: Observed) -> Floats:
    """The log-odds of the maximal probability, float64 [n]; the probability itself would round to 1."""
    highest: Floats = observed.log_odds().max(axis=1)
    return highest


def minus_entropy(observed: Observed) -> Floats:
    """sum_c p_c log p_c, float64 [n]."""
    total: Floats = (observed.posteriors() * observed.log_posteriors()).sum(axis=1)
    return total


def minus_modified_entropy(observed: Observed) -> Floats:
    """(1 - p_y) log p_y + sum_{c != y} p_c log(1 - p_c), float64 [n]."""
    log_p = observed.log_posteriors()
    of_others = np.exp(log_p) * (log_p - observed.log_odds())
    own = observed.of_labels(-np.expm1(log_p) * log_p)
    total: Floats = own + of_others.sum(axis=1) - observed.of_labels(of_others)
    return total


def thresholded(statistic: Callable[[Observed], Floats], audit: Audit) -> Scores:
    """A statistic, minus the threshold that best separates the retain set from the other test samples."""
    is_heldout = np.isin(np.arange(len(audit.test.labels)), audit.heldout_rows)
    forgotten, heldout = statistic(audit.forgotten), statistic(audit.heldout)
    if is_heldout.all():
        return Scores(forgotten, heldout, thresholded=False)
    threshold = best_threshold(statistic(audit.retained), statistic(audit.test)[~is_heldout])
    return Scores(forgotten - threshold, heldout - threshold)
