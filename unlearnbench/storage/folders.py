"""The paths that people give, the folders of artefacts and data sets, and names of folders."""

from __future__ import annotations

import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from unlearnbench.errors import UserError

URL = re.compile(r"[A-Za-z][\w+.-]*://")
"""The beginning of a URL."""


def expanded(given: str | Path) -> Path:
    """A path as a person gave it, with the home folder in place of a leading `~` or `~NAME`.

    Raises:
        UserError: If there is no such home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(f"{given}: there is no such home folder") from error


def url(given: str | Path | None = None) -> str | None:
    """The cache that is behind a URL: as given, or $UNLEARNBENCH_CACHE; None if that is a folder, or nothing."""
    text = str(given or os.environ.get("UNLEARNBENCH_CACHE") or "")
    return text.rstrip("/") if URL.match(text) else None


def cache(given: str | Path | None = None) -> Path:
    """The folder of artefacts on this machine: as given, or $UNLEARNBENCH_CACHE, or the user's cache folder.

    URLs are passed over: what is behind them has a copy in the next of these folders.
    """
    for text in (given, os.environ.get("UNLEARNBENCH_CACHE")):
        if text and not URL.match(str(text)):
            return expanded(text)
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
