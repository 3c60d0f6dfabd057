"""Positions of samples are read from the usual kinds of files, and mistakes in these are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnbench import UserError, read_positions


def npy(array: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npy", npy(np.array([7, 2, 5]))),
        ("a.npy", npy(np.array([7, 2, 5], dtype=np.uint8))),
        ("a.txt", text("7\n2\n5\n")),
        ("a.txt", text("# who wants to go\n7, 2;5  # the last\n\n")),
        ("a.txt", lambda path: np.savetxt(path, np.array([7, 2, 5]))),
        ("a.csv", text("7\n2\n5\n")),
        ("a.csv", text("number\n7\n2\n5\n")),
        ("a.csv", text("name,index\nAnne,7\nBen,2\n\nCleo,5\n")),
    ],
)
def test_each_kind_of_file_gives_ascending_positions(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    assert read_positions(tmp_path / name, 10).tolist() == [2, 5, 7]


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npy", npy(np.array([1, 10])), "has position 10, and positions are from 0 to 9"),
        ("a.txt", text("-1 2"), "has position -1, and positions"),
        ("a.txt", text("3 2 3"), "has position 3 twice"),
        ("a.txt", text("3 x"), "has no positions of samples: 'x' is no whole number"),
        ("a.txt", text("3 2.5"), "has no positions of samples: '2.5' is no whole number"),
        ("a.txt", text("# nobody"), "is empty: it needs the positions of samples"),
        ("a.npy", npy(np.array([0.5])), r"must have whole numbers \[n\], not float64 \[1\]"),
        ("a.npy", npy(np.array([[1]])), r"must have whole numbers \[n\], not int64 \[1, 1\]"),
        ("a.npy", npy(np.ones(10, dtype=bool)), r"has a mask: np.flatnonzero\(mask\) makes positions of it"),
        ("a.npy", text("nothing"), "has no positions of samples"),
        ("a.csv", text("name,number\nAnne,7\n"), "several columns, and none is named index or position or id"),
        ("a.json", text("[1]"), "must be a file of positions, .npy, .txt or .csv"),
    ],
)
def test_mistakes_are_named(name: str, write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_positions(tmp_path / name, 10)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*gone.txt: No such file"):
        read_positions(tmp_path / "gone.txt", 10)
