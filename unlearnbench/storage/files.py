"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from unlearnbench.errors import StorageError


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Writes a file so that readers see the old content or all of the new, even if this process is killed.

    Args:
        path: The file.
        content: Its whole content.
        durable: Wait until the disk has it, so that it survives a crash of the machine. This is slow; files that have
            a checksum and can be made again do not need it.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        write_and_rename(path, content, durable)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> StorageError:
    """The error for a file that cannot be written."""
    what = f"{path.parent} is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
    return StorageError(
        f"cannot write {path}: {what}. Finished work is kept: "
        "make room or choose another folder, and run the same command again"
    )


def write_and_rename(path: Path, content: bytes, durable: bool) -> None:
    """Writes a temporary file, with fsync if durable, and renames it; removes it if that fails.

    A link stays a link: the file that it names is written. What is no file, such as a device, is written into.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Writes the names of new files in a folder to the disk, by fsync."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
