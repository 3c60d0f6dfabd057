"""Dask moves calls, the suite guards them: a plugin's death is its cell's, a worker's death is nobody's."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clusters
import pytest
from acting import act, broken, fit, fit_once, gpus, process, slowly_fit, times, unfit

from unlearnbench import UserError
from unlearnbench.engines.choice import opened
from unlearnbench.engines.node import examine
from unlearnbench.engines.processes import in_parallel

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler and two workers with one thread each, in processes of their own."""
    with clusters.cluster(tmp_path_factory.mktemp("cluster"), [{}, {}]) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A connection to two workers."""
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, 60)
        yield client


Made = Callable[..., dict[int, Any]]


@pytest.fixture
def made(client: Any, said: list[str]) -> Made:
    """Makes calls on the cluster."""

    def make(calls: list[tuple[Any, ...]], **options: Any) -> dict[int, Any]:
        with opened(client) as engine:
            results = in_parallel(act, calls, 1, engine=engine.examining(said.append, fit), **options)
            return {done.index: done for done in results}

    return make


@pytest.fixture
def said() -> list[str]:
    """What was said about workers."""
    return []


def workers(client: Any) -> set[int]:
    """The process numbers of the workers."""
    return set(client.run(os.getpid).values())


def test_calls_that_die_cost_themselves_and_no_worker(made: Made, client: Any, tmp_path: Path) -> None:
    before = workers(client)
    names = ["a", "exit", "b", "hang", "c", "fault", "d"]
    done = made([(name, tmp_path) for name in names], limit=1.5)
    reasons = {"exit": "crashed", "fault": "crashed", "hang": "timeout"}
    assert [done[index].reason for index in range(7)] == [reasons.get(name, "") for name in names]
    assert [done[index].result for index in range(7)] == [None if name in reasons else name for name in names]
    assert "in act" in done[3].trace
    assert {name: times(tmp_path / name) for name in names} == {**dict.fromkeys(names, 1), "exit": 2, "fault": 2}
    assert workers(client) == before


def test_it_is_said_how_many_workers_there_are_and_where(made: Made, said: list[str], tmp_path: Path) -> None:
    assert len(made([("meet one", tmp_path), ("meet another", tmp_path)])) == 2  # each waits for the other to begin
    assert any(line.startswith("2 workers: 2 on ") for line in said)


def test_an_exception_ends_all_calls(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        made([("raise", tmp_path), ("hang", tmp_path)])
    assert made([("a", tmp_path)])[0].result == "a"  # the other call has left its worker


def test_a_worker_that_dies_loses_nothing(made: Made, said: list[str], tmp_path: Path) -> None:
    names = ["kill the worker once", *"abcdef"]
    done = made([(name, tmp_path) for name in names])
    assert [done[index].result for index in range(7)] == names
    assert {times(tmp_path / name) for name in names[1:]} == {1}
    lost = [number for number, line in enumerate(said) if "is gone: kill the worker once is sent again" in line]
    assert f" on {socket.gethostname()} is gone" in said[lost[0]]
    assert not any(line.startswith("1 worker:") for line in said[1 : lost[0]])  # the loss is said before the new count


def test_workers_keep_no_results(made: Made, client: Any, tmp_path: Path) -> None:
    assert len(made([(name, tmp_path) for name in "abcdef"])) == 6
    deadline = time.monotonic() + 10
    while (kept := {key for keys in client.has_what().values() for key in keys}) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not kept


def test_a_call_that_ends_every_worker_has_crashed_alone(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.engines.cluster.LOSSES", 2)
    names = ["kill the worker", *"abc"]
    done = made([(name, tmp_path) for name in names])
    assert [done[index].reason for index in range(4)] == ["crashed", "", "", ""]
    assert times(tmp_path / "kill the worker") == 3
    assert {times(tmp_path / name) for name in "abc"} == {1}


def test_a_worker_that_is_unfit_is_named_and_the_others_are_used(client: Any, said: list[str], tmp_path: Path) -> None:
    names = ["wait for a refusal", *(f"slow {number}" for number in range(4))]  # the answer needs a moment to arrive
    with opened(client) as engine:
        engine = engine.examining(said.append, fit_once, tmp_path)
        done = list(in_parallel(act, [(name, tmp_path) for name in names], 1, engine=engine))
    assert [each.result for each in done] == names
    assert any(" is not used: another one was first" in line for line in said)
    assert any(line.startswith("1 worker: 1 on ") for line in said)


def test_if_all_workers_are_unfit_nothing_is_waited_for(client: Any, said: list[str], tmp_path: Path) -> None:
    with opened(client) as engine, pytest.raises(UserError, match="no worker .* can be used: .*it is too slow"):
        list(in_parallel(act, [("a", tmp_path)], 1, engine=engine.examining(said.append, unfit)))
    assert not (tmp_path / "a").exists()


def test_a_worker_that_cannot_be_examined_is_not_used(client: Any, said: list[str], tmp_path: Path) -> None:
    with opened(client) as engine, pytest.raises(UserError, match="it cannot be examined: ZeroDivisionError"):
        list(in_parallel(act, [("a", tmp_path)], 1, engine=engine.examining(said.append, broken)))
    assert not (tmp_path / "a").exists()


def test_while_workers_are_examined_it_is_said_that_they_are(
    client: Any, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.engines.cluster.PATIENCE", 0.1)
    with opened(client) as engine:
        list(in_parallel(act, [("a", tmp_path)], 1, engine=engine.examining(said.append, slowly_fit)))
    assert any(line in said for line in ("waiting: 2 workers being examined", "waiting: 1 worker being examined"))
    assert "waiting: the scheduler has no worker" not in said
    assert any(line.startswith(("1 worker: 1 on ", "2 workers: 2 on ")) for line in said)


def test_a_question_waits_for_the_first_worker_and_says_so(tmp_path: Path, said: list[str]) -> None:
    import dask

    with (
        dask.config.set({"distributed.worker.daemon": False, "temporary-directory": str(tmp_path)}),
        distributed.LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        opened(client, say=said.append) as engine,
    ):
        starter = threading.Timer(1.0, lambda: cluster.scale(1))
        starter.start()
        assert isinstance(engine.ask(process, "a"), int)
        starter.join()
    assert said[0] == "no workers yet: waiting for one to join"


def processes(client: Any) -> set[int]:
    """The numbers of the processes that make the calls of a run."""
    with opened(client) as engine:
        return {done.result for done in in_parallel(process, [(str(number),) for number in range(6)], 1, engine=engine)}


def test_a_session_keeps_the_processes_of_its_workers_and_the_next_session_starts_anew(
    cluster: Any, client: Any
) -> None:
    first, again = processes(client), processes(client)
    assert again <= first
    with distributed.Client(cluster, set_as_default=False) as another:
        assert processes(another).isdisjoint(first)


def test_what_is_closed_leaves_no_process(client: Any, said: list[str], tmp_path: Path) -> None:
    with opened(client) as engine:
        calls = [("hang", tmp_path), ("a", tmp_path)]
        results = in_parallel(act, calls, 1, engine=engine.examining(said.append, fit))
        assert next(results).result == "a"
        wait_until((tmp_path / "pid").exists)
        results.close()
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{child}").exists())


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until something is so, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_see_the_gpus_of_their_machine_and_not_those_of_the_client(client: Any) -> None:
    with opened(client) as engine:
        (done,) = in_parallel(gpus, [()], 1, environment={"CUDA_VISIBLE_DEVICES": "7"}, engine=engine)
    assert done.result != "7"


def test_workers_may_come_and_go(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setattr("unlearnbench.engines.cluster.PATIENCE", 0.5)
    names = [f"slow {number}" for number in range(8)]
    with (
        dask.config.set({"distributed.worker.daemon": False, "temporary-directory": str(tmp_path)}),
        distributed.LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        opened(client) as engine,
    ):

        def come_and_go() -> None:
            wait_until(lambda: "waiting: the scheduler has no worker" in said)
            cluster.scale(2)
            wait_until((tmp_path / names[1]).exists)
            cluster.scale(0)
            wait_until(lambda: said[-1] == "waiting: the scheduler has no worker")
            cluster.scale(1)

        manager = threading.Thread(target=come_and_go)
        manager.start()
        calls = [(name, tmp_path) for name in names]
        done = {each.index: each for each in in_parallel(act, calls, 1, engine=engine.examining(said.append, fit))}
        manager.join()
    assert [done[index].result for index in range(8)] == names


def test_a_worker_with_several_threads_or_without_children_is_told_how_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, distributed.Client(cluster, set_as_default=False) as client, opened(client) as engine:
        with pytest.raises(UserError, match="it has 2 threads: start it with --nthreads 1"):
            list(in_parallel(act, [("a", tmp_path)], 1, engine=engine))
        cluster.scale(0)
    monkeypatch.setattr("unlearnbench.engines.node.current_process", lambda: SimpleNamespace(daemon=True))
    assert examine("a run", None, {}, 1)[1].startswith("its process may not have children: start it with --no-nanny")


def test_jobs_are_for_local_processes_only(client: Any) -> None:
    with opened(client) as engine:
        assert engine.workers(None, "cpu") == 2
    for scheduler in (client, "tcp://127.0.0.1:1"):  # said before anything is connected
        with pytest.raises(UserError, match="leave it out with --scheduler"), opened(scheduler, jobs=2):
            pass


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"address": 5}'])
def test_a_file_that_no_scheduler_wrote_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(text)
    with pytest.raises(UserError, match="scheduler.json is not the file of a scheduler: start one"), opened(path):
        pass


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:1", "nowhere.json"])
def test_without_a_scheduler_the_answer_comes_soon(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearnbench.engines.cluster.CONNECTING", 0.5)
    start = time.monotonic()
    with pytest.raises(UserError, match="no scheduler answers at|there is no file nowhere.json"), opened(place):
        pass
    assert time.monotonic() - start < 10
