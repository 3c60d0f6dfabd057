"""Merges results folders of several machines into one, and the artefacts of their records into one cache."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.operations.prune import KINDS, is_needed, keys_for_attacks, needed_digests
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.keys import canonical, differences
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import DamagedError, Store, read_checked

REASON = 100
"""The most characters of a difference in a message: ROC curves are long."""


@dataclass(frozen=True)
class Merged:
    """The result of `merge`.

    Attributes:
        new: Number of records that were added.
        same: Number of records that existed already, with the same numbers.
        better: Number of failures that were replaced by results.
        more: Number of records that got further measures, made by `measure` on another machine.
        artefacts: Number of artefacts that were copied.
        incomplete: Number of merged records with results whose outputs, or those of their shadow models, are not in
            the cache.
    """

    new: int
    same: int
    better: int
    more: int
    artefacts: int
    incomplete: int


def merge(
    sources: Sequence[str | Path],
    results: str | Path = "results",
    *,
    caches: Sequence[str | Path] = (),
    cache: str | Path | None = None,
) -> Merged:
    """Merges the records of several results folders into one, after checking all of them.

    Args:
        sources: The folders to read, as given to `--results` of runs.
        results: The folder to write to.
        caches: The folders of artefacts of these runs; what the records need is copied.
        cache: The folder of artefacts to write to; None: $UNLEARNBENCH_CACHE or the user's cache folder.

    Raises:
        UserError: If a folder has no records or no artefacts, a record is damaged, or two records of one cell
            contradict each other; the message names all of them, and nothing is written.
    """
    target, store = folders.expanded(results), Store(folders.cache(cache))
    places = [folders.expanded(folder) for folder in caches]
    for place in places:
        if not any((place / kind).is_dir() for kind in KINDS):
            raise UserError(f"there are no artefacts in {place}: give the --cache folder of a run")
    read: set[Path] = set()
    chosen: dict[Path, dict[str, Any]] = {}
    conflicts: list[str] = []
    same = better = more = 0
    origins = [folders.expanded(source) for source in sources]
    for source in origins:
        paths = sorted(source.glob("*/records/*/*/*/*/*.json"))
        if not paths:
            raise UserError(
                f"there are no records in {source}: give the --results folder of a run, which holds a folder per preset"
            )
        for path in paths:
            relative = path.relative_to(source)
            read.add(relative)
            record = read_record(path)
            known = chosen.get(relative) or read_record(target / relative)
            if record is None:
                conflicts.append(f"{path} is damaged")
            elif known is None:
                chosen[relative] = record
            elif why := conflict(known, record):
                conflicts.append(f"{path} contradicts another record of the cell: {why}")
            elif known["status"] != CellStatus.OK and record["status"] == CellStatus.OK:
                chosen[relative], better = record, better + 1
            elif record.get("more", {}).keys() - known.get("more", {}).keys():
                chosen[relative] = {**known, "more": {**record["more"], **known.get("more", {})}}
                more += 1
            else:
                same += 1
    if conflicts:
        raise UserError("nothing was merged:\n" + "\n".join(conflicts))
    for relative, record in chosen.items():
        write_record(target / relative, record)
    copied = sum(copy_artefacts(places, store, source) for source in origins) if places else 0
    incomplete = sum(lacks_outputs(target / relative, store) for relative in read)
    return Merged(len(chosen) - better - more, same, better, more, copied, incomplete)


def copy_artefacts(caches: Sequence[Path], store: Store, results: Path) -> int:
    """Copies the artefacts that the records of a folder need and the store lacks; skips damaged ones with a warning.

    Returns:
        How many were copied.
    """
    digests, originals = needed_digests(results)
    copied = 0
    for path in (path for cache in caches for kind in KINDS for path in sorted((cache / kind).glob("*.safetensors"))):
        copy = store.root / path.parent.name / path.name
        needed = path.stem in digests or is_needed(path, digests, originals)  # a damaged file is needed by its name
        if path.parent.name == "damaged" or copy.exists() or not needed:
            continue
        try:
            _, facts = read_checked(path)
        except DamagedError as error:
            warnings.warn(f"the artefact {path} is damaged and was not copied: {error}", stacklevel=2)
            continue
        if store.path(facts["key"]) == copy:
            write_atomically(copy, path.read_bytes(), durable=False)
            copied += 1
    return copied


def lacks_outputs(path: Path, store: Store) -> bool:
    """True if a record has results, but the store lacks outputs that attacks on it need."""
    record = read_record(path)
    return record is not None and not all(store.has(key) for key in keys_for_attacks(record))


def conflict(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How two records of one cell contradict each other, apart from `observed`; "" if they do not."""
    reasons = differences(one["key"], other["key"])
    if reasons:
        return f"their keys differ in {'; '.join(reasons[:3])}"
    if one["status"] == other["status"] == CellStatus.OK:
        if canonical(one["metrics"]) != canonical(other["metrics"]):
            return "the same cell has other numbers, so the two machines compute differently"
        for name in ("cell", "outputs", "roc"):
            if name in one and name in other and (reasons := differences(one[name], other[name])):  # old ones lack some
                return f"they differ in {name}: {'; '.join(shorten(reason, REASON) for reason in reasons[:3])}"
    for name in one.get("more", {}).keys() & other.get("more", {}).keys():
        numbers = [{part: record["more"][name][part] for part in ("key", "of", "found")} for record in (one, other)]
        if canonical(numbers[0]) != canonical(numbers[1]):  # old records have no ROC curves
            return f"{name} was measured differently: run `unlearnbench measure` again on one of the machines"
    return ""
