"""What an attack must do."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from unlearnbench import statistics
from unlearnbench.checks import requirements
from unlearnbench.checks.requirements import no_need, outcome, require
from unlearnbench.checks.watching import Watch, watched
from unlearnbench.errors import UserError
from unlearnbench.plugins.attack import Attack, Audit, Known, NotApplicableError, Observed, Scores
from unlearnbench.runtime import seeds
from unlearnbench.storage.keys import canonical

ITEMS, CLASSES, NETWORKS = 120, 5, 8
LEAK = 6.0
"""By how much a network that was trained on an item prefers its label, in logits."""
STRONG = 0.8
"""The AUC that an attack must have where every member gives itself away so."""
SIGMAS = 4.0
"""How far from guessing an AUC may be by chance where there is nothing to find."""
SURE = 1000.0
"""Logits of a network that has no doubts."""


def audit(leaking: bool = True, items: int = ITEMS, scale: float = 1.0) -> Audit:
    """What an attacker has in hand, made up: networks that prefer the labels of the items that they were trained on.

    Args:
        leaking: Whether forgotten items are those that the network under audit was trained on, and held-out items not.
            Otherwise half of both are, so that nothing tells them apart.
        items: How many of each.
        scale: What all logits are multiplied by.
    """
    random = np.random.default_rng(0)

    def observed(labels: Any, inside: Any) -> Observed:
        logits = random.normal(0.0, 1.0, (len(labels), CLASSES))
        logits[np.arange(len(labels)), labels] += 1.0 + LEAK * inside
        return Observed(scale * logits, labels)

    parts = {name: np.arange(count) % CLASSES for name, count in (("forgotten", items), ("heldout", items))}
    parts["test"] = np.concatenate([parts["heldout"]] * 2)
    half = np.arange(items) % 2 == 0
    inside = {"forgotten": half | leaking, "heldout": half & (not leaking)}
    shadows = [of_reference(random, index, parts, observed) for index in range(NETWORKS)]
    fleet = [of_reference(random, index, parts, observed) for index in range(NETWORKS)]
    of = {name: observed(parts[name], inside[name]) for name in inside}
    rest = observed(parts["heldout"], inside["heldout"])
    test = Observed(*(np.concatenate(pair) for pair in zip(*map(fields_of, (of["heldout"], rest)), strict=True)))
    return Audit(
        forgotten=of["forgotten"],
        heldout=of["heldout"],
        retained=observed(parts["forgotten"], np.ones(items, dtype=bool)),
        test=test,
        shadow_members=tuple(side(known, True) for known in shadows),
        shadow_nonmembers=tuple(side(known, False) for known in shadows),
        seed=0,
        heldout_rows=np.arange(items),
        load_references=lambda: tuple(shadows),
        load_unlearned_shadows=lambda: tuple(fleet),
    )


def of_reference(random: np.random.Generator, index: int, parts: Mapping[str, Any], observed: Any) -> dict[str, Known]:
    """What a network answers that was trained on a random half of the items; each second one on the other half."""
    halves = np.random.default_rng(index // 2)
    found = {}
    for name in ("forgotten", "heldout", "test"):
        chosen = halves.permutation(len(parts[name])) < len(parts[name]) / 2
        chosen = chosen if index % 2 else ~chosen
        found[name] = Known(observed(parts[name], chosen), chosen)
    return found


def side(known: Mapping[str, Known], member: bool) -> Observed:
    """The items like the forgotten ones that a network was trained on, or those that it was not."""
    rows = known["forgotten"].inside == member
    return Observed(*(values[rows] for values in fields_of(known["forgotten"].observed)))


def fields_of(observed: Observed) -> tuple[Any, Any]:
    """Logits and labels."""
    return observed.logits, observed.labels


@dataclass
class Bench:
    """An attack, and what it makes of audits."""

    name: str
    plugin: Attack
    watch: Watch = field(default_factory=Watch)

    def score(self, audit: Audit, chance: int = 0) -> Scores:
        """Runs it; `chance` seeds the global generators, which it must not use."""
        with seeds.pinned("check", chance), watched(self.watch):
            return self.plugin.score(audit, **self.plugin.defaults)

    @cached_property
    def found(self) -> Any:
        """What it makes of an audit that leaks, or what was raised instead."""
        try:
            return self.score(audit())
        except Exception as error:  # whatever a plugin raises
            return error

    @property
    def good(self) -> Scores:
        """What it makes of an audit that leaks, if it gives scores."""
        if not isinstance(self.found, Scores):
            no_need(f"it gives no scores: {self.found}")
        scores: Scores = self.found
        return scores

    @property
    def sides(self) -> tuple[Any, Any]:
        """The scores of both sides, if they are numbers."""
        sides = np.asarray(self.good.forgotten), np.asarray(self.good.heldout)
        if not all(side.ndim == 1 and len(side) and np.isfinite(side).all() for side in sides):
            no_need("its scores are no numbers")
        return sides


def runs_with_its_defaults(bench: Bench) -> None:
    """Of an audit in which nothing is missing it gives `Scores`."""
    found = bench.found
    require(isinstance(found, Scores), f"it {outcome(found)}; it must give Scores where nothing is missing")


def scores_every_item(bench: Bench) -> None:
    """There is one float for each forgotten item, and for each item that these are compared with."""
    for name, side in (("forgotten", bench.good.forgotten), ("heldout", bench.good.heldout)):
        right = isinstance(side, np.ndarray) and side.ndim == 1 and side.dtype == np.float64 and len(side) >= 2
        right = right and (name == "heldout" or len(side) == ITEMS)
        what = f"{side.dtype} {list(side.shape)}" if isinstance(side, np.ndarray) else type(side).__name__
        require(right, f"{name} scores are {what}: give float64 [{ITEMS if name == 'forgotten' else 'n'}], one an item")


def gives_finite_scores(bench: Bench) -> None:
    """No score is infinite or not a number."""
    finite = all(
        np.isfinite(np.asarray(side, dtype=float)).all() for side in (bench.good.forgotten, bench.good.heldout)
    )
    require(finite, "some scores are infinite or not a number: work with log-probabilities, and never divide by zero")


def is_reproducible(bench: Bench) -> None:
    """With the same audit it gives the same scores, whatever the global generators are at."""
    again = bench.score(audit(), chance=1) if bench.good else bench.good
    same = all(
        np.array_equal(getattr(bench.good, s), getattr(again, s), equal_nan=True) for s in ("forgotten", "heldout")
    )
    require(same, "two runs on one audit differ: draw from a generator seeded with audit.seed")


def does_not_write_on_the_audit(bench: Bench) -> None:
    """Logits and labels stay as they are."""
    mine = audit()
    before = {name: copy.deepcopy(getattr(mine, name)) for name in ("forgotten", "heldout", "retained", "test")}
    if bench.good:
        bench.score(mine)
    for name, observed in before.items():
        same = all(map(np.array_equal, fields_of(observed), fields_of(getattr(mine, name))))
        require(same, f"it writes on what the network answers on {name} items: change a copy")


def finds_an_obvious_leak(bench: Bench) -> None:
    """Where the network clearly prefers the labels of forgotten items, these get the higher scores."""
    found = statistics.auc(*bench.sides).value
    require(
        found >= STRONG,
        f"where every member gives itself away its AUC is {found:.2f}: scores must be higher for members (is the sign "
        "right?), and it must learn from the audit",
    )


def finds_nothing_where_nothing_is(bench: Bench) -> None:
    """Where half of both sides were trained on, its AUC is that of guessing, but for chance."""
    sides = bench.score(audit(leaking=False)) if bench.sides else bench.good
    forgotten, heldout = sides.forgotten, sides.heldout
    chance = SIGMAS * math.sqrt((len(forgotten) + len(heldout) + 1) / (12 * len(forgotten) * len(heldout)))
    found = statistics.auc(forgotten, heldout).value
    require(
        abs(found - 0.5) <= chance,
        f"where forgotten and held-out items do not differ its AUC is {found:.2f}: it must treat both sides alike",
    )


def copes_with_networks_without_doubts(bench: Bench) -> None:
    """Logits in the thousands, of which the softmax rounds to 0 and 1, give finite scores, too."""
    scores = bench.score(audit(scale=SURE)) if bench.sides else bench.good
    finite = all(np.isfinite(side).all() for side in (scores.forgotten, scores.heldout))
    require(finite, "for very sure networks some scores are not finite: use audit's log_odds() or log_posteriors()")


def copes_with_few_items(bench: Bench) -> None:
    """Two items a side give a result, or an error that says why not: NotApplicableError, UserError or ValueError."""
    few = audit(items=2) if bench.good else audit()
    try:
        bench.score(few)
    except (NotApplicableError, UserError, ValueError) as error:
        require(bool(str(error)), "for two items a side it raises an error without a message")
    except Exception as error:  # whatever a plugin raises
        require(
            False,
            f"for two items a side it raises {type(error).__name__}: {error}; raise NotApplicableError with a reason",
        )


def gives_facts_that_records_can_keep(bench: Bench) -> None:
    """Its facts are whole numbers by name."""
    facts = bench.good.facts
    right = all(isinstance(name, str) and type(value) is int for name, value in facts.items())
    require(right, f"facts must be whole numbers by name, not {dict(facts)}")
    canonical(dict(facts))


def names_libraries_that_are_installed(bench: Bench) -> None:
    """The distributions that it names as doing its work are there."""
    try:
        for library in bench.plugin.libraries(**bench.plugin.defaults):
            version(library)
    except Exception as error:  # whatever somebody's function raises
        require(False, f"libraries= raises {type(error).__name__}: {error}; name distributions as pip does")


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    names_libraries_that_are_installed,
    runs_with_its_defaults,
    scores_every_item,
    gives_finite_scores,
    is_reproducible,
    does_not_write_on_the_audit,
    finds_an_obvious_leak,
    finds_nothing_where_nothing_is,
    copes_with_networks_without_doubts,
    copes_with_few_items,
    gives_facts_that_records_can_keep,
    requirements.restores_global_settings,
)
