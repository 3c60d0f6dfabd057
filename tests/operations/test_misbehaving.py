"""Whatever a method does, only its own cell fails: all other records equal those of a run without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import installed, records

import unlearnbench
from unlearnbench.operations.run import Summary

METHODS = """
import os, signal, tempfile, threading, time
import torch
from unlearnbench import Access, method

@method(title="Raises", access=Access(forget="labels"))
def raises(problem):
    "Raises."
    raise ValueError("no such luck")

@method(title="Child", access=Access(), start="raises")
def child(problem):
    "Starts from one that raises."
    return problem.network()

@method(title="NaN", access=Access())
def nan(problem):
    "Gives outputs that are not finite."
    return lambda images: torch.full((len(images), 10), float("nan"))

@method(title="Wrong shape", access=Access())
def wrong_shape(problem):
    "Gives outputs for three classes."
    return lambda images: torch.zeros(len(images), 3)

@method(title="Loops", access=Access())
def loops(problem):
    "Never returns."
    while True:
        time.sleep(0.1)

@method(title="Returns a loop", access=Access())
def returns_a_loop(problem):
    "Returns a function that never returns."
    def forward(images):
        while True:
            time.sleep(0.1)
    return forward

@method(title="Quits", access=Access())
def quits(problem):
    "Ends the process with an exception."
    raise SystemExit(0)

@method(title="Exits", access=Access())
def exits(problem):
    "Ends the process without an exception."
    os._exit(3)

@method(title="Dies", access=Access())
def dies(problem):
    "Is killed, as by a system without memory."
    os.kill(os.getpid(), signal.SIGKILL)

@method(title="Eats memory", access=Access())
def eats_memory(problem):
    "Needs more memory than there is."
    return torch.empty(2**55)

@method(title="Changes its inputs", access=Access(forget="labels", retain="images"))
def changes_inputs(problem):
    "Overwrites all of its inputs."
    for samples in (problem.forget, problem.retain):
        samples.images.fill_(0.0)
        samples.pixels.fill_(0)
        samples.index.fill_(0)
    problem.forget.labels.fill_(0)
    return problem.network()

@method(title="Changes the original", access=Access())
def changes_original(problem):
    "Overwrites the weights of the shared original."
    problem.original.head[1].bias.data.fill_(100.0)
    return problem.network()

@method(title="Touches global state", access=Access())
def touches_state(problem):
    "Changes random seeds, settings, environment and working directory."
    torch.manual_seed(1)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.set_autocast_enabled("cpu", True)
    os.environ["OMP_NUM_THREADS"] = "2"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    return problem.network()

@method(title="Prints megabytes", access=Access())
def prints(problem):
    "Prints a lot."
    print("x" * 3_000_000)
    return problem.network()

@method(title="Leaves threads behind", access=Access())
def leaves_threads(problem):
    "Starts threads that outlive it."
    for daemon in (True, True, False):
        threading.Thread(target=time.sleep, args=(3600,), daemon=daemon).start()
    return problem.network()
"""
FAILURES = {
    "raises": ("failed", "ValueError: no such luck"),
    "child": ("skipped", "ParentFailedError: raises failed: ValueError: no such luck"),
    "nan": ("diverged", "not finite"),
    "wrong-shape": ("failed", "shape (599, 3) instead of (599, 10)"),
    "loops": ("timeout", "exceeded the time limit of 4 s"),
    "returns-a-loop": ("timeout", "exceeded the time limit of 4 s"),
    "quits": ("failed", "SystemExit: 0"),
    "exits": ("crashed", "its process died, even alone"),
    "dies": ("crashed", "its process died, even alone"),
    "eats-memory": ("out-of-memory", "memory"),
}
"""The methods that fail: status and reason in their records."""
ENDLESS = ("loops", "returns-a-loop")
HARMLESS = ("changes-inputs", "touches-state", "prints", "leaves-threads")
"""Methods that return the original: their numbers must be those of the original."""
BYSTANDERS = ("retrain", "neggrad", "original")
NAMES = (*FAILURES, *HARMLESS, "changes-original")
PLACE = "tiny/records/digits-8x8/cnn/data-removal"


@pytest.fixture(scope="module")
def misbehaving_run(
    tiny: Path, tiny_run: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Summary], Path, dict[str, Any]]]:
    """A run of all methods at once: the summaries, the results folder, and the arguments.

    Endless methods have a run of their own, because on a busy machine other methods may exceed the time limit.
    """
    lines = "".join(f"{name} = misbehaving:{name.replace('-', '_')}\n" for name in NAMES)
    results = tmp_path_factory.mktemp("misbehaving")
    options: dict[str, Any] = {"tasks": "data-removal", "results": results, "cache": cache, "jobs": 2}
    options["methods"] = [*NAMES, *BYSTANDERS]
    with installed(results / "site", "misbehaving", METHODS, f"[unlearnbench.methods]\n{lines}"):
        first = unlearnbench.run(tiny, **{**options, "methods": [n for n in options["methods"] if n not in ENDLESS]})
        yield [first, unlearnbench.run(tiny, timeout=4, **{**options, "methods": ENDLESS})], results, options


def record(results: Path, name: str) -> dict[str, Any]:
    return dict(records(results)[f"{PLACE}/{name}/0.json"])


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_method_has_a_record_with_the_reason(
    name: str, misbehaving_run: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    failed = record(misbehaving_run[1], name)
    status, reason = FAILURES[name]
    assert failed["status"] == status
    assert reason in failed["reason"]
    assert "metrics" not in failed
    if name in ("raises", "quits", "loops", "eats-memory"):
        assert f"in {name.replace('-', '_')}" in failed["traceback"]
    if name == "returns-a-loop":
        assert "in forward" in failed["traceback"]


@pytest.mark.parametrize("name", HARMLESS)
def test_side_effects_of_a_method_do_not_change_its_numbers(
    name: str, tiny_run: Path, misbehaving_run: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    completed, original = record(misbehaving_run[1], name), record(tiny_run, "original")
    assert completed["status"] == "ok"
    assert {**completed["metrics"], "cost": 0} == {**original["metrics"], "cost": 0}


@pytest.mark.parametrize("name", BYSTANDERS)
def test_other_methods_have_the_records_of_an_undisturbed_run(
    name: str, tiny_run: Path, misbehaving_run: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    assert record(misbehaving_run[1], name) == record(tiny_run, name)


def test_failed_cells_are_not_run_again_but_still_reported(
    tiny: Path, misbehaving_run: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    summaries, _, options = misbehaving_run
    again = unlearnbench.run(tiny, **options)
    assert again.outcomes == []
    for failed in ([o for summary in summaries for o in summary.failed], again.failed):
        assert {o.name.split()[2]: o.status for o in failed} == {name: status for name, (status, _) in FAILURES.items()}


def test_the_command_exits_although_a_method_left_a_thread(tiny: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(METHODS)
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-t", "data-removal", "-j", "1"]
    words += ["--arithmetic", "native", "-m", f"{tmp_path / 'lazy.py'}:leaves_threads"]
    words += ["--results", str(tmp_path), "--cache", str(cache)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_a_single_worker_survives_misbehaving_methods(
    tiny: Path, tiny_run: Path, cache: Path, tmp_path: Path, misbehaving_run: object
) -> None:
    arguments: dict[str, Any] = {"tasks": "data-removal", "results": tmp_path, "cache": cache, "jobs": 1}
    unlearnbench.run(tiny, methods=["exits", "loops", "neggrad"], timeout=6, **arguments)
    for name in ("exits", "loops"):
        assert record(tmp_path, name)["status"] == FAILURES[name][0]
    for other in ("retrain", "neggrad"):
        assert record(tmp_path, other) == record(tiny_run, other)


MORTAL = """
import os
from pathlib import Path
from unlearnbench import Access, method

@method(title="Mortal", access=Access())
def mortal(problem):
    "Ends its process once the file is there."
    if Path(os.environ["MORTAL"]).exists():
        os._exit(3)
    return problem.network()
"""


def test_a_forced_cell_whose_process_dies_has_crashed_though_it_had_a_record(
    install: Callable[..., Path], tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("mortality", MORTAL, "[unlearnbench.methods]\nmortal = mortality:mortal\n")
    monkeypatch.setenv("MORTAL", str(tmp_path / "now"))
    chosen: dict[str, Any] = {"tasks": "class-removal", "methods": "mortal", "jobs": 1}
    folders = {"results": tmp_path / "r", "cache": tmp_path / "c"}
    assert not unlearnbench.run(tenth, **chosen, **folders).failed
    (tmp_path / "now").touch()
    (failed,) = unlearnbench.run(tenth, force=True, **chosen, **folders).failed
    assert (failed.name, failed.status) == ("digits-8x8 class-removal mortal 0", "crashed")
    again = unlearnbench.run(tenth, dry_run=True, **chosen, **folders).plan
    assert {cell.method: status.state for cell, status in zip(again.cells, again.statuses, strict=True)} == {
        "retrain": "cached",
        "mortal": "failed",
    }
