"""Prose fits into the terminal that it goes to, and is not broken anywhere else."""

from __future__ import annotations

import io
import os
import sys

import pytest

from unlearnbench.cli.echo import fitted

LONG = "cost        " + "about twelve passes over the training set, " * 4


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a terminal of 40 columns of standard output and standard error, until the end of a test."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))


@pytest.mark.parametrize("err", [False, True])
def test_lines_are_broken_between_words_below_their_text(err: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    lines = fitted(f"short\n{LONG}", err).split("\n")
    assert max(map(len, lines)) <= 40
    assert lines[0] == "short"
    assert [line[:12].strip() for line in lines[1:]] == ["cost", *[""] * (len(lines) - 2)]
    assert " ".join(line.strip() for line in lines[1:]).split() == LONG.split()


def test_the_first_line_leaves_room_for_what_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    text = fitted("word " * 20, err=True, start=7)
    first, *others = text.split("\n")
    assert text.startswith("word")
    assert len(first) <= 33
    assert all(line.startswith("  word") and len(line) <= 40 for line in others)


def test_a_word_that_is_too_long_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    path = "/a" * 50
    assert path in fitted(f"written to {path}").split()


def test_what_goes_into_a_file_or_a_pipe_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert fitted(LONG) == LONG
