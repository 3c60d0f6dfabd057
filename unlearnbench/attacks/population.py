"""Attacks that need no other network: one number for each item, and a threshold between training and test items.

Yeom et al., Privacy Risk in Machine Learning, CSF 2018 (loss); Song & Mittal, Systematic Evaluation of Privacy Risks,
USENIX Security 2021 (the others). The threshold best separates retained training samples from test samples
that are not compared, under the unlearned network itself; there is none if all are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats, best_threshold


@attack(title="Loss", reference="Yeom et al., Privacy Risk in Machine Learning, CSF 2018")
def loss(audit: Audit) -> Scores:
    """Members have a small cross-entropy."""
    return by(minus_loss, audit)


@attack(title="Confidence", reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021")
def confidence(audit: Audit) -> Scores:
    """Members get a large greatest probability, whichever class has it."""
    return by(greatest, audit)


@attack(title="Entropy", reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021")
def entropy(audit: Audit) -> Scores:
    """Members get a distribution of small entropy, whatever their label."""
    return by(minus_entropy, audit)


@attack(
    title="Modified entropy",
    reference="Song & Mittal, Systematic Evaluation of Privacy Risks, USENIX Security 2021, Eq. 8",
)
def modified_entropy(audit: Audit) -> Scores:
    """As entropy, but a confident wrong answer counts as great uncertainty."""
    return by(minus_modified_entropy, audit)


def minus_loss(observed: Observed) -> Floats:
    """Log p_y."""
    return observed.of_labels(observed.log_posteriors())


def greatest(observed: Observed) -> Floats:
    """The log-odds of the greatest probability; the probability itself would round to 1."""
    highest: Floats = observed.log_odds().max(axis=1)
    return highest


def minus_entropy(observed: Observed) -> Floats:
    """sum_c p_c log p_c."""
    total: Floats = (observed.posteriors() * observed.log_posteriors()).sum(axis=1)
    return total


def minus_modified_entropy(observed: Observed) -> Floats:
    """(1 - p_y) log p_y + sum_{c != y} p_c log(1 - p_c)."""
    log_p = observed.log_posteriors()
    of_others = np.exp(log_p) * (log_p - observed.log_odds())
    own = observed.of_labels(-np.expm1(log_p) * log_p)
    total: Floats = own + of_others.sum(axis=1) - observed.of_labels(of_others)
    return total


def by(statistic: Callable[[Observed], Floats], audit: Audit) -> Scores:
    """A statistic, less the threshold that best tells retained training samples from test items not compared."""
    compared = np.isin(np.arange(len(audit.test.labels)), audit.heldout_rows)
    forgotten, heldout = statistic(audit.forgotten), statistic(audit.heldout)
    if compared.all():
        return Scores(forgotten, heldout, thresholded=False)
    threshold = best_threshold(statistic(audit.retained), statistic(audit.test)[~compared])
    return Scores(forgotten - threshold, heldout - threshold)
