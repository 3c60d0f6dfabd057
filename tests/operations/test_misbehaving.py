"""Whatever a method does, it costs its own cell: the others' records are those of a run without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
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
    "Gives no numbers."
    return lambda images: torch.full((len(images), 10), float("nan"))

@method(title="Wrong shape", access=Access())
def wrong_shape(problem):
    "Gives outputs for three classes."
    return lambda images: torch.zeros(len(images), 3)

@method(title="Loops", access=Access())
def loops(problem):
    "Never comes back."
    while True:
        time.sleep(0.1)

@method(title="Answers never", access=Access())
def answers_never(problem):
    "Returns what never comes back."
    def answer(images):
        while True:
            time.sleep(0.1)
    return answer

@method(title="Quits", access=Access())
def quits(problem):
    "Ends the process as programs do."
    raise SystemExit(0)

@method(title="Exits", access=Access())
def exits(problem):
    "Ends the process without a word."
    os._exit(3)

@method(title="Dies", access=Access())
def dies(problem):
    "Is killed, as by a system without memory."
    os.kill(os.getpid(), signal.SIGKILL)

@method(title="Eats memory", access=Access())
def eats_memory(problem):
    "Wants more memory than there is."
    return torch.empty(2**55)

@method(title="Changes its inputs", access=Access(forget="labels", retain="images"))
def changes_inputs(problem):
    "Writes on everything that it was handed."
    for samples in (problem.forget, problem.retain):
        samples.images.fill_(0.0)
        samples.pixels.fill_(0)
        samples.index.fill_(0)
    problem.forget.labels.fill_(0)
    return problem.network()

@method(title="Changes the original", access=Access())
def changes_original(problem):
    "Writes on the network that everybody starts from."
    problem.original.head[1].bias.data.fill_(100.0)
    return problem.network()

@method(title="Touches global state", access=Access())
def touches_state(problem):
    "Seeds everybody's random numbers, and turns the recording of gradients on."
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
    "Is loud."
    print("x" * 3_000_000)
    return problem.network()

@method(title="Leaves threads behind", access=Access())
def leaves_threads(problem):
    "Has threads that outlive it."
    for daemon in (True, True, False):
        threading.Thread(target=time.sleep, args=(3600,), daemon=daemon).start()
    return problem.network()
"""
FATES = {
    "raises": ("failed", "ValueError: no such luck"),
    "child": ("skipped", "ParentFailedError: raises failed: ValueError: no such luck"),
    "nan": ("diverged", "not finite"),
    "wrong-shape": ("failed", "shape (1437, 3) instead of (1437, 10)"),
    "loops": ("timeout", "exceeded the time limit of 4 s"),
    "answers-never": ("timeout", "exceeded the time limit of 4 s"),
    "quits": ("failed", "SystemExit: 0"),
    "exits": ("crashed", "its process died, even alone"),
    "dies": ("crashed", "its process died, even alone"),
    "eats-memory": ("out-of-memory", "memory"),
}
"""What becomes of who has no result, and why its record says so."""
ENDLESS = ("loops", "answers-never")
HARMLESS = ("changes-inputs", "touches-state", "prints", "leaves-threads")
"""They return the original: their numbers must be the original's."""
BYSTANDERS = ("retrain", "neggrad", "original")
NAMES = (*FATES, *HARMLESS, "changes-original")
PLACE = "tiny/records/digits-8x8/cnn/data-removal"


@pytest.fixture(scope="module")
def among_them(
    tiny: Path, tiny_run: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Summary], Path, dict[str, Any]]]:
    """A run of all of them at once: what it says, the results folder, and its arguments.

    Who never ends is left to a second run, because a busy machine may take longer than their limit for all others.
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


@pytest.mark.parametrize("name", FATES)
def test_who_has_no_result_has_a_record_that_says_why(
    name: str, among_them: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    found = record(among_them[1], name)
    status, reason = FATES[name]
    assert found["status"] == status
    assert reason in found["reason"]
    assert "metrics" not in found
    if name in ("raises", "quits", "loops", "eats-memory"):
        assert f"in {name.replace('-', '_')}" in found["traceback"]
    if name == "answers-never":
        assert "in answer" in found["traceback"]


@pytest.mark.parametrize("name", HARMLESS)
def test_who_leaves_a_mess_has_the_numbers_of_what_it_returned(
    name: str, tiny_run: Path, among_them: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    found, original = record(among_them[1], name), record(tiny_run, "original")
    assert found["status"] == "ok"
    assert {**found["metrics"], "cost": 0} == {**original["metrics"], "cost": 0}


@pytest.mark.parametrize("name", BYSTANDERS)
def test_the_others_have_the_records_of_a_run_without_them(
    name: str, tiny_run: Path, among_them: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    assert record(among_them[1], name) == record(tiny_run, name)


def test_what_failed_is_not_tried_again_and_not_forgotten(
    tiny: Path, among_them: tuple[list[Summary], Path, dict[str, Any]]
) -> None:
    summaries, _, options = among_them
    again = unlearnbench.run(tiny, **options)
    assert again.outcomes == []
    for found in ([o for summary in summaries for o in summary.failed], again.failed):
        assert {o.name.split()[2]: o.status for o in found} == {name: fate for name, (fate, _) in FATES.items()}


def test_a_command_ends_though_a_thread_does_not(tiny: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(METHODS)
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-t", "data-removal", "-j", "1"]
    words += [
        "--arithmetic",
        "native",
        "-m",
        f"{tmp_path / 'lazy.py'}:leaves_threads",
        "--results",
        str(tmp_path),
        "--cache",
        str(cache),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_a_single_worker_survives_them_too(
    tiny: Path, tiny_run: Path, cache: Path, tmp_path: Path, among_them: object
) -> None:
    arguments: dict[str, Any] = {"tasks": "data-removal", "results": tmp_path, "cache": cache, "jobs": 1}
    unlearnbench.run(tiny, methods=["exits", "loops", "neggrad"], timeout=10, **arguments)
    for name in ("exits", "loops"):
        assert record(tmp_path, name)["status"] == FATES[name][0]
    for other in ("retrain", "neggrad"):
        assert record(tmp_path, other) == record(tiny_run, other)
