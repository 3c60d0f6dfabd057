"""Errors that a user can cause, suggestions for misspelt names, and the words of counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message says what is wrong and what to do. The command line prints it and exits with 2."""


class StorageError(UserError):
    """A file could not be written: the disk is full, or the folder is not writable."""


class ContentError(UserError):
    """A file that the user named has content that cannot be used; the message names the file."""


class EngineLostError(UserError):
    """The scheduler of a cluster is gone in the middle of a run; nothing is wrong with what the user typed."""


class AccessError(Exception):
    """A method used something that its declared `Access` does not include."""


class NotApplicableError(Exception):
    """Raised by a method that cannot serve a task, and by an attack that cannot be applied to a cell.

    The message says why. The cell, or the attack's part of it, is n/a, which is a result and not a failure.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name, with the most similar known name or all of them.

    Args:
        what: The kind of thing that was named, e.g. "method".
        name: The name as given.
        known: The valid names.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"available: {', '.join(names) or 'none'}"
    return UserError(f"unknown {what} {name!r}: {hint}")


def counted(number: int, noun: str) -> str:
    """A number and a noun, in the plural unless the number is 1."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"
