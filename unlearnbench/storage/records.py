"""Record files: JSON with a checksum."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.keys import sha_of
from unlearnbench.storage.store import DamagedError

SCHEMA = 2
"""The version of the record format. Newer ones are refused, so a change of meaning must raise it."""


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads the record of a cell; None if there is none, or, with a warning, if it is damaged.

    Raises:
        UserError: If the record was written by a newer version, or the folder cannot be read.
    """
    try:
        return read_checked(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        warnings.warn(f"the record {path} is damaged and is not used: {error}", stacklevel=2)
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the folder's permissions") from error


def read_checked(path: Path) -> dict[str, Any]:
    """Reads a record and checks its form and checksum.

    Raises:
        DamagedError: If the file was changed after it was written.
        UserError: If it was written by a newer version.
    """
    content = path.read_bytes()
    try:
        record = json.loads(content)
    except ValueError as error:
        raise DamagedError("it is not valid JSON") from error
    checksum = checksum_of(record)
    if checksum and checksum != sha_of(content.replace(str(checksum).encode(), PLACEHOLDER.encode())):
        raise DamagedError("its checksum is wrong")
    if isinstance(record, dict) and type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer unlearnbench: run pip install -U unlearnbench")
    fields = {"schema": int, "status": str, "key": dict, "cell": dict, "observed": dict}
    if not isinstance(record, dict) or not all(isinstance(record.get(name), kind) for name, kind in fields.items()):
        raise DamagedError("it lacks a field")
    if record["schema"] > 1 and not checksum:
        raise DamagedError("it has no checksum")
    return record


def record_problem(path: Path) -> str:
    """Why a record cannot be used; "" if it can."""
    try:
        read_checked(path)
    except (DamagedError, UserError, OSError) as error:
        return str(error)
    return ""


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a cell, with a checksum; a damaged record at this path is renamed first."""
    if path.exists() and record_problem(path):
        path.replace(path.with_suffix(".damaged"))
    unsigned = {**record, "observed": {**record["observed"], "sha256": PLACEHOLDER}}
    content = (json.dumps(unsigned, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    write_atomically(path, content.replace(PLACEHOLDER.encode(), sha_of(content).encode()))


PLACEHOLDER = "0" * 64
"""Stands for the checksum of a record in the bytes that the checksum is computed from."""


def checksum_of(record: object) -> object:
    """The checksum in a record; None if there is none."""
    observed = record.get("observed") if isinstance(record, dict) else None
    return observed.get("sha256") if isinstance(observed, dict) else None
