"""What an attack must do."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from unlearnbench import statistics
from unlearnbench.checks import requirements
from unlearnbench.checks.requirements import outcome, skip
from unlearnbench.checks.side_effects import SideEffects, recording
from unlearnbench.errors import UserError
from unlearnbench.plugins.attack import (
    PARTS,
    Attack,
    Audit,
    Booleans,
    Integers,
    Known,
    NotApplicableError,
    Observed,
    Scores,
    require_facts,
    require_finite,
    require_scores,
    require_unchanged,
)
from unlearnbench.plugins.contract import fail, require
from unlearnbench.runtime import seeds
from unlearnbench.statistics import Floats

SAMPLES, CLASSES, NETWORKS = 120, 5, 8
LEAK = 6.0
"""By how much a network prefers the label of a sample that it was trained on, in logits."""
STRONG = 0.8
"""The AUC that an attack must reach if networks prefer these labels so clearly."""
SIGMAS = 4.0
"""How many standard deviations an AUC may be from 0.5 where forgotten and held-out samples do not differ."""
SURE = 1000.0
"""The scale of logits whose softmax rounds to 0 and 1."""
SIDES = ("forgotten", "heldout")


def synthetic_audit(leaking: bool = True, samples: int = SAMPLES, scale: float = 1.0) -> Audit:
    """An audit of random networks that prefer the labels of the samples that they were trained on.

    Args:
        leaking: True: the audited network was trained on all forgotten and on no held-out samples. False: on half of
            both, so that they do not differ.
        samples: How many of each.
        scale: What all logits are multiplied by.
    """
    random = np.random.default_rng(0)

    def observe(labels: Integers, member: Booleans) -> Observed:
        logits = random.normal(0.0, 1.0, (len(labels), CLASSES))
        logits[np.arange(len(labels)), labels] += 1.0 + LEAK * member
        return Observed(scale * logits, labels)

    side = np.arange(samples) % CLASSES
    labels = {"forgotten": side, "heldout": side, "test": np.concatenate([side, side])}
    half = np.arange(samples) % 2 == 0
    member = {"forgotten": half | leaking, "heldout": half & (not leaking)}
    shadows = [observe_shadow(random, index, labels, observe) for index in range(NETWORKS)]
    unlearned = [observe_shadow(random, index, labels, observe) for index in range(NETWORKS)]
    sides = {name: observe(labels[name], member[name]) for name in SIDES}
    other_test = observe(side, member["heldout"])
    return Audit(
        forgotten=sides["forgotten"],
        heldout=sides["heldout"],
        retained=observe(side, np.ones(samples, dtype=bool)),
        test=joined(sides["heldout"], other_test),
        shadow_members=tuple(rows(known["forgotten"], True) for known in shadows),
        shadow_nonmembers=tuple(rows(known["forgotten"], False) for known in shadows),
        seed=0,
        heldout_rows=np.arange(samples),
        load_references=lambda: tuple(shadows),
        load_unlearned_shadows=lambda: tuple(unlearned),
    )


def observe_shadow(
    random: np.random.Generator,
    index: int,
    labels: Mapping[str, Integers],
    observe: Callable[[Integers, Booleans], Observed],
) -> dict[str, Known]:
    """The outputs of a shadow model that was trained on a random half; those of odd index have the other half."""
    halves = np.random.default_rng(index // 2)
    known = {}
    for part, of_part in labels.items():
        member = halves.permutation(len(of_part)) < len(of_part) / 2
        if index % 2 == 0:
            member = ~member
        known[part] = Known(observe(of_part, member), member)
    return known


def rows(known: Known, member: bool) -> Observed:
    """The outputs on the samples that a network was trained on, or on those that it was not."""
    chosen = known.inside == member
    return Observed(known.observed.logits[chosen], known.observed.labels[chosen])


def joined(one: Observed, other: Observed) -> Observed:
    """The outputs on the samples of both."""
    return Observed(np.concatenate([one.logits, other.logits]), np.concatenate([one.labels, other.labels]))


@dataclass
class Bench:
    """An attack under test."""

    name: str
    plugin: Attack
    effects: SideEffects = field(default_factory=SideEffects)

    def score(self, audit: Audit, chance: int = 0) -> Scores:
        """Runs it; `chance` seeds the global generators, which it must not use."""
        with seeds.pinned("check", chance), recording(self.effects):
            scores: Scores = self.plugin.function(audit, **self.plugin.defaults)
            return scores

    @cached_property
    def result(self) -> Any:
        """What it returns for an audit that leaks, or the exception that it raises."""
        try:
            return self.score(synthetic_audit())
        except Exception as error:  # anything that a plugin raises
            return error

    def scores(self) -> Scores:
        """Its scores for an audit that leaks; without them the check is skipped."""
        if not isinstance(self.result, Scores):
            skip("it returns no scores: see runs-with-its-defaults")
        scores: Scores = self.result
        return scores

    def finite_scores(self) -> tuple[Floats, Floats]:
        """The scores of both sides; if they are no numbers, the check is skipped."""
        scores = self.scores()
        forgotten, heldout = np.asarray(scores.forgotten), np.asarray(scores.heldout)
        if not all(side.ndim == 1 and len(side) and np.isfinite(side).all() for side in (forgotten, heldout)):
            skip("its scores are not finite numbers")
        return forgotten, heldout


def runs_with_its_defaults(bench: Bench) -> None:
    """For an audit in which nothing is missing it returns `Scores`."""
    is_scores = isinstance(bench.result, Scores)
    require(is_scores, f"it {outcome(bench, bench.result)}; it must return Scores where nothing is missing")


def scores_every_sample(bench: Bench) -> None:
    """There is one float for each forgotten sample, and for each sample that these are compared with."""
    require_scores(bench.scores(), SAMPLES)


def gives_finite_scores(bench: Bench) -> None:
    """No score is infinite or not a number."""
    require_finite(bench.scores())


def is_reproducible(bench: Bench) -> None:
    """With the same audit it returns the same scores, whatever the state of the global generators."""
    first, again = bench.scores(), bench.score(synthetic_audit(), chance=1)
    same = all(np.array_equal(getattr(first, side), getattr(again, side), equal_nan=True) for side in SIDES)
    require(same, "two runs on one audit differ: draw from a generator seeded with audit.seed")


def does_not_write_on_the_audit(bench: Bench) -> None:
    """It leaves logits and labels as they are."""
    bench.scores()
    audit = synthetic_audit()
    before = {part: copy.deepcopy(getattr(audit, part)) for part in PARTS}
    bench.score(audit)
    require_unchanged(before, audit)


def finds_an_obvious_leak(bench: Bench) -> None:
    """If the network clearly prefers the labels of forgotten samples, these get the higher scores."""
    auc = statistics.auc(*bench.finite_scores()).value
    require(
        auc >= STRONG,
        f"where every member is obvious its AUC is {auc:.2f}: scores must be higher for members (is the sign right?), "
        "and it must use the audit",
    )


def finds_nothing_where_nothing_is(bench: Bench) -> None:
    """If the network was trained on half of both sides, its AUC is 0.5 up to chance."""
    bench.finite_scores()
    scores = bench.score(synthetic_audit(leaking=False))
    f, h = len(scores.forgotten), len(scores.heldout)
    deviation = math.sqrt((f + h + 1) / (12 * f * h))
    auc = statistics.auc(scores.forgotten, scores.heldout).value
    require(
        abs(auc - 0.5) <= SIGMAS * deviation,
        f"where forgotten and held-out samples do not differ its AUC is {auc:.2f}: it must treat both sides alike",
    )


def copes_with_certain_networks(bench: Bench) -> None:
    """Logits in the thousands, whose softmax rounds to 0 and 1, give finite scores, too."""
    bench.finite_scores()
    scores = bench.score(synthetic_audit(scale=SURE))
    finite = all(np.isfinite(side).all() for side in (scores.forgotten, scores.heldout))
    require(finite, "for very large logits some scores are not finite: use audit's log_odds() or log_posteriors()")


def copes_with_few_samples(bench: Bench) -> None:
    """Two samples a side give a result, or an error that says why not: NotApplicableError, UserError or ValueError."""
    bench.scores()
    try:
        bench.score(synthetic_audit(samples=2))
    except (NotApplicableError, UserError, ValueError) as error:
        require(bool(str(error)), "for two samples a side it raises an error without a message")
    except Exception as error:  # anything that a plugin raises
        fail(f"for two samples a side it {outcome(bench, error)}; raise NotApplicableError with a reason")


def gives_facts_that_records_can_keep(bench: Bench) -> None:
    """Its facts are whole numbers by name."""
    require_facts(bench.scores())


def names_libraries_that_are_installed(bench: Bench) -> None:
    """The distributions that it names in `libraries` are installed."""
    try:
        for library in bench.plugin.libraries(**bench.plugin.defaults):
            version(library)
    except Exception as error:  # anything that a plugin raises
        fail(f"libraries= {outcome(bench, error)}; name distributions as pip does")


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    names_libraries_that_are_installed,
    runs_with_its_defaults,
    scores_every_sample,
    gives_finite_scores,
    is_reproducible,
    does_not_write_on_the_audit,
    finds_an_obvious_leak,
    finds_nothing_where_nothing_is,
    copes_with_certain_networks,
    copes_with_few_samples,
    gives_facts_that_records_can_keep,
    requirements.restores_global_settings,
)
