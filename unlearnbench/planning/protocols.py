"""The two ways to evaluate a network: the suite's own, and the one that the published tables were made with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry


@dataclass(frozen=True)
class Protocol:
    """What the columns of a table mean.

    Attributes:
        name: On the command line and in records.
        attack: The name of the attack whose success rate is the ASR.
        metric: Which of that attack's numbers it is.
        augmented: Whether training samples are augmented, where the recipe augments.
        note: What a reader must know; `{shadows}` is the number of shadow models, and other names are options of
            the attack.
    """

    name: str
    attack: str
    metric: str
    augmented: bool
    note: str


CLEAN = Protocol(
    name="clean",
    attack="shadow",
    metric="balanced_accuracy",
    augmented=False,
    note="Protocol clean: no augmentation. ASR: balanced accuracy of a shadow-model attack ({shadows} shadow models) "
    "on all forgotten against class-matched held-out samples; 50 is blind guessing, closeness to Retrain is what "
    "counts. The attack does not adapt to unlearning, so it is a lower bound on leakage.",
)
RELEASED = Protocol(
    name="released",
    attack="released",
    metric="accuracy",
    augmented=True,
    note="Protocol released, as in the code behind the published tables: training samples are augmented where the "
    "recipe augments. ASR: plain accuracy of a classifier that is trained on the unlearned network itself and scored "
    "on an unbalanced set, so 50 is not blind guessing; `unlearnbench show` has the accuracy of a constant answer. The "
    "classifier is gradient boosting of {classifier}; that of the released code is of xgboost.",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CLEAN, RELEASED)}


METRICS = ("auc", "balanced_accuracy", "tpr@1%", "tpr@0.1%")
"""What there is of every attack."""


def get(name: str, attack: str | None = None, metric: str | None = None) -> Protocol:
    """A protocol by name, or the clean one with a number of another attack in the place of the ASR.

    Raises:
        UserError: If there is none of that name, or no such attack or metric.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    if attack is None and metric is None:
        return PROTOCOLS[name]
    if name != CLEAN.name:
        raise UserError("--attack and --metric go with protocol clean only")
    known = registry.entries("attacks")
    if attack is not None and attack not in known:
        raise unknown("attack", attack, known)
    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    attack, metric = attack or CLEAN.attack, metric or METRICS[0]
    return replace(
        CLEAN,
        attack=attack,
        metric=metric,
        note=f"Protocol clean: no augmentation. The last column is {metric} of attack {attack}, on forgotten against "
        "class-matched held-out samples; closeness to Retrain is what counts. See `unlearnbench list attacks`.",
    )


COLUMNS = {
    "train_r": "Train_r",
    "train_f": "Train_f",
    "test": "Test",
    "test_r": "Test_r",
    "test_f": "Test_f",
    "asr": "ASR",
}
"""Metrics as the paper writes them."""
