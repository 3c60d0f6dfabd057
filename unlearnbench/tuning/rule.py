"""The rule: the point that is closest to Retrain, averaged over splits, of those that do no damage in any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearnbench.reporting.notes import DAMAGED
from unlearnbench.tuning.spaces import Point
from unlearnbench.tuning.trials import ORIGINAL, RETRAIN, Trial

UTILITY = ("test_r", "test")
"""The measures of damage; the first that a task has is taken."""


@dataclass(frozen=True)
class Scored:
    """A point in all splits.

    Attributes:
        network: The number of the point, or "Original".
        point: Its hyperparameters.
        distances: In each split, in percentage points.
        damaged: The splits in which it failed, or lost more than `DAMAGED` points of test accuracy.
    """

    network: str
    point: Point
    distances: Sequence[float]
    damaged: Sequence[int]

    @property
    def mean(self) -> float:
        """The mean distance over splits, to a hundredth of a point, so that rounding decides no choice."""
        return round(math.fsum(self.distances) / len(self.distances), 2)


def scored(trials: Sequence[Trial]) -> list[Scored]:
    """The original, and every point that was tried in all splits, in order."""
    splits = sorted({trial.split for trial in trials})
    by_place = {(trial.network, trial.split): trial for trial in trials}
    networks = dict.fromkeys(trial.network for trial in trials if trial.network != RETRAIN)
    rows = []
    for network in networks:
        own = [by_place[network, split] for split in splits if (network, split) in by_place]
        if len(own) == len(splits):
            retrains = [by_place[RETRAIN, split] for split in splits]
            originals = [by_place[ORIGINAL, split] for split in splits]
            damaged = [t.split for t, r, o in zip(own, retrains, originals, strict=True) if is_damaged(t, r, o)]
            distances = [t.distance(r) for t, r in zip(own, retrains, strict=True)]
            rows.append(Scored(network, own[0].point, distances, damaged))
    return rows


def is_damaged(trial: Trial, retrain: Trial, original: Trial) -> bool:
    """Whether a trial failed, or has a test accuracy clearly below those of Retrain and of the original."""
    if not trial.measures:
        return True
    utility = next(name for name in UTILITY if name in trial.measures)
    return trial.measures[utility] < min(retrain.measures[utility], original.measures[utility]) - DAMAGED


def ranked(rows: Sequence[Scored]) -> list[Scored]:
    """The points, best first: those without damage before those with, then by distance, then in the order of trial."""
    return sorted((row for row in rows if row.network != ORIGINAL), key=lambda row: (bool(row.damaged), row.mean))


def gain(rows: Sequence[Scored], best: Scored) -> float:
    """How much closer to Retrain a point is than the original, in percentage points."""
    (original,) = (row for row in rows if row.network == ORIGINAL)
    return round(original.mean - best.mean, 2)
