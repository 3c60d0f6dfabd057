"""Processes that die or take too long cost their own call and nothing else."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unlearnbench.engines.processes import in_parallel
from unlearnbench.runtime.time_limit import limited


def fate(what: str, folder: Path) -> str:
    """Does what it is told, and leaves a note that it was called."""
    with (folder / what).open("a") as file:
        file.write("x")
    if what == "exit":
        os._exit(0)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        with limited():
            time.sleep(3600)
    if what == "spin":  # in C, where no other thread of the interpreter gets a turn
        with limited():
            collections.deque(itertools.repeat(1), maxlen=0)
    if what == "share":  # what is not limited may take longer
        time.sleep(4.0)
    if what == "raise":
        raise ValueError("no")
    time.sleep(0.05)
    return what


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_else_is_done_once_and_who_dies_is_named(workers: int, tmp_path: Path) -> None:
    names = ["a", "exit", "b", "hang", "c", "kill", "d"] if workers == 2 else ["a", "spin", "share", "exit"]
    done = {d.index: d for d in in_parallel(fate, [(name, tmp_path) for name in names], workers, limit=1.5)}
    assert sorted(done) == list(range(len(names)))
    for index, name in enumerate(names):
        reason = {"exit": "crashed", "kill": "crashed", "hang": "timeout", "spin": "timeout"}.get(name, "")
        assert (done[index].result, done[index].reason) == (None if reason else name, reason)
    for name in names:  # who died is called once more, alone; nobody else is called twice
        assert (tmp_path / name).read_text() == ("xx" if name in ("exit", "kill") else "x")
    assert all("in fate" in done[index].trace for index, name in enumerate(names) if name in ("hang", "spin"))


def test_a_death_does_not_disturb_who_is_at_work(tmp_path: Path) -> None:
    names = ["share", "hang", "exit", "a"]  # two processes end before "share" is done
    done = [d.index for d in in_parallel(fate, [(name, tmp_path) for name in names], 2, limit=1.0)]
    assert done.index(1) < done.index(0)
    assert done[-1] == 2  # alone, after all others
    assert (tmp_path / "share").read_text() == "x"


def pid(*_: object) -> int:
    return os.getpid()


def test_processes_end_with_the_one_that_began_them_even_if_it_is_killed() -> None:
    code = """
import os, time
from unlearnbench.engines.processes import in_parallel
print([done.result for done in in_parallel(os.getpid, [()], 1)], flush=True)  # now it waits for work
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout
        assert main.stdout.readline().startswith("[")
        main.kill()
        main.communicate(timeout=30)  # until nobody holds its output any more


def test_processes_are_kept_but_not_in_another_folder_nor_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def who() -> int:
        (done,) = in_parallel(pid, [()], 1)
        return done.result or 0

    first = who()
    assert who() == first
    os.kill(first, signal.SIGKILL)  # as a system without memory does, while it waits
    second = who()
    assert second != first
    monkeypatch.chdir(tmp_path)  # where relative paths mean something else
    assert who() != second


def test_a_limit_ends_with_its_call(tmp_path: Path) -> None:
    assert [d.result for d in in_parallel(fate, [("a", tmp_path)], 1, limit=0.5)] == ["a"]
    assert [d.result for d in in_parallel(patient, [()], 1)] == ["done"]


def patient() -> str:
    with limited():
        time.sleep(1.0)
    return "done"


def test_an_exception_ends_everything(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        list(in_parallel(fate, [("raise", tmp_path), ("a", tmp_path)], 1))


def test_whoever_stops_asking_ends_the_work(tmp_path: Path) -> None:
    found = in_parallel(fate, [("a", tmp_path), ("hang", tmp_path)], 1)
    assert next(found).result == "a"
    found.close()
    began = time.monotonic()
    assert [done.result for done in in_parallel(fate, [("b", tmp_path)], 1)] == ["b"]
    assert time.monotonic() - began < 60
