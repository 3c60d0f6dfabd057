"""Runs by the workers of a Dask scheduler end with the records of local runs, with and without a shared disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from clusters import cluster, commands
from conftest import NOWHERE, one_by_one, records

import unlearnbench
from unlearnbench.artefacts.plugin_keys import minor
from unlearnbench.cli.main import main
from unlearnbench.engines.choice import opened
from unlearnbench.engines.local import LOCAL
from unlearnbench.operations import fitness
from unlearnbench.operations.fitness import Expected, examined, unfitness
from unlearnbench.operations.measure import measure
from unlearnbench.operations.tune import tune
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.runtime.arithmetic import NATIVE, processor
from unlearnbench.tuning.spaces import Choices

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

SELECTION: dict[str, Any] = {"tasks": "class-removal", "methods": ["neggrad", "laf-r"]}
slow = pytest.mark.skipif("CHAOS_KILLS" not in os.environ, reason="make chaos")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A connection to two workers; each has a cache of its own that is used where there is no shared disk."""
    folder = tmp_path_factory.mktemp("workers")
    environments = [{"UNLEARNBENCH_CACHE": str(folder / name)} for name in ("first", "second")]
    with cluster(folder, environments) as started, distributed.Client(started, set_as_default=False) as client:
        client.wait_for_workers(2, 60)
        yield client


@pytest.fixture(scope="module")
def local(tenth: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The records of the selection, made in this process."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("unlearnbench.operations.work"), "in_parallel", one_by_one)
        places = {"results": folder / "r", "cache": folder / "c"}
        assert not unlearnbench.run(tenth, **SELECTION, **places, arithmetic=NATIVE).failed
    return records(folder / "r")


def test_the_records_are_those_of_a_local_run(client: Any, tenth: Path, local: dict[str, Any], tmp_path: Path) -> None:
    places = {"results": tmp_path / "r", "cache": tmp_path / "c"}
    summary = unlearnbench.run(tenth, **SELECTION, **places, arithmetic=NATIVE, engine=client)
    assert [outcome.reason for outcome in summary.failed] == []
    assert records(tmp_path / "r") == local
    assert not list(tmp_path.rglob(".seen-*"))
    with opened(client) as engine:
        workspace = Workspace.of(**places, arithmetic=NATIVE, engine=engine)
        selection, effort = Selection.of(tenth, **SELECTION), Effort(engine=engine)
        done = measure(selection, workspace, attacks="loss", effort=effort, say=str)
    assert (len(done.done), done.cells, done.failed) == (3, 3, {})


def test_tuning_writes_the_log_of_a_local_tuning(client: Any, tenth: Path, tmp_path: Path) -> None:
    selection, found = Selection.of(tenth, "digits-8x8", "data-removal"), []
    with opened(client) as elsewhere:
        for name, engine in ("there", elsewhere), ("here", LOCAL):
            folder = tmp_path / name
            workspace = Workspace.of(folder / "r", folder / "c", arithmetic=NATIVE, engine=engine)
            effort = Effort(engine=engine)
            tune(["neggrad"], selection, workspace, space={"lr": Choices([1e-6])}, budget=(2,), effort=effort, say=str)
            found.append(next(folder.rglob("neggrad.csv")).read_bytes())
    assert found[0] == found[1]


def test_without_a_shared_disk_workers_exchange_artefacts_at_a_url(
    client: Any, tenth: Path, local: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "of the client"))
    url = f"file://{tmp_path}/upstream"
    places: dict[str, Any] = {"results": tmp_path / "r", "cache": url, "arithmetic": NATIVE}
    summary = unlearnbench.run(tenth, **SELECTION, **places, engine=client)
    assert [outcome.reason for outcome in summary.failed] == []
    assert records(tmp_path / "r") == local
    caches = [Path(cache) for cache in client.run(os.getenv, "UNLEARNBENCH_CACHE").values()]
    assert len(set(caches)) == 2
    kinds = {path.parent.name for path in (tmp_path / "upstream").rglob("*.safetensors")}
    assert {"original", "shadow", "outputs", "prepared", "network"} <= kinds
    assert not list((tmp_path / "of the client" / "outputs").glob("*.safetensors"))  # only locks
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "upstream" / "shadow").iterdir()}
    environments = [{"UNLEARNBENCH_CACHE": str(tmp_path / "late")}]
    with cluster(tmp_path, environments) as started, distributed.Client(started, set_as_default=False) as late:
        assert not unlearnbench.run(tenth, **SELECTION | {"methods": "sham"}, **places, engine=late).failed
    assert list((tmp_path / "late" / "shadow").glob("*.safetensors"))
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "upstream" / "shadow").iterdir()}


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    """What this process has, which is therefore fit."""
    workspace = Workspace.of(tmp_path / "r", tmp_path / "c", NOWHERE, "cpu", NATIVE)
    checksum = workspace.datasets.load("digits-8x8", NOWHERE)[1]
    return Expected(
        code=fitness.code(),
        torch=minor(torch.__version__),
        device="cpu",
        arithmetic=NATIVE,
        processor=processor(),
        data={"digits-8x8": checksum},
        root=NOWHERE,
        store=workspace.store,
        signs=(workspace.store.root,),
        size=1,
    )


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "code": ({"code": "0.0.1 (01234567)"}, r"it has unlearnbench .* instead of 0.0.1 \(01234567\)"),
    "torch": ({"torch": "1.2"}, "instead of 1.2: install the same one"),
    "processor": ({"processor": "Abacus"}, "instead of Abacus, and native arithmetic rounds"),
    "no shared disk": (
        {"signs": (Path("nowhere", "sign"),)},
        "it does not see nowhere: use a folder that all machines",
    ),
    "a full disk": ({"size": 10**18}, "MB left in .*, and the run takes about 1000000000000 MB"),
    "other data": ({"data": {"digits-8x8": "0"}}, "its files of digits-8x8 are other ones"),
    "no data": ({"data": {"mnist": "0"}}, "it cannot read mnist: "),
}


def test_a_worker_like_the_client_is_fit(expected: Expected) -> None:
    assert unfitness(expected) == ""


@pytest.mark.parametrize("case", OTHERS)
def test_a_worker_that_differs_is_told_how(case: str, expected: Expected) -> None:
    changes, message = OTHERS[case]
    assert re.search(message, unfitness(replace(expected, **changes)))


def test_local_workers_are_not_examined(tmp_path: Path) -> None:
    workspace = Workspace.of(tmp_path / "r", tmp_path / "c", NOWHERE, "cpu", NATIVE)
    with opened(None) as engine, examined(engine, workspace, ["no such data set"], 0, print) as same:
        assert same is engine
    assert not (tmp_path / "r").exists()


def test_without_dask_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearnbench.engines.choice.find_spec", lambda name: None)
    for command in ("run", "measure"):
        called = CliRunner().invoke(main, [command, "--scheduler", "tcp://127.0.0.1:8786"])
        assert called.exit_code == 2
        assert "pip install 'unlearnbench[dask]'" in called.output


def test_local_commands_do_not_import_dask(tmp_path: Path) -> None:
    code = (
        "import sys; from unlearnbench.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print({'dask', 'distributed', 'tornado'} & set(sys.modules), file=sys.stderr)"
    )
    plan = ["run", "--dry-run", "--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c")]
    for words in (["--help"], ["run", "--help"], plan):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert done.stderr.endswith("set()\n"), done.stderr


def started(tenth: Path, folder: Path, scheduler: Path) -> subprocess.Popen[str]:
    """Starts the command that runs the selection."""
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tenth), "-t", SELECTION["tasks"]]
    words += [word for method in SELECTION["methods"] for word in ("-m", method)]
    words += ["--scheduler", str(scheduler), "--results", str(folder / "r"), "--cache", str(folder / "c")]
    words += ["--arithmetic", NATIVE]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def first_line_with(text: str, process: subprocess.Popen[str]) -> None:
    """Reads what a command prints to standard error until a line has this text."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)


def children(process: subprocess.Popen[bytes]) -> list[str]:
    """The running children of a process, without the one that counts its semaphores."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(") ")
            command = stat.with_name("cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        state, parent = rest.split()[:2]
        if int(parent) == process.pid and state != "Z" and "resource_tracker" not in command:
            found.append(command)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@slow
def test_what_is_killed_is_finished_by_the_same_command(tenth: Path, local: dict[str, Any], tmp_path: Path) -> None:
    """Ctrl-C, then the client is killed, then a worker, then the scheduler; then nothing."""
    with commands(tmp_path, 2) as (file, (scheduler, *workers)):
        with started(tenth, tmp_path, file) as run:
            first_line_with(" made ", run)
            run.send_signal(signal.SIGINT)
            assert "interrupted: finished work is kept" in run.communicate(timeout=60)[1]
            assert run.returncode == 130
        wait_until(lambda: not any(map(children, workers)))
        with started(tenth, tmp_path, file) as run:
            first_line_with(" made ", run)
            run.kill()
        with started(tenth, tmp_path, file) as run:
            first_line_with("] ok ", run)
            workers[0].kill()
            first_line_with("] ok ", run)
            scheduler.kill()
            stderr = run.communicate(timeout=60)[1]
            assert "the scheduler is gone" in stderr
            assert "Traceback" not in stderr
            assert run.returncode == 1
        wait_until(lambda: not any(map(children, workers)))
    (tmp_path / "scheduler.json").unlink()
    with commands(tmp_path, 2) as (file, _), started(tenth, tmp_path, file) as run:
        _, stderr = run.communicate(timeout=300)
        assert run.returncode == 0, stderr
    assert records(tmp_path / "r") == local
