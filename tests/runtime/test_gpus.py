"""Each worker of a machine with several GPUs sees one of them, and `-j` counts workers of each."""

from __future__ import annotations

import os

import pytest
import torch

from unlearnbench.engines.processes import in_parallel
from unlearnbench.operations.work import Effort
from unlearnbench.runtime import gpus


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with four GPUs."""
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def seen() -> tuple[str | None, int]:
    """The GPUs that a process may use, and the process."""
    return os.environ.get(gpus.VARIABLE), os.getpid()


@pytest.mark.usefixtures("four_gpus")
def test_there_is_one_worker_for_each_gpu_unless_more_are_asked_for() -> None:
    assert Effort().workers("cuda", 100) == 4
    assert Effort(jobs=2).workers("cuda", 100) == 8
    assert Effort(jobs=2).workers("cuda", 3) == 3
    assert Effort(jobs=2).workers("cpu", 100) == 2


@pytest.mark.usefixtures("four_gpus")
def test_workers_share_out_the_gpus() -> None:
    variables = {"A": "1", **gpus.environment("cuda")}
    assert variables == {"A": "1", gpus.VARIABLE: "0,1,2,3"}
    assert [each[gpus.VARIABLE] for each in gpus.shared_out(variables, 6)] == ["0", "1", "2", "3", "0", "1"]
    assert all(each["A"] == "1" for each in gpus.shared_out(variables, 6))
    assert gpus.environment("cpu") == {}


def test_gpus_that_were_chosen_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "GPU-8932f937, MIG-1a2b")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus.visible() == ["GPU-8932f937", "MIG-1a2b"]


@pytest.mark.usefixtures("four_gpus")
def test_processes_are_started_with_their_gpu_and_keep_it() -> None:
    for _ in range(2):  # the second time, processes are reused
        results = [done.result for done in in_parallel(seen, [()] * 6, 3, None, {gpus.VARIABLE: "5,7"})]
        by_process = {process: name for name, process in filter(None, results)}
        assert {name for name, _ in filter(None, results)} <= {"5", "7"}
        assert len(by_process) <= 3


def test_without_gpus_the_variable_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "3")
    (done,) = in_parallel(seen, [()], 1, None, gpus.environment("cpu"))
    assert done.result
    assert done.result[0] == "3"
