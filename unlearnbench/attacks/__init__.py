"""Membership inference: does the network answer on forgotten items as on items that it was trained on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.plugin import Plugin
from unlearnbench.stats import Floats

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observed:
    """What a network answers on some items. Compared by identity, so that attacks can keep what they fitted to it.

    Attributes:
        logits: float64 [n, classes].
        labels: int64 [n], the labels that the items have, or would have, in training.
    """

    logits: Floats
    labels: Integers

    def posteriors(self) -> Floats:
        """softmax, float64 [n, classes]."""
        from scipy.special import softmax

        result: Floats = softmax(self.logits, axis=1)
        return result


@dataclass(frozen=True)
class Audit:
    """What an attacker has in hand. No attack ever sees a network.

    Attributes:
        forgotten: The forgotten items under the unlearned network.
        heldout: Items of the same classes that were never trained on, under the same network.
        remaining: The other training items, under the same network.
        test: All test items in their order, under the same network.
        shadow_members: For each shadow network, the items like the forgotten ones that it was trained on.
        shadow_nonmembers: For each shadow network, those that it was not trained on.
        seed: For the attacker's own random numbers.
    """

    forgotten: Observed
    heldout: Observed
    remaining: Observed
    test: Observed
    shadow_members: tuple[Observed, ...]
    shadow_nonmembers: tuple[Observed, ...]
    seed: int


@dataclass(frozen=True)
class Scores:
    """How sure an attack is that an item was a member: higher is surer, and above zero it says "member".

    Attributes:
        forgotten: float64 [f].
        heldout: float64 [h]; of the items that the forgotten ones are compared with.
        facts: Counts that a record shall have, by name.
    """

    forgotten: Floats
    heldout: Floats
    facts: Mapping[str, int] = field(default_factory=dict)


class Attack(Plugin):
    """A function `(audit, **options) -> Scores`.

    Args:
        libraries: `(**options) -> names` of the distributions of which a new release can move the scores.
    """

    kind = "attack"

    def __init__(
        self,
        function: Callable[..., Scores],
        *,
        title: str,
        reference: str = "",
        libraries: Callable[..., Sequence[str]] = lambda **_: (),
    ) -> None:
        super().__init__(function, title=title, reference=reference)
        self.libraries = libraries

    def score(self, audit: Audit, **options: Any) -> Scores:
        """Runs the attack."""
        scores: Scores = self.function(audit, **options)
        return scores


def attack(
    *, title: str, reference: str = "", libraries: Callable[..., Sequence[str]] = lambda **_: ()
) -> Callable[[Callable[..., Scores]], Attack]:
    """Makes a function `(audit, **options) -> Scores` an attack of the suite; see `Attack`."""
    return lambda function: Attack(function, title=title, reference=reference, libraries=libraries)
