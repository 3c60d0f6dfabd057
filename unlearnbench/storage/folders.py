"""The paths that people give, the folders of artefacts and data sets, and names of folders."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from unlearnbench.errors import UserError


def expanded(given: str | Path) -> Path:
    """A path as a person gave it, with the home folder in place of a leading `~` or `~NAME`.

    Raises:
        UserError: If there is no such home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(f"{given}: there is no such home folder") from error


def cache(given: str | Path | None = None) -> Path:
    """The folder of artefacts: as given, or $UNLEARNBENCH_CACHE, or the user's cache folder."""
    if given or (given := os.environ.get("UNLEARNBENCH_CACHE")):
        return expanded(given)
    from platformdirs import user_cache_path

    return user_cache_path("unlearnbench")


def data(given: str | Path | None = None) -> Path:
    """The folder of data sets: as given, or $UNLEARNBENCH_DATA, or the user's data folder."""
    if given or (given := os.environ.get("UNLEARNBENCH_DATA")):
        return expanded(given)
    from platformdirs import user_data_path

    return user_data_path("unlearnbench")


def check_writable(folder: Path) -> None:
    """Creates a folder if needed; raises `UserError` if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error


@lru_cache(maxsize=10_000)
def folder_name(name: str) -> str:
    """A name as a safe file name: without slashes, and not only dots."""
    return quote(name, safe="+=,") if name.strip(".") else "%2E" * len(name)
