"""The errors that a user can cause, and the hint that goes with a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message says what is wrong and what to do. The command line shows it and exits with 2."""


class StorageError(UserError):
    """A file could not be written: the disk is full, or the folder is not writable."""


class AccessError(Exception):
    """A method reached for something that its declared `Access` does not include."""


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """Builds the error for a name that is not there.

    Args:
        what: The kind of thing asked for, e.g. "method".
        name: What was asked for.
        known: The names that would have been right.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(names) or 'none'}"
    return UserError(f"unknown {what} {name!r}: {hint}")
