"""Files with positions of samples: .npy, .txt or .csv."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unlearnbench.errors import ContentError

COLUMNS = ("index", "position", "id")
"""The names of the column with positions, in a .csv of several columns."""


def read_positions(path: str | Path, total: int) -> Tensor:
    """Reads positions of samples from a file.

    Args:
        path: A .npy file with whole numbers; a .txt file with numbers between spaces, commas or line breaks, where `#`
            begins a comment; or a .csv file with one column, or with a column named "index", "position" or "id".
        total: The number of samples.

    Returns:
        int64 [n], ascending.

    Raises:
        ContentError: If the file cannot be read, or a position is out of range or twice there.
    """
    path = Path(path)
    try:
        values = READERS[path.suffix](path)
    except KeyError as error:
        raise ContentError(f"{path} must be a file of positions, .npy, .txt or .csv") from error
    except OSError as error:
        raise ContentError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ContentError(f"{path} has no positions of samples: {error}") from error
    if values.dtype == np.bool_:
        raise ContentError(f"{path} has a mask: np.flatnonzero(mask) makes positions of it")
    if not np.issubdtype(values.dtype, np.integer) or values.ndim != 1:
        raise ContentError(f"{path} must have whole numbers [n], not {values.dtype} {list(values.shape)}")
    if not len(values):
        raise ContentError(f"{path} is empty: it needs the positions of samples")
    positions = torch.from_numpy(np.sort(values).astype(np.int64))
    for wrong in positions[(positions < 0) | (positions >= total)][:1].tolist():
        raise ContentError(f"{path} has position {wrong}, and positions are from 0 to {total - 1}")
    if len(twice := positions[1:][positions[1:] == positions[:-1]]):
        raise ContentError(f"{path} has position {int(twice[0])} twice")
    return positions


def from_npy(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The array in a .npy file."""
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = np.load(path, allow_pickle=False)
    return array


def from_txt(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The numbers in a .txt file."""
    lines = [line.partition("#")[0] for line in path.read_text(encoding="utf-8-sig").splitlines()]
    return whole_numbers([word for line in lines for word in re.split(r"[\s,;]+", line) if word])


def from_csv(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The numbers in the only column of a .csv file, or in the one that has a known name."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is None and len(header) > 1:
        raise ValueError(f"it has several columns, and none is named {' or '.join(COLUMNS)}")
    has_header = column is not None or (bool(header) and not header[0].lstrip("-").isdigit())
    return whole_numbers([row[column or 0].strip() for row in rows[has_header:]])


def whole_numbers(words: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Words as whole numbers, "7" or as `np.savetxt` writes it, "7.0e+00"; raises `ValueError` for the first other."""
    return np.array([int(word) if is_whole(word) else int(float(word)) for word in words], dtype=np.int64)


def is_whole(word: str) -> bool:
    """Whether a word is a number without a point; raises `ValueError` if it is no whole number at all."""
    if re.fullmatch(r"[-+]?\d+", word):
        return True
    try:
        if float(word).is_integer():
            return False
    except ValueError:
        pass
    raise ValueError(f"{word!r} is no whole number")


READERS = {".npy": from_npy, ".txt": from_txt, ".csv": from_csv}
