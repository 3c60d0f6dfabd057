"""Trials, and the log of them: a CSV file that a later run continues, and a page of markdown for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearnbench.errors import UserError
from unlearnbench.storage.files import write_atomically
from unlearnbench.tuning.spaces import Point

RETRAIN, ORIGINAL = "Retrain", "Original"
DIVERGED = "FloatingPointError"
"""What the reason says if numbers were not finite."""
FIXED = ("split", "network", "hyperparameters", "reason", "key")
"""The columns of a log beside the measures."""


@dataclass(frozen=True)
class Trial:
    """A network that was evaluated on a tuning split.

    Attributes:
        split: Number of the tuning split.
        network: "Retrain", "Original", or the number of the point, from 1.
        point: Its hyperparameters in the space; empty for Retrain and the original.
        key: Digest of the key of its outputs; a trial with another key is out of date.
        measures: In percent: accuracies, and the AUC of a loss attack; empty if it failed.
        reason: Why it failed; "" if it did not.
    """

    split: int
    network: str
    key: str
    point: Point = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def holds_for(self, key: str, point: Point) -> bool:
        """Whether the trial of these outputs and hyperparameters need not be computed again.

        A network that diverged would diverge again; other failures, such as too little memory, are those of a machine.
        """
        return (self.key, dict(self.point)) == (key, dict(point)) and bool(self.measures or DIVERGED in self.reason)

    @property
    def name(self) -> str:
        """Its name in progress lines and pages, e.g. "point 3 (lr 0.01)"."""
        values = ", ".join(f"{key} {value}" for key, value in self.point.items())
        return f"point {self.network} ({values})" if self.point else self.network

    def distance(self, retrain: Trial) -> float:
        """Mean absolute difference to the measures of Retrain, in percentage points; inf if one of them failed."""
        if not self.measures or not retrain.measures:
            return float("inf")
        return sum(abs(self.measures[name] - value) for name, value in retrain.measures.items()) / len(retrain.measures)


def read(path: Path) -> list[Trial]:
    """The trials of a log; none if there is no such file.

    Raises:
        UserError: If it is not as `write` wrote it.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return [
            Trial(
                split=int(row["split"]),
                network=row["network"],
                key=row["key"],
                point=json.loads(row["hyperparameters"]),
                measures={name: float(value) for name, value in row.items() if name not in FIXED and value},
                reason=row["reason"],
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the log {path} is damaged ({error}): restore it, or delete it to begin anew") from error


def write(path: Path, trials: Sequence[Trial]) -> bytes:
    """Writes a log, sorted by split and network; returns its bytes."""
    measures = list(dict.fromkeys(name for trial in trials for name in trial.measures))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*FIXED[:3], *measures, *FIXED[3:]], lineterminator="\n")
    writer.writeheader()
    for trial in sorted(trials, key=order):
        writer.writerow(
            {
                "split": trial.split,
                "network": trial.network,
                "hyperparameters": json.dumps(dict(trial.point)),
                **{name: f"{value:.4f}" for name, value in trial.measures.items()},
                "reason": trial.reason,
                "key": trial.key,
            }
        )
    content = text.getvalue().encode()
    write_atomically(path, content)
    return content


def order(trial: Trial) -> tuple[int, int]:
    """Splits in order; Retrain first, then the original, then the points."""
    return trial.split, [RETRAIN, ORIGINAL].index(trial.network) - 2 if not trial.point else int(trial.network)
