"""The success of a membership attack: ASR, AUC and true-positive rates, with their intervals; and its ROC curve."""

from __future__ import annotations

from typing import Any

from unlearnbench import statistics
from unlearnbench.plugins.attack import Scores

FPRS = {"tpr@1%": 0.01, "tpr@0.1%": 0.001}
"""The false-positive rates at which an attack's true-positive rate is reported."""
CURVE = tuple(round(10 ** (step / 10 - 4), 6) for step in range(41))
"""The false-positive rates of the ROC curve: ten in each decade from 0.0001 to 1."""


def success(scores: Scores) -> dict[str, Any]:
    """How well an attack separates forgotten from held-out samples.

    Returns:
        `accuracy`, `balanced_accuracy`, `auc`, `tpr@1%` and `tpr@0.1%` as [value, low, high], with 95 % intervals over
        samples; the first two are None if the attack has no threshold, the last two if there are too few held-out
        samples for so small a false-positive rate. Also the accuracy of the constant prediction "not a member"
        (`constant`), the numbers of `forgotten` and `heldout` samples, and the facts of the attack.
    """
    sides = scores.forgotten, scores.heldout
    correct = int((scores.forgotten > 0).sum() + (scores.heldout <= 0).sum())
    samples = len(scores.forgotten) + len(scores.heldout)
    rates = {name: statistics.tpr_at_fpr(*sides, fpr) for name, fpr in FPRS.items()}
    return {
        "accuracy": list(statistics.proportion(correct, samples)) if scores.thresholded else None,
        "constant": len(scores.heldout) / samples,
        "balanced_accuracy": list(statistics.balanced_accuracy(*sides)) if scores.thresholded else None,
        "auc": list(statistics.auc(*sides)),
        **{name: list(rate) if rate else None for name, rate in rates.items()},
        "forgotten": len(scores.forgotten),
        "heldout": len(scores.heldout),
        **scores.facts,
    }


def roc(scores: Scores) -> dict[str, list[float]]:
    """The ROC curve of an attack, for the low false-positive rates that matter in audits.

    Returns:
        "fpr": those of `CURVE` that the number of held-out samples supports; "tpr": the true-positive rates there,
        rounded to six digits.
    """
    fprs = [fpr for fpr in CURVE if len(scores.heldout) * fpr >= 1 - 1e-9]
    rates = statistics.true_positive_rates(scores.forgotten, scores.heldout, fprs)
    return {"fpr": fprs, "tpr": [round(rate, 6) for rate in rates]}
