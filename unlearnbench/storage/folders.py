"""Where things are kept on a user's machine."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from unlearnbench.errors import UserError


def cache(given: str | Path | None = None) -> Path:
    """Where artefacts are kept: as given, or $UNLEARNBENCH_CACHE, or the user's cache folder."""
    if given or (given := os.environ.get("UNLEARNBENCH_CACHE")):
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("unlearnbench")


def data(given: str | Path | None = None) -> Path:
    """Where the files of data sets are: as given, or $UNLEARNBENCH_DATA, or the user's data folder."""
    if given or (given := os.environ.get("UNLEARNBENCH_DATA")):
        return Path(given)
    from platformdirs import user_data_path

    return user_data_path("unlearnbench")


def check_writable(folder: Path) -> None:
    """Raises `UserError` now rather than after an hour, if nothing could be written to a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error


@lru_cache(maxsize=10_000)
def folder_name(name: str) -> str:
    """A name as that of a file or folder, which does not lead anywhere else: neither slashes, nor dots only."""
    return quote(name, safe="+=,") if name.strip(".") else "%2E" * len(name)
