"""The shadow-model attack of Shokri et al. (2017): trained on networks whose training samples are known."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from unlearnbench.plugins.attack import Audit, NotApplicableError, Observed, Scores, attack
from unlearnbench.statistics import Floats

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier


@attack(
    title="Shadow models",
    reference="Shokri et al., Membership Inference Attacks Against ML Models, S&P 2017",
    libraries=lambda: ("scikit-learn",),
)
def shadow(audit: Audit) -> Scores:
    """For each label, a classifier of probability vectors into members and non-members, fitted to the shadow models.

    As published, there is one attack model per label, and its features are all class probabilities. The attack model is
    gradient boosting instead of a network with 64 hidden units: on held-out shadow models it is at least as strong.
    """
    if not audit.shadow_members:
        raise NotApplicableError("there are no shadow models")
    models = fitted(audit.shadow_members, audit.shadow_nonmembers, audit.seed)
    return Scores(score(models, audit.forgotten), score(models, audit.heldout))


@lru_cache(maxsize=4)
def fitted(
    members: tuple[Observed, ...], nonmembers: tuple[Observed, ...], seed: int
) -> dict[int, HistGradientBoostingClassifier]:
    """An attack model for every label that members and non-members share."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = np.concatenate([o.posteriors() for o in members + nonmembers])
    labels = np.concatenate([o.labels for o in members + nonmembers])
    is_member = np.repeat([True, False], [sum(len(o.labels) for o in side) for side in (members, nonmembers)])
    models = {}
    for label in np.intersect1d(labels[is_member], labels[~is_member]):
        rows = labels == label
        model = HistGradientBoostingClassifier(
            max_iter=100, max_depth=3, learning_rate=0.05, early_stopping=False, random_state=seed % 2**32
        )
        models[int(label)] = model.fit(features[rows], is_member[rows])
    return models


def score(models: dict[int, HistGradientBoostingClassifier], observed: Observed) -> Floats:
    """Log-odds of membership, float64 [n]; zero for a label without an attack model."""
    scores = np.zeros(len(observed.labels))
    features = observed.posteriors()
    for label, model in models.items():
        rows = observed.labels == label
        if rows.any():
            scores[rows] = model.decision_function(features[rows])
    return scores
