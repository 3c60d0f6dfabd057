"""The attack behind the ASR of the published tables, which is no shadow-model attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearnbench.errors import unknown
from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats

MOST = 4000
"""Rows a side that the classifier learns from: the number that the published tables were made with."""
BATCH = 32
"""Test items are compared in whole batches of this size."""


def libraries(classifier: str) -> Sequence[str]:
    """The distribution that a classifier comes from."""
    if classifier not in CLASSIFIERS:
        raise unknown("classifier of attack 'released':", classifier, CLASSIFIERS)
    return (classifier,)


@attack(
    title="Released",
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024 (released code, Train.py)",
    libraries=libraries,
)
def released(audit: Audit, *, classifier: str = "scikit-learn") -> Scores:
    """Learns on the unlearned network itself to tell retained training samples from test items, then asks about others.

    The features are the probabilities of a row in ascending order. Members are a sample of the retained samples,
    non-members the first test items; compared are all forgotten items with the next test items, as many as complete
    the batch in which they reach the number of the forgotten, or as there are. Here nothing is random that need not be:
    the released code also throws away a random hundredth of what it learns from.

    Args:
        audit: What the attacker has.
        classifier: "scikit-learn": histogram gradient boosting with the original's settings, as far as it has them
            (the least weight of a leaf is one row instead of a hessian of one). "xgboost": the original.
    """
    forgotten, retained, test = map(features, (audit.forgotten, audit.retained, audit.test))
    k = min(MOST, len(forgotten), len(retained), len(test) // 2)
    sample = np.random.default_rng(audit.seed).permutation(len(retained))[:k]
    model = CLASSIFIERS[classifier](audit.seed % 2**31)
    model.fit(np.concatenate([retained[sample], test[:k]]), np.repeat([1, 0], k))
    compared = test[k : k + -(-len(forgotten) // BATCH) * BATCH]

    def score(rows: Floats) -> Floats:
        found: Floats = model.predict_proba(rows)[:, 1].astype(np.float64) - 0.5
        return found

    return Scores(score(forgotten), score(compared), {"k": k})


def features(observed: Observed) -> Floats:
    """The probabilities of each row in ascending order, float64 [n, classes]: neither label nor class is seen."""
    return np.sort(observed.posteriors(), axis=1)


def scikit_learn(seed: int) -> Any:
    """XGBoost's defaults in scikit-learn's words."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.3,
        max_iter=100,
        max_depth=6,
        max_leaf_nodes=None,
        min_samples_leaf=1,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )


def xgboost(seed: int) -> Any:
    """The original's classifier; needs the extra `xgboost`."""
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=100, objective="binary:logistic", n_jobs=1, random_state=seed)


CLASSIFIERS = {"scikit-learn": scikit_learn, "xgboost": xgboost}
