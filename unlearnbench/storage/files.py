"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.errors import StorageError

if TYPE_CHECKING:
    pass


def write_atomically(path: Path, content: bytes, lasting: bool = True) -> None:
    """Writes a file so that a reader finds all of it or the old one, whenever this process is killed.

    Args:
        path: The file.
        content: All of it.
        lasting: Whether all of the new one must be there even if the machine stops right afterwards. To wait for the
            disk takes longer than all else here; what has a checksum and can be made again need not wait.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        replace_whole(path, content, lasting)
        if lasting:
            keep_name(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """What to say when a file cannot be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror}. What is finished is kept: "
        "make room, or choose another folder, and run the same command again"
    )


def replace_whole(path: Path, content: bytes, lasting: bool) -> None:
    """A temporary file, fsync if it must last, rename; nothing is left behind if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def keep_name(path: Path) -> None:
    """Has the disk keep the name of a new file, by fsync of its folder."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
