"""The two protocols of evaluation: the suite's own, and that of the published tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local, placed


@dataclass(frozen=True)
class Protocol:
    """Defines the columns of a table.

    Attributes:
        name: Its name on the command line and in records.
        attack: The name of the attack whose success rate is the ASR.
        metric: The metric of that attack.
        augmented: True if training samples are augmented, where the recipe augments.
        note: The note below tables; `{shadows}` stands for the number of shadow models, other names for options of
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
    "on all forgotten against class-matched held-out samples; 50 is chance level, the target is Retrain's value. "
    "The attack does not adapt to unlearning, so it is a lower bound on leakage.",
)
RELEASED = Protocol(
    name="released",
    attack="released",
    metric="accuracy",
    augmented=True,
    note="Protocol released, as in the code of the published tables: training samples are augmented where the recipe "
    "augments. ASR: plain accuracy of a classifier that is trained on the unlearned network itself and evaluated on an "
    "unbalanced set, so 50 is not chance level; `unlearnbench show` has the accuracy of a constant prediction. The "
    "classifier is the gradient boosting of {classifier}; the released code uses that of xgboost.",
)
MIA = "svc-released"
"""The attack behind the metric mia: the share of forgotten samples that it takes for non-members."""
PROTOCOLS = {protocol.name: protocol for protocol in (CLEAN, RELEASED)}


METRICS = ("auc", "balanced_accuracy", "tpr@1%", "tpr@0.1%")
"""The metrics of every attack that tables can show."""


def get(name: str, attack: str | None = None, metric: str | None = None) -> Protocol:
    """A protocol by name, or protocol clean with a metric of another attack instead of the ASR.

    An attack may be FILE.py:FUNCTION.

    Raises:
        UserError: If there is no such protocol, attack or metric.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    if attack is None and metric is None:
        return PROTOCOLS[name]
    if name != CLEAN.name:
        raise UserError("--attack and --metric need protocol clean")
    known, attack = registry.entries("attacks"), attack and placed(attack)
    if attack is not None and attack not in known and not isinstance(attack, Local):
        raise unknown("attack", attack, known)
    if metric is not None and metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    attack, metric = attack or CLEAN.attack, metric or METRICS[0]
    return replace(
        CLEAN,
        attack=str(attack),
        metric=metric,
        note=f"Protocol clean: no augmentation. The last column is {metric} of attack {attack}, on forgotten against "
        "class-matched held-out samples; the target is Retrain's value. See `unlearnbench list attacks`.",
    )


COLUMNS = {
    "train_r": "Train_r",
    "train_f": "Train_f",
    "test": "Test",
    "test_r": "Test_r",
    "test_f": "Test_f",
    "asr": "ASR",
    "mia": "MIA",
    "ua": "UA",
    "ra": "RA",
    "ta": "TA",
    "gap": "Gap",
    "minutes": "TIME",
}
"""The names of metrics in tables, as in the paper."""
