"""The attack behind the ASR of the published tables, which is not a shadow-model attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
from unlearnbench.statistics import Floats

MOST = 4000
"""The most samples a side that the classifier is trained on, as for the published tables."""
BATCH = 32
"""Test samples are compared in whole batches of this size."""


def libraries(classifier: str) -> Sequence[str]:
    """The distribution that a classifier comes from."""
    return (classifier,)


@attack(
    title="Released",
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024 (released code, Train.py)",
    libraries=libraries,
)
def released(audit: Audit, *, classifier: Literal["scikit-learn", "xgboost"] = "scikit-learn") -> Scores:
    """A classifier of retained against test samples under the unlearned network itself, applied to the other samples.

    The features are the sorted probabilities of a sample. Members are a random part of the retain set, non-members the
    first test samples. The forget set is compared with the next test samples: as many as the forget set has, rounded
    up to whole batches, or as there are. The released code also discards a random hundredth of the training samples of
    the classifier; this does not.

    Args:
        audit: The outputs to attack.
        classifier: "scikit-learn": histogram gradient boosting with the original's settings, as far as it has them
            (the least weight of a leaf is one sample instead of a hessian of one). "xgboost": the original.
    """
    forgotten, retained, test = map(features, (audit.forgotten, audit.retained, audit.test))
    k = min(MOST, len(forgotten), len(retained), len(test) // 2)
    sample = np.random.default_rng(audit.seed).permutation(len(retained))[:k]
    model = CLASSIFIERS[classifier](audit.seed % 2**31)
    model.fit(np.concatenate([retained[sample], test[:k]]), np.repeat([1, 0], k))
    compared = test[k : k + -(-len(forgotten) // BATCH) * BATCH]

    def score(rows: Floats) -> Floats:
        scores: Floats = model.predict_proba(rows)[:, 1].astype(np.float64) - 0.5
        return scores

    return Scores(score(forgotten), score(compared), {"k": k})


def features(observed: Observed) -> Floats:
    """The probabilities of each sample in ascending order, float64 [n, classes]; this hides label and class."""
    return np.sort(observed.posteriors(), axis=1)


def scikit_learn(seed: int) -> Any:
    """Scikit-learn's equivalent of XGBoost's defaults."""
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
