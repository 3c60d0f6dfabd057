"""The confidence attack of Unlearn-Sparse as released; its "MIA-efficacy" is the column MIA of TARF's table."""

from __future__ import annotations

import numpy as np

from unlearnbench.attacks.svc import confidence
from unlearnbench.plugins.attack import Audit, Scores, attack


@attack(
    title="Confidence SVC, as released",
    reference="Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023 (released code, SVC_MIA.py)",
    libraries=lambda: ("scikit-learn",),
)
def svc_released(audit: Audit) -> Scores:
    """A support-vector machine on the probability of the label, fitted to the unlearned network itself.

    Non-members are all test samples that are not held out, members as many of the first retained samples. Where there
    are fewer of these, the released code fits unequal sides, and may then give one answer for all; here both sides are
    as large as the smaller one. It draws no random numbers. The fact "non-members" is the number of forgotten samples
    that it takes for non-members; their share is MIA. Unlike attack svc, it never sees test samples of a forgotten
    class while it is fitted.
    """
    from sklearn.svm import SVC

    others = np.setdiff1d(np.arange(len(audit.test.labels)), audit.heldout_rows)
    k = min(len(others), len(audit.retained.labels))
    values = np.concatenate([confidence(audit.retained)[:k], confidence(audit.test)[others[:k]]])
    model = SVC(C=3, gamma="auto", kernel="rbf").fit(values[:, None], np.repeat([1, 0], k))
    forgotten, heldout = (
        model.decision_function(confidence(observed)[:, None]) for observed in (audit.forgotten, audit.heldout)
    )
    return Scores(forgotten, heldout, {"non-members": int((forgotten <= 0).sum())})
