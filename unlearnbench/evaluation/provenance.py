"""What a published record says about where it comes from, and what it must not say: paths and names of machines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

FIELDS = ("command", "commit", "date", "processor", "python", "seconds", "sha256", "torch", "unlearnbench")
"""The entries of `observed` that every record must have."""
COMMIT = re.compile(r"[0-9a-f]{40}(-dirty)?")
PATHS = re.compile(r"(?<![\w.:/~])(?:~?(?:/[\w.@+~-]+){2,}|~/[\w.@+-]+|[A-Za-z]:\\\w+)")
"""An absolute path, also of the home folder; neither a URL nor a relative path."""
ENCODED = "more features map points"
"""Where a record has base64, which may look like a path."""


def faults_of_provenance(observed: Mapping[str, Any], command: str) -> Iterator[str]:
    """Yields what is wrong with the part `observed` of a record.

    Args:
        observed: That part.
        command: The command that reproduces the cell.
    """
    missing = [name for name in FIELDS if observed.get(name) in (None, "")]  # no seconds at all where a method is n/a
    if missing:
        yield f"observed lacks {', '.join(missing)}"
    if observed.get("commit") and not COMMIT.fullmatch(str(observed["commit"])):
        yield f"commit is {observed['commit']}, which is no commit"
    if observed.get("date") and not is_date(observed["date"]):
        yield f"date is {observed['date']}, not a time with its zone in ISO 8601"
    if observed.get("command") and observed["command"] != command:
        yield "its command is not the one that reproduces the cell"
    seconds = observed.get("seconds") or {}
    if not all(type(value) in (int, float) and value >= 0 for value in seconds.values()):
        yield f"seconds are {seconds}"


def is_date(text: Any) -> bool:
    """Whether a text is a time in ISO 8601 with its time zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False


def private(value: Any, name: str = "") -> Iterator[str]:
    """Yields what tells too much about a machine, in a tree of JSON values: host names and absolute paths."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key == "host":
                yield f"{name} {key} names a machine: {entry}".strip()
            yield from private(entry, f"{name} {key}".strip())
    elif isinstance(value, list):
        for entry in value:
            yield from private(entry, name)
    elif name != ENCODED and isinstance(value, str) and (found := PATHS.search(value)):
        yield f"{name} has an absolute path: {found[0]}"
