"""Notes about records without numbers, and about stale records whose numbers are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from unlearnbench.errors import counted
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.reporting.record import STALE, Record

MOST = 3
"""The number of causes that a message names."""


def stale_message(records: Sequence[Record], what: str = "") -> str:
    """A message if no record has numbers to show because stale ones are left out; otherwise "".

    Args:
        records: All records of some tables; a record that several of them have counts once.
        what: What they are about, e.g. " of data-removal".
    """
    records = list({(r.cell.dataset, r.cell.task, r.cell.method, r.cell.seed): r for r in records}.values())
    stale = [record for record in records if record.state == STALE]
    if not stale or any(record.ok for record in records):
        return ""
    number = f"{counted(len(records), 'record')}{what}"
    if len(stale) == len(records):
        number += ", stale" if len(records) == 1 else ", all stale"
    else:
        number += f", {len(records) - len(stale)} without a result and the others stale"
    return f"{number} because of changes in {causes(stale)}: run again; --accept-stale shows them"


def causes(records: Iterable[Record]) -> str:
    """What has changed since records were made, the most frequent first."""
    counts = Counter(cause for record in records for cause in record.changed.split(", ") if cause)
    names = [name for name, _ in counts.most_common()]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def notes(records: Sequence[Record]) -> Iterator[str]:
    """Which records are shown although they are stale, were not checked, or have no numbers to show, and why."""
    shown = [record for record in records if record.accepted]
    changes = sorted({record.accepted for record in shown})
    for changed in changes if len(changes) <= MOST else ():
        titles = titles_of(record for record in shown if record.accepted == changed)
        yield f"Stale, shown because of --accept-stale: {titles}. Changed since: {changed}."
    if len(changes) > MOST:
        yield f"Stale, shown because of --accept-stale: {titles_of(shown)}. Changed since: {causes(shown)}."
    for gone in sorted({record.gone for record in records} - {""}):
        titles = titles_of(record for record in records if record.gone == gone)
        yield f"Not checked for changes, because {gone} no longer exists: {titles}."
    yield from missing(records)


def missing(records: Sequence[Record]) -> Iterator[str]:
    """Which records have no numbers to show, and why: one note if all are stale; and which methods are n/a."""
    if message := stale_message(records):
        yield f"Missing: {message}."
    reasons: dict[tuple[str, str, str], list[int]] = {}
    for record in records:
        if not record.ok and not (message and record.state == STALE):
            cell = f"{record.cell.method_title} on {record.cell.dataset_title}"
            reasons.setdefault((cell, record.state, record.why), []).append(record.cell.seed)
    for (cell, state, why), seeds in reasons.items():
        is_result = state == CellStatus.NOT_APPLICABLE
        yield f"n/a: {cell}: {why}" if is_result else f"Missing: {cell}, {seeds_text(seeds)}: {state}, {why}"


def left_out(records: Sequence[Record]) -> Iterator[str]:
    """How many records of several tables have no numbers to show, and why; and how many stale ones are shown."""
    shown = [record for record in records if record.accepted]
    if shown:
        yield (
            f"Stale, shown because of --accept-stale: {len(shown)} of {counted(len(records), 'record')}. "
            f"Changed since: {causes(shown)}."
        )
    stale = [record for record in records if record.state == STALE]
    changed, others = [r for r in stale if r.changed], [r for r in stale if not r.changed]
    if changed:
        yield (
            f"Left out: {len(changed)} of {counted(len(records), 'record')}, stale because of changes in "
            f"{causes(changed)}: {titles_of(changed)}. Run again; --accept-stale shows them."
        )
    if others:
        yield f"Left out: {len(others)} of {counted(len(records), 'record')}, {others[0].stale}: {titles_of(others)}."
    useless: dict[str, dict[str, None]] = {}
    for record in records:
        if record.not_applicable:
            useless.setdefault(record.cell.method_title, {})[record.cell.task] = None
    for title, tasks in useless.items():
        yield f"n/a: {title} on {', '.join(tasks)}, which it cannot serve."
    failed = [record for record in records if not record.ok and record.state not in (STALE, CellStatus.NOT_APPLICABLE)]
    if failed:
        yield f"Left out: {len(failed)} of {counted(len(records), 'record')} without a result: {titles_of(failed)}."


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds in words: "seed 0", or "seeds 0-2, 5"."""
    return f"seed{'s' if len(set(seeds)) > 1 else ''} {', '.join(runs_of(seeds))}"


def runs_of(seeds: Iterable[int]) -> list[str]:
    """Seeds as `--seeds` takes them, between commas: runs such as "0-2", and single ones."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and runs[-1][-1] == seed - 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def titles_of(records: Iterable[Record]) -> str:
    """The titles of the methods of records, each once."""
    return ", ".join(dict.fromkeys(record.cell.method_title for record in records))
