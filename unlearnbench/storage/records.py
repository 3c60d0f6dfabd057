"""Record files: JSON with a checksum."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError

if TYPE_CHECKING:
    pass
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.keys import sha_of
from unlearnbench.storage.store import DamagedError

SCHEMA = 2
"""Version of the records. A newer one is refused, so a change of meaning must raise it."""


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads the record of a cell; None if there is none, or, with a warning, if it is not as it was written.

    Raises:
        UserError: If the record was written by a newer version, or the folder cannot be read.
    """
    try:
        return parsed(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        warnings.warn(f"the record {path} is damaged and is not used: {error}", stacklevel=2)
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the folder's permissions") from error


def parsed(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        DamagedError: If it is not as it was written.
        UserError: If it was written by a newer version.
    """
    content = path.read_bytes()
    try:
        record = json.loads(content)
    except ValueError as error:
        raise DamagedError("it is no JSON") from error
    signed = checksum_of(record)
    if signed and signed != sha_of(content.replace(str(signed).encode(), UNSIGNED.encode())):
        raise DamagedError("its checksum is wrong")
    if isinstance(record, dict) and type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer unlearnbench: run pip install -U unlearnbench")
    parts = {"schema": int, "status": str, "key": dict, "cell": dict, "observed": dict}
    if not isinstance(record, dict) or not all(isinstance(record.get(name), kind) for name, kind in parts.items()):
        raise DamagedError("something is missing")
    if record["schema"] > 1 and not signed:
        raise DamagedError("it has no checksum")
    return record


def record_problem(path: Path) -> str:
    """What is wrong with the record in a file; "" if nothing is."""
    try:
        parsed(path)
    except (DamagedError, UserError, OSError) as error:
        return str(error)
    return ""


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a cell, with a checksum; a damaged one that lies there is set aside."""
    if path.exists() and record_problem(path):
        path.replace(path.with_suffix(".damaged"))
    whole = {**record, "observed": {**record["observed"], "sha256": UNSIGNED}}  # with what two runs may differ in
    content = (json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    write_atomically(path, content.replace(UNSIGNED.encode(), sha_of(content).encode()))


UNSIGNED = "0" * 64
"""What stands for the checksum of a record while that is computed, of every byte of its file."""


def checksum_of(record: object) -> object:
    """The checksum that a record has; None if it has none."""
    observed = record.get("observed") if isinstance(record, dict) else None
    return observed.get("sha256") if isinstance(observed, dict) else None
