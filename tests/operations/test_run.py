"""A run completes missing cells, survives failures, and gives the same records for any number of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import plan_in, records

import unlearnbench
from unlearnbench import Samples, UserError
from unlearnbench.operations.work import Effort, execute
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store
from unlearnbench.training import loop
from unlearnbench.training.loop import fit

BROKEN = """
import os, signal, threading, time
import torch
from unlearnbench import Access, Network, method

@method(title="Raises", access=Access(forget="labels"))
def raises(problem):
    "Raises."
    raise ValueError("no such luck")

@method(title="Quits", access=Access())
def quits(problem):
    "Ends the process."
    raise SystemExit(0)

@method(title="Chance", access=Access())
def chance(problem):
    "Returns random outputs."
    assert not torch.equal(torch.randperm(9), torch.randperm(9, generator=problem.generator))
    return lambda images: torch.rand(len(images), 10)

class Inverted(Network):
    def forward(self, images):
        return -super().forward(images)

@method(title="Inverted", access=Access())
def inverted(problem):
    "Returns a network that cannot be rebuilt from its weights."
    network = problem.network()
    return Inverted(network.features, network.head, network.last_layer)

@method(title="Heir", access=Access(), start="inverted")
def heir(problem):
    "Starts from a network that cannot be rebuilt from its weights."
    return problem.network()

@method(title="Rude", access=Access())
def rude(problem):
    "Changes global random numbers and the original."
    torch.manual_seed(1)
    torch.set_grad_enabled(True)
    problem.original.head[1].bias.data.fill_(100.0)
    return problem.network()

"""
ENTRY_POINTS = "[unlearnbench.methods]\n" + "".join(
    f"{name} = broken_methods:{name}\n" for name in ("raises", "rude", "quits", "chance", "inverted", "heir")
)


def test_every_cell_of_every_task_has_a_record_with_every_metric(tiny_run: Path) -> None:
    all_records = records(tiny_run)
    assert len(all_records) == 15
    for record in all_records.values():
        assert record["status"] == "ok"
        assert {"train_r", "train_f", "test", "asr"} <= set(record["metrics"]["clean"])
        assert all(0 <= value <= 1 for value in record["metrics"]["clean"].values())


@pytest.mark.usefixtures("in_this_process")
def test_one_worker_gives_the_records_of_two(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    task = "noisy-label-removal"
    summary = unlearnbench.run(str(tiny), tasks=task, results=tmp_path / "r", cache=tmp_path / "c", jobs=1)
    assert not summary.failed
    assert records(tmp_path / "r") == {path: record for path, record in records(tiny_run).items() if task in path}
    assert len({outcome.name for outcome in summary.outcomes}) == len(summary.outcomes) == 1 + 2 + 1 + 5


@pytest.mark.usefixtures("in_this_process")
def test_nothing_is_trained_twice(tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def counted(network: torch.nn.Module, samples: Samples, *rest: Any) -> dict[str, Any]:
        trained.append(len(samples))
        return fit(network, samples, *rest)

    monkeypatch.setattr(loop, "fit", counted)
    unlearnbench.run(tenth, methods=["original", "retrain", "neggrad"], results=tmp_path / "r", cache=tmp_path / "c")
    # Two originals, with true and with wrong labels, and two shadows for each; Retrain for each of three tasks.
    assert sorted(trained, reverse=True) == [674, 674, 673, 673, 149, 149, 149 - 15, 149 - 29, 149 - 45]


def test_a_second_run_computes_nothing_and_reads_each_record_once(
    tiny: Path, tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    for user in ("planning.staleness", "reporting.frame"):
        counted = lambda path: read.append(path) or read_record(path)  # type: ignore[func-returns-value]  # noqa: E731
        monkeypatch.setattr(import_module(f"unlearnbench.{user}"), "read_record", counted)
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*.json")}
    summary = unlearnbench.run(str(tiny), results=tiny_run, cache=cache)
    assert summary.outcomes == []
    assert sorted(read) == sorted(before)
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*.json")} == before
    for number, task in enumerate(("data-removal", "class-removal", "noisy-label-removal"), start=1):
        table = (tiny_run / "tiny" / "tables" / f"table{number}.md").read_text()
        read.clear()
        assert table == unlearnbench.table(number, str(tiny), tiny_run)  # reads its own records, and no others
        assert sorted(read) == sorted(path for path in before if task in path.parts)


def test_a_dry_run_writes_nothing(tiny: Path, tmp_path: Path) -> None:
    summary = unlearnbench.run(str(tiny), results=tmp_path / "r", cache=tmp_path / "c", dry_run=True)
    assert len(summary.plan.to_run) == 15
    assert summary.plan.ep > 10
    assert summary.plan.size > 1e6
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("in_this_process")
def test_force_repeats_the_chosen_cells_with_the_same_result(tiny: Path, tiny_run: Path, cache: Path) -> None:
    before = records(tiny_run)
    summary = unlearnbench.run(
        str(tiny), tasks=["class-removal"], methods=["neggrad"], results=tiny_run, cache=cache, force=True, jobs=1
    )
    assert sorted(o.name.split()[2] for o in summary.outcomes if o.is_cell) == ["neggrad"]
    assert records(tiny_run) == before


@pytest.mark.usefixtures("in_this_process")
def test_failed_cells_run_again_only_with_retry_failed(
    install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    install("broken_methods", BROKEN, ENTRY_POINTS)
    common: dict[str, Any] = {"tasks": ["class-removal"], "results": tmp_path, "cache": cache, "jobs": 1}
    first = unlearnbench.run(str(tiny), methods=["raises", "quits"], fail_fast=True, **common)
    assert [o.status for o in first.outcomes if o.is_cell and o.status != "ok"] == ["failed"]
    assert first.outcomes[-1].status == "failed"  # the run ends there
    second = unlearnbench.run(str(tiny), methods=["raises", "quits"], **common)
    assert len(second.failed) == 2
    third = unlearnbench.run(str(tiny), methods=["raises", "quits"], retry_failed=True, **common)
    assert sorted(o.name.split()[2] for o in third.outcomes) == ["quits", "raises"]


@pytest.mark.usefixtures("in_this_process")
def test_outputs_are_the_same_whether_or_not_a_method_starts_from_the_network(
    install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    install("broken_methods", BROKEN, ENTRY_POINTS)
    common: dict[str, Any] = {"tasks": ["class-removal"], "cache": cache, "jobs": 1}
    unlearnbench.run(str(tiny), methods=["inverted", "chance"], results=tmp_path / "alone", **common)
    again = unlearnbench.run(
        str(tiny), methods=["inverted", "heir", "chance"], results=tmp_path / "both", force=True, **common
    )
    alone, both = records(tmp_path / "alone"), records(tmp_path / "both")
    for name, record in alone.items():
        assert both[name] == record
    assert [outcome.reason for outcome in again.failed] == [
        "ParentFailedError: inverted failed: TypeError: inverted gives no network of the suite, "
        "so no other method can start from it"
    ]


@pytest.mark.usefixtures("in_this_process")
def test_a_method_edited_during_the_run_is_not_saved_under_the_old_key(
    install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    from unlearnbench.plugins.fingerprint import fingerprint

    module = install("broken_methods", BROKEN, ENTRY_POINTS)
    fingerprint.cache_clear()
    arguments: dict[str, Any] = {"tasks": ["class-removal"], "methods": ["rude"], "results": tmp_path, "cache": cache}
    plan = unlearnbench.run(str(tiny), **arguments, dry_run=True).plan
    module.write_text(BROKEN.replace("fill_(100.0)", "fill_(50.0)"))
    outcomes = {o.name: o for o in execute(plan, 1, Effort(), None)}
    assert "was edited while it ran" in outcomes["digits-8x8 class-removal rude 0"].reason
    assert outcomes["digits-8x8 class-removal retrain 0"].status == "ok"


@pytest.mark.usefixtures("in_this_process")
def test_an_edited_method_is_stale_and_other_methods_are_not(
    install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    module = install("broken_methods", BROKEN, ENTRY_POINTS)
    arguments: dict[str, Any] = {"tasks": ["class-removal"], "methods": ["rude"], "results": tmp_path, "cache": cache}
    unlearnbench.run(str(tiny), **arguments, jobs=1)
    module.write_text(BROKEN.replace("fill_(100.0)", "fill_(50.0)"))
    from unlearnbench.plugins.fingerprint import fingerprint

    fingerprint.cache_clear()
    plan = unlearnbench.run(str(tiny), **arguments, dry_run=True).plan
    states = {cell.method: status for cell, status in zip(plan.cells, plan.statuses, strict=True)}
    assert states["retrain"].state == "cached"
    assert (states["rude"].state, states["rude"].why) == ("stale", "method.code changed")


@pytest.mark.usefixtures("in_this_process")  # the second run
def test_an_interrupted_run_is_finished_by_the_next_one(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    selection: dict[str, Any] = {"tasks": "data-removal", "methods": ["original", "neggrad"]}
    places = {"results": tmp_path / "r", "cache": tmp_path / "c"}
    command = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-j", "1", "--arithmetic", "native"]
    command += ["-t", "data-removal", "-m", "original", "-m", "neggrad"]
    command += [word for name, path in places.items() for word in (f"--{name}", str(path))]
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # even if the tests are run with Ctrl-C ignored
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "] ok" in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to the whole foreground group
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted: finished work is kept" in rest
    assert "Traceback" not in rest
    done = records(tmp_path / "r")
    assert 0 < len(done) < 3
    start = time.time()
    unlearnbench.run(str(tiny), **selection, **places)
    chosen = [f"data-removal/{method}/" for method in ("original", "retrain", "neggrad")]
    expected = {path: record for path, record in records(tiny_run).items() if any(part in path for part in chosen)}
    assert len(expected) == 3
    assert records(tmp_path / "r") == expected
    unchanged = [p for p in (tmp_path / "r").rglob("records/**/*.json") if p.stat().st_mtime < start]
    assert len(unchanged) == len(done)


def test_load_gives_a_data_frame_of_records(tiny_run: Path) -> None:
    frame = unlearnbench.load(None, tiny_run)
    assert len(frame) == 15
    chosen = frame[(frame["task"] == "class-removal") & (frame["method"] == "retrain")].iloc[0]
    assert chosen["test_f"] == 0.0
    assert chosen["shadow.balanced_accuracy_low"] <= chosen["asr"] <= chosen["shadow.balanced_accuracy_high"]
    assert chosen["seconds_unlearn"] > 0
    with pytest.raises(UserError, match="there is no results folder"):
        unlearnbench.load(None, tiny_run / "none")


def test_the_functions_of_the_package_are_not_hidden_by_its_modules() -> None:
    import unlearnbench.operations.run
    import unlearnbench.plugins.method
    import unlearnbench.plugins.task

    assert all(callable(f) for f in (unlearnbench.run, unlearnbench.method, unlearnbench.task))


def test_the_seconds_of_a_method_include_those_of_the_method_that_it_starts_from(
    tiny: Path, tiny_run: Path, store: Store
) -> None:
    plan = plan_in(store, tiny_run, tiny, tasks="class-removal")
    child = next(cell for cell in plan.cells if cell.method == "laf-r")
    seconds = (read_record(child.path) or {})["observed"]["seconds"]
    _, info = store.load(child.outputs.needs["parent"].key) or ({}, {})
    assert seconds["prepare"] == info["seconds"]["prepare"] > 0
    assert seconds["unlearn"] > info["seconds"]["unlearn"] > 0


def test_workers_that_join_during_a_run_are_counted(
    tiny: Path, tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = iter([1, 2])
    monkeypatch.setattr(Effort, "workers", lambda self, device, calls: next(there))
    assert unlearnbench.run(tiny, results=tiny_run, cache=cache).workers == 2
