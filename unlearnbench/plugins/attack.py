"""The contract of attacks: functions that infer membership from the outputs of networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.errors import NotApplicableError as NotApplicableError  # attacks import it from here
from unlearnbench.plugins.contract import Renamed, naming, require
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.runtime import seeds
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


PARTS = ("forgotten", "heldout", "retained", "test")
"""The outputs of an audit that attacks must not change."""


def require_scores(scores: Scores, forgotten: int) -> None:
    """Raises unless there is one float for each forgotten sample, and for each that these are compared with."""
    for name, side, length in (("forgotten", scores.forgotten, forgotten), ("heldout", scores.heldout, None)):
        is_right = isinstance(side, np.ndarray) and side.ndim == 1 and side.dtype == np.float64 and len(side) > 0
        what = f"{side.dtype} {list(side.shape)}" if isinstance(side, np.ndarray) else type(side).__name__
        require(
            is_right and length in (None, len(side)),
            f"{name} scores are {what}: return float64 [{length or 'n'}], one for each sample",
        )


def require_finite(scores: Scores) -> None:
    """Raises if a score is infinite or not a number."""
    finite = all(np.isfinite(np.asarray(side, dtype=float)).all() for side in (scores.forgotten, scores.heldout))
    require(finite, "some scores are infinite or not a number: work with log-probabilities, and never divide by zero")


def require_facts(scores: Scores) -> None:
    """Raises unless the facts are whole numbers by name."""
    facts = scores.facts
    is_right = isinstance(facts, Mapping)
    is_right = is_right and all(isinstance(name, str) and type(value) is int for name, value in facts.items())
    require(is_right, f"facts must be whole numbers by name, not {facts}")


def require_unchanged(before: Mapping[str, Observed], audit: Audit) -> None:
    """Raises if the outputs of an audit are not as they were."""
    for part, old in before.items():
        new: Observed = getattr(audit, part)
        same = np.array_equal(old.logits, new.logits) and np.array_equal(old.labels, new.labels)
        require(same, f"it writes on the outputs for {part} samples: change a copy")


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
        """Runs the attack; seeds the global generators for it, and restores global settings afterwards.

        Raises:
            NotApplicableError: If it cannot be applied to this cell.
            BrokenContractError: If its result is not as `Scores` documents, or it has written on the audit.
        """
        before = {part: copy.deepcopy(getattr(audit, part)) for part in PARTS}
        with seeds.pinned("attack", audit.seed):
            scores: Scores = self.function(audit, **options)
        with naming(f"attack {self.title!r}"):
            require(isinstance(scores, Scores), f"it returns {type(scores).__name__}; it must return Scores")
            require_scores(scores, len(audit.forgotten.labels))
            require_finite(scores)
            require_facts(scores)
            require_unchanged(before, audit)
        return scores


def attack(
    *, title: str, reference: str = "", libraries: Callable[..., Sequence[str]] = lambda **_: ()
) -> Callable[[Callable[..., Scores]], Attack]:
    """Makes a function `(audit, **options) -> Scores` an attack of the suite; see `Attack`."""
    return lambda function: Attack(function, title=title, reference=reference, libraries=libraries)
