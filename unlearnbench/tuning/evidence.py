"""Whether the hyperparameters that a preset says were tuned follow from the logs that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unlearnbench.errors import UserError
from unlearnbench.planning.tuned import Choice
from unlearnbench.storage.keys import canonical, sha_of
from unlearnbench.tuning import rule, trials


def faults_of_choice(choice: Choice, results: Path) -> Iterator[str]:
    """Yields what is wrong with a choice: its log is missing, was changed, or gives another choice.

    Args:
        choice: What tuning chose.
        results: The folder of results, which logs are named relative to.
    """
    log = results / choice.log
    try:
        content = log.read_bytes()
    except OSError as error:
        yield f"the tuning log cannot be read: {error.strerror}"
        return
    if sha_of(content) != choice.sha256:
        yield f"the tuning log has the SHA-256 {sha_of(content)[:12]}..., but the preset names {choice.sha256[:12]}..."
    try:
        rows = rule.scored(trials.read(log))
        best = rule.ranked(rows)[0]
        gain = rule.gain(rows, best)
    except (UserError, LookupError, ValueError, StopIteration) as error:
        yield f"the tuning log gives no choice: {error}"
        return
    if canonical(dict(best.point)) != canonical(dict(choice.values)):
        yield f"the tuning log gives {dict(best.point)}, but the preset has {dict(choice.values)}"
    elif gain != choice.gain:
        yield f"the tuning log gives a gain of {gain}, but the preset has {choice.gain}"
