"""An attack: a function that guesses from answers which items a network was trained on. It never sees a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearnbench import Audit, Observed, Scores, attack

contract = 2  # of unlearnbench's plugins, for which this was written


@attack(title="My plugin", reference="Your paper, or where the idea comes from")
def my_plugin(audit: Audit, *, temperature: float = 1.0) -> Scores:
    """Members have a smaller loss than the mean test item.

    `audit` has the answers on forgotten, held-out, remaining and test items, those of shadow models on items that
    they were and were not trained on, and a seed. A score is higher the surer the attack is that an item was a member;
    above zero it says so.
    """
    threshold = log_likelihood(audit.test, temperature).mean()
    return Scores(
        forgotten=log_likelihood(audit.forgotten, temperature) - threshold,
        heldout=log_likelihood(audit.heldout, temperature) - threshold,
        facts={"compared with": len(audit.test.labels)},  # whole numbers that records shall have
    )


def log_likelihood(observed: Observed, temperature: float) -> NDArray[np.float64]:
    """The log-probability of each item's label, float64 [n]."""
    softened = Observed(observed.logits / temperature, observed.labels)
    return softened.of_labels(softened.log_posteriors())
