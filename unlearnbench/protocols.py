"""The two ways to evaluate a network: the suite's own, and the one that the published tables were made with."""

from __future__ import annotations

from dataclasses import dataclass

from unlearnbench.errors import unknown


@dataclass(frozen=True)
class Protocol:
    """What the columns of a table mean.

    Attributes:
        name: On the command line and in records.
        attack: The name of the attack whose success rate is the ASR.
        metric: Which of that attack's numbers it is.
        augmented: Whether training items are changed as in training, where the recipe augments.
        note: What a reader must know; `{shadows}` is the number of shadow networks, and other names are options of
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
    note="Protocol clean: no augmentation. ASR: balanced accuracy of a shadow-model attack ({shadows} shadow networks) "
    "on all forgotten against class-matched held-out items; 50 is blind guessing, closeness to Retrain is what counts. "
    "The attack does not adapt to unlearning, so it is a lower bound on leakage.",
)
RELEASED = Protocol(
    name="released",
    attack="released",
    metric="accuracy",
    augmented=True,
    note="Protocol released, as in the code behind the published tables: training items are augmented where the recipe "
    "augments. ASR: plain accuracy of a classifier that is trained on the unlearned network itself and scored on an "
    "unbalanced set, so 50 is not blind guessing; `unlearnbench show` has the accuracy of a constant answer. The "
    "classifier is gradient boosting of {classifier}; that of the released code is of xgboost.",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CLEAN, RELEASED)}


def get(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
