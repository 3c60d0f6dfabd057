"""Membership inference: does the network answer on forgotten items as on items that it was trained on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.plugins.contract import Renamed
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.statistics import Floats

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


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

    def log_posteriors(self) -> Floats:
        """Log softmax, float64 [n, classes]."""
        from scipy.special import log_softmax

        result: Floats = log_softmax(self.logits, axis=1)
        return result

    def log_odds(self) -> Floats:
        """Log p - log(1 - p), float64 [n, classes], exact also where p rounds to 1."""
        from scipy.special import logsumexp

        top = np.arange(len(self.logits)), self.logits.argmax(axis=1)
        others = self.logits.copy()
        others[top] = -np.inf
        with np.errstate(divide="ignore"):  # at the top, where the next line puts it right
            log_rest = np.log1p(-self.posteriors())
        log_rest[top] = logsumexp(others, axis=1) - logsumexp(self.logits, axis=1)
        result: Floats = self.log_posteriors() - log_rest
        return result

    def of_labels(self, values: Floats) -> Floats:
        """The entry (float64 [n]) of each row of `values` (float64 [n, classes]) that is its label's."""
        found: Floats = np.take_along_axis(values, self.labels[:, None], axis=1)[:, 0]
        return found


@dataclass(frozen=True, eq=False)
class Known:
    """What a network of known membership answers on some items.

    Attributes:
        observed: Its answers.
        inside: bool [n]; on which of the items it was trained.
    """

    observed: Observed
    inside: Booleans


@dataclass(frozen=True)
class Audit:
    """What an attacker has in hand. No attack ever sees a network.

    Attributes:
        forgotten: The forgotten items under the unlearned network.
        heldout: Items of the same classes that were never trained on, under the same network.
        retained: The other training items, under the same network.
        test: All test items in their order, under the same network.
        shadow_members: For each shadow model, the items like the forgotten ones that it was trained on.
        shadow_nonmembers: For each shadow model, those that it was not trained on.
        seed: For the attacker's own random numbers.
        heldout_rows: int64 [h], which of the test items the held-out ones are.
        load_references: Gives `references` when an attack first reads them.
        load_unlearned_shadows: Gives `unlearned_shadows`, likewise.
        same_labels: Whether the references were trained with the labels that the items have here. Not so where a task
            replaces labels, because each shadow model draws its own.
    """

    forgotten: Observed
    heldout: Observed
    retained: Observed
    test: Observed
    shadow_members: tuple[Observed, ...]
    shadow_nonmembers: tuple[Observed, ...]
    seed: int
    heldout_rows: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    load_references: Callable[[], tuple[Mapping[str, Known], ...]] = tuple
    load_unlearned_shadows: Callable[[], tuple[Mapping[str, Known], ...]] = tuple
    same_labels: bool = True
    remaining = Renamed("audit.remaining")
    fleet = Renamed("audit.fleet")

    @cached_property
    def references(self) -> tuple[Mapping[str, Known], ...]:
        """Outputs on "forgotten", "heldout" and "test" of the shadow models and, if there is one, of a second Retrain."""
        return self.load_references()

    @cached_property
    def unlearned_shadows(self) -> tuple[Mapping[str, Known], ...]:
        """Outputs on "forgotten" and "heldout" of shadow models that the audited method was applied to.

        Each was trained on a random half of all images, and then forgot those of the forgotten and held-out samples
        that were in that half.
        """
        return self.load_unlearned_shadows()


class NotApplicableError(Exception):
    """An attack that makes no sense here; the message says why."""


@dataclass(frozen=True)
class Scores:
    """How sure an attack is that an item was a member: higher is surer, and above zero it says "member".

    Attributes:
        forgotten: float64 [f].
        heldout: float64 [h]; of the items that the forgotten ones are compared with.
        facts: Counts that a record shall have, by name.
        thresholded: Whether zero means anything. Where it does not, accuracies are not applicable.
    """

    forgotten: Floats
    heldout: Floats
    facts: Mapping[str, int] = field(default_factory=dict)
    thresholded: bool = True


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
