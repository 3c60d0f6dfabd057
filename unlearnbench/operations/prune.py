"""What the cache holds, and what of it no record needs any more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.reporting.frame import records
from unlearnbench.storage import folders
from unlearnbench.storage.keys import digest
from unlearnbench.storage.store import DamagedError, facts_of

KINDS = ("dataset", "original", "shadow", "prepared", "network", "outputs", "relearning", "given", "damaged")
"""The folders of the cache; whatever else lies there is not the suite's."""
YOUNG = 3600.0
"""Seconds; what is younger may belong to a run that is going on, and is left alone."""


@dataclass(frozen=True)
class Holding:
    """Some files of the cache.

    Attributes:
        kind: Such as "original", or "damaged", or "left over" by runs that were killed.
        files: How many there are.
        size: Their bytes.
        unneeded: Those that no record needs.
        freed: Their bytes.
    """

    kind: str
    files: int
    size: int
    unneeded: list[Path]
    freed: int


def holdings(results: str | Path | Sequence[str | Path] = "results", cache: str | Path | None = None) -> list[Holding]:
    """What the cache holds, by kind.

    Args:
        results: The folder, or folders, of the records, of all presets, that say what is needed.
        cache: Folder of artefacts.

    Raises:
        UserError: If a results folder has no records, or a damaged one: then too little would seem to be needed.
    """
    root = folders.cache(cache)
    wanted: set[str] = set()
    originals: set[str] = set()
    for folder in [results] if isinstance(results, str | Path) else results:
        more_wanted, more_originals = needed(Path(folder))
        wanted |= more_wanted
        originals |= more_originals
    found: dict[str, list[tuple[Path, bool]]] = {}
    for path in sorted(path for kind in KINDS for path in (root / kind).glob("*") if path.is_file()):
        if path.parent.name == "damaged":
            found.setdefault("damaged", []).append((path, False))
        elif path.name.startswith(".") and ".safetensors." in path.name:  # see `store.replace_whole`
            found.setdefault("left over", []).append((path, False))
        elif path.suffix == ".safetensors":
            found.setdefault(path.parent.name, []).append((path, is_needed(path, wanted, originals)))
    return [holding(kind, paths) for kind, paths in found.items()]


def holding(kind: str, paths: list[tuple[Path, bool]]) -> Holding:
    """Adds up the files of a kind."""
    sizes, old = 0, []
    for path, keep in paths:
        with suppress(FileNotFoundError):  # of a run that goes on
            stat = path.stat()
            sizes += stat.st_size
            if not keep and time.time() - stat.st_mtime > YOUNG:
                old.append((path, stat.st_size))
    return Holding(kind, len(paths), sizes, [path for path, _ in old], sum(size for _, size in old))


def needed(results: Path) -> tuple[set[str], set[str]]:
    """What records were made of: the names of all artefacts, and of the originals among them."""
    wanted: set[str] = set()
    originals: set[str] = set()
    found = list(records(results))
    paths = list(results.glob("*/records/*/*/*/*/*.json"))
    if not found or len(found) < len(paths):
        what = "a record is damaged" if paths else "there are no records"
        raise UserError(
            f"{what} in {results}, so nobody knows what is needed: name the folder of --results of your runs"
        )
    for record in found:
        outputs, shadows = record["key"].get("outputs"), record["key"].get("shadows")
        if not outputs or not shadows:
            continue
        wanted |= {digest(key) for key in chain(outputs)}
        wanted |= {digest({**shadows["like"], "index": index}) for index in range(shadows["count"])}
        for entry in record.get("more", {}).values():
            wanted |= set(names_in(entry.get("of")))
        originals.add(digest(outputs["original"]))
    return wanted, originals


def chain(key: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys of an artefact and of those that it was made of."""
    yield key
    for role in ("original", "parent"):
        if key.get(role):
            yield from chain(key[role])


def names_in(value: Any) -> Iterator[str]:
    """All words in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from names_in(part)


def is_needed(path: Path, wanted: set[str], originals: set[str]) -> bool:
    """Whether a record was made of an artefact, or would be again: preparations and decoded data are such."""
    try:
        key = facts_of(path)["key"]
    except DamagedError:
        return False
    if key.get("kind") == "prepared":
        return digest(key["original"]) in originals
    if key.get("kind") in ("dataset", "given"):  # decoded data, and networks that were made elsewhere
        return True
    return path.stem in wanted


def prune(found: list[Holding]) -> int:
    """Deletes what no record needs; returns the bytes that are free now."""
    for entry in found:
        for path in entry.unneeded:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
    return sum(entry.freed for entry in found)
