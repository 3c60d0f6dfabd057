"""Shows the use of the cache by kind of artefact, and deletes artefacts that no record needs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.reporting.frame import records
from unlearnbench.storage import folders
from unlearnbench.storage.keys import digest
from unlearnbench.storage.store import DamagedError, read_facts

KINDS = (
    "dataset",
    "original",
    "shadow",
    "prepared",
    "network",
    "outputs",
    "relearning",
    "features",
    "given",
    "damaged",
)
"""The folders of the cache; other files there do not belong to the suite."""
MINIMUM_AGE = 3600.0
"""Seconds; younger files are not deleted, because they may belong to a run in progress."""


@dataclass(frozen=True)
class Usage:
    """The files of one kind in the cache.

    Attributes:
        kind: Such as "original"; or "damaged"; or "left over", the temporary files of killed runs.
        files: Number of files.
        size: Their size in bytes.
        unneeded: The files that no record needs.
        freed: The size of these in bytes.
    """

    kind: str
    files: int
    size: int
    unneeded: list[Path]
    freed: int


def cache_usage(results: str | Path | Sequence[str | Path] = "results", cache: str | Path | None = None) -> list[Usage]:
    """The use of the cache, by kind of artefact.

    Args:
        results: One or several results folders; artefacts that their records do not need count as unneeded.
        cache: The folder of artefacts.

    Raises:
        UserError: If a results folder has no records, or a damaged one; too many artefacts would seem unneeded.
    """
    root = folders.cache(cache)
    digests: set[str] = set()
    originals: set[str] = set()
    for folder in [results] if isinstance(results, str | Path) else results:
        folder_digests, folder_originals = needed_digests(folders.expanded(folder))
        digests |= folder_digests
        originals |= folder_originals
    files: dict[str, list[tuple[Path, bool]]] = {}
    for path in sorted(path for kind in KINDS for path in (root / kind).glob("*") if path.is_file()):
        if path.parent.name == "damaged":
            files.setdefault("damaged", []).append((path, False))
        elif path.name.startswith(".") and ".safetensors." in path.name:  # see `files.write_and_rename`
            files.setdefault("left over", []).append((path, False))
        elif path.suffix == ".safetensors":
            files.setdefault(path.parent.name, []).append((path, is_needed(path, digests, originals)))
    return [usage_of(kind, paths) for kind, paths in files.items()]


def usage_of(kind: str, paths: list[tuple[Path, bool]]) -> Usage:
    """The usage of a kind, from its paths and whether each is needed."""
    total, unneeded = 0, []
    for path, needed in paths:
        with suppress(FileNotFoundError):  # a run in progress may rename or delete files
            stat = path.stat()
            total += stat.st_size
            if not needed and time.time() - stat.st_mtime > MINIMUM_AGE:
                unneeded.append((path, stat.st_size))
    return Usage(kind, len(paths), total, [path for path, _ in unneeded], sum(size for _, size in unneeded))


def needed_digests(results: Path) -> tuple[set[str], set[str]]:
    """The digests of all artefacts that records were made from, and of the originals among them."""
    digests: set[str] = set()
    originals: set[str] = set()
    readable = list(records(results))
    paths = list(results.glob("*/records/*/*/*/*/*.json"))
    if not readable or len(readable) < len(paths):
        problem = "a record is damaged" if paths else "there are no records"
        raise UserError(
            f"{problem} in {results}, so it is unknown what is needed: give the --results folders of your runs"
        )
    for record in readable:
        needed = keys_for_attacks(record)
        if not needed:
            continue
        outputs = needed[0]
        digests |= {digest(key) for key in (*keys_in(outputs), *needed[1:])}
        for entry in record.get("more", {}).values():
            digests |= set(strings_in(entry.get("of")))
        originals.add(digest(outputs["original"]))
    return digests, originals


def keys_for_attacks(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys of a record's outputs and of its shadow models, in this order; none if the record has no outputs."""
    outputs, shadows = record["key"].get("outputs"), record["key"].get("shadows")
    if not outputs or not shadows:
        return []
    return [outputs, *({**shadows["like"], "index": index} for index in range(shadows["count"]))]


def keys_in(key: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys of an artefact, its original and the artefacts that it starts from."""
    yield key
    for role in ("original", "parent"):
        if key.get(role):
            yield from keys_in(key[role])


def strings_in(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_in(part)


def is_needed(path: Path, digests: set[str], originals: set[str]) -> bool:
    """True if a record was made from an artefact, or if the artefact may be needed again, such as a preparation."""
    try:
        key = read_facts(path)["key"]
    except DamagedError:
        return False
    if key.get("kind") == "prepared":
        return digest(key["original"]) in originals
    if key.get("kind") in ("dataset", "given"):  # decoded data, and weights given to `score`
        return True
    return path.stem in digests


def prune(usages: list[Usage]) -> int:
    """Deletes unneeded files; returns their size in bytes."""
    for usage in usages:
        for path in usage.unneeded:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
    return sum(usage.freed for usage in usages)
