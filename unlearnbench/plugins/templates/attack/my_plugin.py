"""An attack: a function that infers from outputs which samples a network was trained on; it never sees a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearnbench import Audit, Observed, Scores, attack

contract = 2  # the version of unlearnbench's contract that this was written for


@attack(title="My plugin", reference="Your paper, or where the idea comes from")
def my_plugin(audit: Audit, *, temperature: float = 1.0) -> Scores:
    """Members have a smaller loss than the mean test sample.

    `audit` has the outputs on forgotten, held-out, retained and test samples, those of shadow models on samples that
    they were and were not trained on, and a seed. Higher scores are for likelier members; a sample with a score above
    zero is classified as a member.
    """
    threshold = log_likelihood(audit.test, temperature).mean()
    return Scores(
        forgotten=log_likelihood(audit.forgotten, temperature) - threshold,
        heldout=log_likelihood(audit.heldout, temperature) - threshold,
        facts={"compared with": len(audit.test.labels)},  # whole numbers for the record
    )


def log_likelihood(observed: Observed, temperature: float) -> NDArray[np.float64]:
    """The log-probability of each sample's label, float64 [n]."""
    softened = Observed(observed.logits / temperature, observed.labels)
    return softened.of_labels(softened.log_posteriors())
