"""A run whose processes are killed at random moments ends with the records of one that was left in peace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import records

KILLS = int(os.environ.get("CHAOS_KILLS", 2))
JOBS = [1, 2] if "CHAOS_KILLS" in os.environ else [2]
"""Numbers of workers; `make chaos` kills 20 times with each."""


def command(tiny: Path, folder: Path, jobs: int) -> list[str]:
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-j", str(jobs), "-t", "data-removal"]
    return [
        *words,
        "-t",
        "class-removal",
        "--arithmetic",
        "native",
        "--results",
        str(folder / "r"),
        "--cache",
        str(folder / "c"),
    ]


def undisturbed(tiny_run: Path) -> dict[str, Any]:
    return {path: record for path, record in records(tiny_run).items() if "noisy" not in path}


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.parametrize("jobs", JOBS)
def test_killed_again_and_again_it_ends_with_the_records_of_an_undisturbed_run(
    jobs: int, tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    rng, kills, rounds = random.Random(jobs), 0, 0
    while kills < KILLS:  # a round ends when a run gets to its end before it is killed
        folder, rounds = tmp_path / str(rounds), rounds + 1
        words = command(tiny, folder, jobs)
        while kills < KILLS:
            process = started(words)
            try:
                # Long enough to come to work, and to be anywhere in it.
                process.wait(timeout=rng.uniform(2, 7))
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
        assert subprocess.run(words, capture_output=True, check=False).returncode == 0
        assert records(folder / "r") == undisturbed(tiny_run)
    verified = subprocess.run(
        [sys.executable, "-m", "unlearnbench", "verify", "--preset", str(tiny), "--results", str(folder / "r"),
         "--cache", str(folder / "c"), "--rerun", "1", "--arithmetic", "native"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "everything is as it was written")


def test_two_runs_at_once_share_the_work(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    words = command(tiny, tmp_path, 1)
    both = [started(words), started(words)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert records(tmp_path / "r") == undisturbed(tiny_run)


def test_sigterm_ends_a_run_as_ctrl_c_does_and_leaves_no_process(tiny: Path, tmp_path: Path) -> None:
    words = command(tiny, tmp_path, 2)
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as p:
        assert p.stderr is not None
        for line in p.stderr:
            if "made original" in line:
                break
        p.terminate()  # to the main process only, as a batch system does
        rest = p.stderr.read()
        assert p.wait(timeout=60) == 143
    assert "interrupted: what is finished is kept" in rest
    assert "Traceback" not in rest
    deadline = time.monotonic() + 20
    while alive(p.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(p.pid)


def alive(group: int) -> bool:
    """Whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
