"""The contract of attacks: functions that infer membership from the outputs of networks."""

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
    """The outputs of a network on some samples. Compared by identity, so that attacks can cache what they fit to it.

    Attributes:
        logits: float64 [n, classes].
        labels: int64 [n], the labels that the samples have, or would have, in training.
    """

    logits: Floats
    labels: Integers

    def posteriors(self) -> Floats:
        """The softmax, float64 [n, classes]."""
        from scipy.special import softmax

        result: Floats = softmax(self.logits, axis=1)
        return result

    def log_posteriors(self) -> Floats:
        """The logarithm of the softmax, float64 [n, classes]."""
        from scipy.special import log_softmax

        result: Floats = log_softmax(self.logits, axis=1)
        return result

    def log_odds(self) -> Floats:
        """The log-odds log p - log(1 - p), float64 [n, classes], exact also where p rounds to 1."""
        from scipy.special import logsumexp

        top = np.arange(len(self.logits)), self.logits.argmax(axis=1)
        others = self.logits.copy()
        others[top] = -np.inf
        with np.errstate(divide="ignore"):  # at the top, which the next line replaces
            log_rest = np.log1p(-self.posteriors())
        log_rest[top] = logsumexp(others, axis=1) - logsumexp(self.logits, axis=1)
        result: Floats = self.log_posteriors() - log_rest
        return result

    def of_labels(self, values: Floats) -> Floats:
        """The entry (float64 [n]) of the label in each row of `values` (float64 [n, classes])."""
        entries: Floats = np.take_along_axis(values, self.labels[:, None], axis=1)[:, 0]
        return entries


@dataclass(frozen=True, eq=False)
class Known:
    """The outputs of a network whose training samples are known.

    Attributes:
        observed: Its outputs on some samples.
        inside: bool [n]; True for samples that it was trained on.
    """

    observed: Observed
    inside: Booleans


@dataclass(frozen=True)
class Audit:
    """The input of an attack: outputs and labels, never a network.

    Attributes:
        forgotten: The outputs of the unlearned network on the forget set.
        heldout: Its outputs on the held-out set, which has the same classes and was never trained on.
        retained: Its outputs on the retain set.
        test: Its outputs on the test set, in order.
        shadow_members: For each shadow model, its outputs on samples like the forgotten ones that it was trained on.
        shadow_nonmembers: For each shadow model, its outputs on such samples that it was not trained on.
        seed: For the attack's random numbers.
        heldout_rows: int64 [h], the positions of the held-out set in the test set.
        load_references: Gives `references` when an attack first reads them.
        load_unlearned_shadows: Gives `unlearned_shadows`, likewise.
        same_labels: True if the references were trained with the labels that the samples have here. False for tasks
            that replace labels, because each shadow model draws its own.
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
        """Outputs of the shadow models, and of any second Retrain, on "forgotten", "heldout" and "test"."""
        return self.load_references()

    @cached_property
    def unlearned_shadows(self) -> tuple[Mapping[str, Known], ...]:
        """Outputs on "forgotten" and "heldout" of shadow models that the audited method was applied to.

        Each was trained on a random half of all images, and then forgot those of the forgotten and held-out samples
        that were in that half.
        """
        return self.load_unlearned_shadows()


class NotApplicableError(Exception):
    """Raised by an attack that cannot be applied to a cell; the message says why."""


@dataclass(frozen=True)
class Scores:
    """The result of an attack: higher scores for likelier members; scores above zero are classified as members.

    Attributes:
        forgotten: float64 [f], of the forget set.
        heldout: float64 [h], of the samples that the forget set is compared with.
        facts: Counts for the record, by name.
        thresholded: False if zero has no meaning; then accuracies are not applicable.
    """

    forgotten: Floats
    heldout: Floats
    facts: Mapping[str, int] = field(default_factory=dict)
    thresholded: bool = True


class Attack(Plugin):
    """A function `(audit, **options) -> Scores`.

    Args:
        function: The code.
        title: The name in tables.
        reference: The paper.
        libraries: `(**options) -> names` of distributions whose releases can change the scores; their versions are
            part of the attack's key.
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
