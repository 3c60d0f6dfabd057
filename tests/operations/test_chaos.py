"""A run whose processes are killed at random moments ends with the records of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from conftest import one_by_one, records

import unlearnbench
from unlearnbench.operations.verify import verify
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace

KILLS = int(os.environ.get("CHAOS_KILLS", 2))
JOBS = [1, 2] if "CHAOS_KILLS" in os.environ else [2]
"""Numbers of workers; `make chaos` kills 20 times with each."""


SELECTION: dict[str, Any] = {"tasks": ["data-removal", "class-removal"], "methods": ["laf"]}


def places(folder: Path) -> dict[str, Path]:
    return {"results": folder / "r", "cache": folder / "c"}


def started(tiny: Path, folder: Path, jobs: int) -> subprocess.Popen[str]:
    """Starts the command that runs the selection."""
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-j", str(jobs)]
    words += [word for name, path in places(folder).items() for word in (f"--{name}", str(path))]
    words += ["--arithmetic", "native", *(word for task in SELECTION["tasks"] for word in ("-t", task))]
    words += [word for method in SELECTION["methods"] for word in ("-m", method)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that a command prints to standard error."""
    assert process.stderr is not None
    return iter(process.stderr)


def undisturbed(tiny_run: Path) -> dict[str, Any]:
    """The records of the selection in an undisturbed run."""
    methods = ("retrain", *SELECTION["methods"])
    chosen = [f"{task}/{method}/" for task in SELECTION["tasks"] for method in methods]
    selected = {path: record for path, record in records(tiny_run).items() if any(part in path for part in chosen)}
    assert len(selected) == len(chosen)
    return selected


@pytest.fixture
def finished_here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Runs the selection to its end in this process."""
    monkeypatch.setattr(import_module("unlearnbench.operations.work"), "in_parallel", one_by_one)

    def finish(folder: Path) -> None:
        assert not unlearnbench.run(tiny, **SELECTION, **places(folder)).failed

    return finish


@pytest.mark.parametrize("jobs", JOBS)
def test_a_run_killed_repeatedly_ends_with_the_records_of_an_undisturbed_run(
    jobs: int, tiny: Path, tiny_run: Path, tmp_path: Path, finished_here: Callable[[Path], None]
) -> None:
    rng, kills, rounds = random.Random(jobs), 0, 0
    while kills < KILLS:  # a round ends when a run finishes before it is killed
        folder, rounds = tmp_path / str(rounds), rounds + 1
        while kills < KILLS:
            with started(tiny, folder, jobs) as process:
                first_lines = list(islice(lines_of(process), rng.randint(1, 5)))  # killed at a random stage
                time.sleep(rng.uniform(0, 0.5))
                if process.poll() is not None:
                    break
                os.killpg(process.pid, signal.SIGKILL)
                assert first_lines
                kills += 1
        finished_here(folder)
        assert records(folder / "r") == undisturbed(tiny_run)
    workspace = Workspace.of(folder / "r", folder / "c")
    verified = verify(Selection.of(tiny), workspace, rerun=1, effort=Effort(jobs=1), say=lambda line: None)
    assert (list(verified.problems), verified.unmeasured, len(verified.rerun)) == ([], {}, 1)


def test_two_runs_at_once_share_the_work(
    tiny: Path, tiny_run: Path, tmp_path: Path, finished_here: Callable[[Path], None]
) -> None:
    """One runs in this process, at the same time as the other in its own process."""
    with started(tiny, tmp_path, 1) as other:
        assert "cells to run" in next(lines_of(other))
        finished_here(tmp_path)
        assert other.wait(timeout=300) == 0
    assert records(tmp_path / "r") == undisturbed(tiny_run)


def test_sigterm_ends_a_run_as_ctrl_c_does_and_leaves_no_process(tiny: Path, tmp_path: Path) -> None:
    with started(tiny, tmp_path, 2) as p:
        for line in lines_of(p):
            if " made " in line:
                break
        p.terminate()  # to the main process only, as a batch system does
        rest = "".join(lines_of(p))
        assert p.wait(timeout=60) == 143
    assert "interrupted: finished work is kept" in rest
    assert "Traceback" not in rest
    deadline = time.monotonic() + 20
    while alive(p.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(p.pid)


def alive(group: int) -> bool:
    """True if a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
