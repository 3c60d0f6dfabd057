"""The log of a study as a page for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unlearnbench.planning.tuned import Choice
from unlearnbench.reporting.notes import DAMAGED
from unlearnbench.tuning import rule
from unlearnbench.tuning.spaces import Point, Space, at_edge
from unlearnbench.tuning.trials import ORIGINAL, RETRAIN, Trial

TITLES = {"train_r": "Train_r", "train_f": "Train_f", "test": "Held out", "auc": "AUC (loss)"}
TITLES |= {"test_r": "Held out_r", "test_f": "Held out_f"}
"""Of the measures; in a tuning split, held-out training images stand in place of the test set."""


def page_of(space: Space, trials: Sequence[Trial], choice: Choice, title: str, command: str) -> str:
    """The text of the page: every trial, the mean distance of every point, the choice, the rule, the command.

    Args:
        space: What was chosen.
        trials: All trials.
        choice: The result.
        title: Of the page.
        command: That computes it.
    """
    from tabulate import tabulate

    rows = rule.scored(trials)
    best = rule.ranked(rows)[0]
    header = ["Point", *space, *(f"Split {split}" for split in sorted({trial.split for trial in trials})), "Mean", ""]
    summary = [
        [
            row.network,
            *(value_of(row.point, name) for name in space),
            *(as_text(distance) for distance in (*row.distances, row.mean)),
            remark(row, best),
        ]
        for row in rows
    ]
    measures = list(next(trial.measures for trial in trials if trial.measures))
    details = [
        [
            trial.split,
            trial.network,
            *(f"{trial.measures[name]:.2f}" if trial.measures else "-" for name in measures),
            trial.reason,
        ]
        for trial in trials
    ]
    tables = [
        tabulate(lines, names, tablefmt="pipe", disable_numparse=True)
        for lines, names in (
            (summary, header),
            (details, ["Split", "Network", *(TITLES.get(name, name) for name in measures), ""]),
        )
    ]
    return (
        f"# {title}\n\n{tables[0]}\n\n{verdict(space, trials, choice, best)}\n\n"
        "Numbers are distances to Retrain in percentage points: the mean absolute difference over the measures below. "
        f"The rule takes the least mean over the splits; a point that fails, or loses more than {DAMAGED:.0f} points "
        "of held-out accuracy in any split, is out. Point 1 is the method's default. Splits have training images "
        f"only, a sixth of them held out; the test set is not used.\n\n{tables[1]}\n\n    {command}\n"
    )


def verdict(space: Space, trials: Sequence[Trial], choice: Choice, best: rule.Scored) -> str:
    """What was chosen, and what a reader must know about it."""
    values = ", ".join(f"{name} = {value}" for name, value in choice.values.items())
    sentences = [f"Chosen: point {best.network}, {values}."]
    if choice.gain <= 0:
        sentences.append("No point is closer to Retrain than the original: nothing is better than doing nothing.")
    else:
        sentences.append(f"It is {choice.gain:.2f} points closer to Retrain than the original.")
    if best.damaged:
        sentences.append("Every point failed or did damage in some split.")
    if edges := at_edge(space, best.point, [trial.point for trial in trials if trial.point]):
        sentences.append(f"The best value of {', '.join(edges)} is at the edge of what was tried.")
    return " ".join(sentences)


def as_text(distance: float) -> str:
    """A distance in percentage points; "-" if the network failed."""
    return f"{distance:.2f}" if math.isfinite(distance) else "-"


def value_of(point: Point, name: str) -> str:
    """A value of a point as text; "" for the original."""
    return str(point[name]) if point else ""


def remark(row: rule.Scored, best: rule.Scored) -> str:
    """What a reader must know about a point."""
    if row.network in (ORIGINAL, RETRAIN):
        return "does nothing"
    damaged = f"damage in split {', '.join(map(str, row.damaged))}" if row.damaged else ""
    return "; ".join(filter(None, ["chosen" if row is best or row == best else "", damaged]))
