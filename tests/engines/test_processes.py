"""A process that dies or exceeds the time limit costs only its own call."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import unlearnbench
from unlearnbench import UserError
from unlearnbench.engines.processes import in_parallel
from unlearnbench.runtime.time_limit import limited


def act(action: str, folder: Path) -> str:
    """Performs an action; the length of the file of its name counts the calls."""
    with (folder / action).open("a") as file:
        file.write("x")
    if action == "exit":
        os._exit(0)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "hang":
        with limited():
            time.sleep(3600)
    if action == "spin":  # in C, where no other Python thread can run
        with limited():
            collections.deque(itertools.repeat(1), maxlen=0)
    if action == "share":  # not limited, so it may take longer
        time.sleep(4.0)
    if action == "raise":
        raise ValueError("no")
    time.sleep(0.05)
    return action


@pytest.mark.parametrize("workers", [1, 2])
def test_deaths_are_reported_and_all_other_calls_are_done_once(workers: int, tmp_path: Path) -> None:
    names = ["a", "exit", "b", "hang", "c", "kill", "d"] if workers == 2 else ["a", "spin", "share", "exit"]
    done = {d.index: d for d in in_parallel(act, [(name, tmp_path) for name in names], workers, limit=1.5)}
    assert sorted(done) == list(range(len(names)))
    for index, name in enumerate(names):
        reason = {"exit": "crashed", "kill": "crashed", "hang": "timeout", "spin": "timeout"}.get(name, "")
        assert (done[index].result, done[index].reason) == (None if reason else name, reason)
    for name in names:  # calls that died are repeated once, alone; no others are
        assert (tmp_path / name).read_text() == ("xx" if name in ("exit", "kill") else "x")
    assert all("in act" in done[index].trace for index, name in enumerate(names) if name in ("hang", "spin"))


def test_a_death_does_not_disturb_other_workers(tmp_path: Path) -> None:
    names = ["share", "hang", "exit", "a"]  # two processes end before "share" is done
    done = [d.index for d in in_parallel(act, [(name, tmp_path) for name in names], 2, limit=1.0)]
    assert done.index(1) < done.index(0)
    assert done[-1] == 2  # alone, after all others
    assert (tmp_path / "share").read_text() == "x"


def pid(*_: object) -> int:
    return os.getpid()


def test_workers_end_with_the_main_process_even_if_it_is_killed() -> None:
    code = """
import os, time
from unlearnbench.engines.processes import in_parallel
print([done.result for done in in_parallel(os.getpid, [()], 1)], flush=True)  # the worker waits for calls
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout
        assert main.stdout.readline().startswith("[")
        main.kill()
        main.communicate(timeout=30)  # until no process holds its output


def test_workers_are_reused_unless_they_are_dead_or_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worker_id() -> int:
        (done,) = in_parallel(pid, [()], 1)
        return done.result or 0

    first = worker_id()
    assert worker_id() == first
    os.kill(first, signal.SIGKILL)  # as a system without memory does, while the worker is idle
    second = worker_id()
    assert second != first
    monkeypatch.chdir(tmp_path)  # changes the meaning of relative paths
    assert worker_id() != second


def test_a_time_limit_applies_only_to_its_own_call(tmp_path: Path) -> None:
    assert [d.result for d in in_parallel(act, [("a", tmp_path)], 1, limit=0.5)] == ["a"]
    assert [d.result for d in in_parallel(patient, [()], 1)] == ["done"]


def patient() -> str:
    with limited():
        time.sleep(1.0)
    return "done"


def test_an_exception_ends_all_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        list(in_parallel(act, [("raise", tmp_path), ("a", tmp_path)], 1))


def test_closing_the_iterator_ends_the_work(tmp_path: Path) -> None:
    results = in_parallel(act, [("a", tmp_path), ("hang", tmp_path)], 1)
    assert next(results).result == "a"
    results.close()
    start = time.monotonic()
    assert [done.result for done in in_parallel(act, [("b", tmp_path)], 1)] == ["b"]
    assert time.monotonic() - start < 60


GROWS = """
import os, signal, sys, time
from joblib.externals.loky import process_executor
from unlearnbench.engines.processes import in_parallel


def grow(_):
    process_executor._USE_PSUTIL, process_executor._MEMORY_LEAK_CHECK_DELAY = True, -1.0
    process_executor._get_memory_usage = lambda *_, **__: 1000 * time.monotonic_ns()
    return os.getpid()


if __name__ == "__main__":
    print(len({done.result for done in in_parallel(grow, [(n,) for n in range(4)], 1)}))
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", [[], ["killed"]])
def test_nothing_is_printed_when_a_worker_is_replaced_or_the_main_process_is_killed(
    end: list[str], tmp_path: Path
) -> None:
    """Joblib replaces a worker whose memory has grown; its resource tracker removes semaphores of a killed process."""
    script = tmp_path / "grows.py"
    script.write_text(GROWS)
    done = subprocess.run([sys.executable, str(script), *end], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == (-signal.SIGKILL if end else 0)
    assert end or int(done.stdout) > 1  # several processes


def in_pool(_: int) -> list[int | None]:
    return [done.result for done in in_parallel(pid, [()], 1)]


def test_in_a_process_that_cannot_have_workers_it_is_said_what_to_do_instead() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(UserError) as error:
        pool.map(in_pool, [0])
    assert "call this in the main process, where jobs=N starts N workers" in str(error.value)
    assert "concurrent.futures.ProcessPoolExecutor" in str(error.value)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert list(executor.map(in_pool, [0])) != [[os.getpid()]]


SCRIPT = """
import joblib
import unlearnbench
from joblib.externals.loky import wrap_non_picklable_objects


@wrap_non_picklable_objects
def epochs(number):
    return unlearnbench.Recipe(epochs=number).epochs


if __name__ == "__main__":
    print(*joblib.Parallel(2)(joblib.delayed(epochs)(number) for number in (3, 4)))
"""


def test_functions_of_a_script_that_imports_the_suite_run_in_processes_of_joblib(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3 4\n", "")


def test_the_package_can_be_pickled_by_reference() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    assert cloudpickle.loads(cloudpickle.dumps(unlearnbench)) is unlearnbench
