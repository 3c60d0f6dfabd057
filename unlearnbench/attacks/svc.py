"""The confidence attack of Unlearn-Sparse and SalUn, which TARF reports as "MIA"."""

from __future__ import annotations

import numpy as np

from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats

MOST = 2000
"""The most samples a side that the classifier is trained on."""


@attack(
    title="Confidence SVC",
    reference="Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023 (released code, SVC_MIA.py)",
    libraries=lambda: ("scikit-learn",),
)
def svc(audit: Audit) -> Scores:
    """A support-vector machine on the probability of the label, fitted to the unlearned network itself.

    Members are retained samples, non-members test samples. The released code takes the first samples, as many of each
    as there are test samples, and classifies the forget set only. Here it is a random choice of at most 2,000 a side,
    and the forget set is compared with a random half of the held-out set, which is not used for training.
    """
    from sklearn.svm import SVC

    random = np.random.default_rng(audit.seed)
    heldout = random.permutation(len(audit.heldout.labels))
    compared = np.sort(heldout[: (len(heldout) + 1) // 2])
    free = np.setdiff1d(np.arange(len(audit.test.labels)), audit.heldout_rows[compared])
    members, nonmembers = confidence(audit.retained), confidence(audit.test)[free]
    k = min(MOST, len(members), len(nonmembers))
    sides = [values[random.permutation(len(values))[:k]] for values in (members, nonmembers)]
    model = SVC(C=3, gamma="auto", kernel="rbf").fit(np.concatenate(sides)[:, None], np.repeat([1, 0], k))
    forgotten, others = confidence(audit.forgotten), confidence(audit.heldout)[compared]
    return Scores(
        model.decision_function(forgotten[:, None]), model.decision_function(others[:, None]), {"learned from": 2 * k}
    )


def confidence(observed: Observed) -> Floats:
    """The probability of the label, float64 [n]."""
    return observed.of_labels(observed.posteriors())
