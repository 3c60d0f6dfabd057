"""Under portable arithmetic all libraries use the same code on every processor; keys contain the arithmetic."""

from __future__ import annotations

import inspect
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unlearnbench
from unlearnbench import UserError
from unlearnbench.engines.processes import in_parallel
from unlearnbench.runtime import arithmetic
from unlearnbench.runtime.arithmetic import NATIVE, PORTABLE, environment, resolved

needs_avx2 = pytest.mark.skipif(not arithmetic.available(), reason="this processor has no portable arithmetic")


def libraries() -> dict[str, Any]:
    """The instructions and threads that the libraries of this process use."""
    import scipy.linalg  # noqa: F401 - loads a matrix library
    import sklearn.ensemble  # noqa: F401 - loads a pool of threads
    import torch
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    from threadpoolctl import threadpool_info

    return {
        "arithmetic": arithmetic.current(),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "numpy": {name for name in __cpu_dispatch__ if __cpu_features__[name]},
        "matrices": {pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"},
        "threads": {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())},
        "environment": dict(os.environ),
    }


@needs_avx2
def test_a_portable_worker_uses_avx2_in_every_library() -> None:
    (done,) = in_parallel(libraries, [()], 1, None, environment(PORTABLE))
    used = done.result
    assert used is not None
    assert used["arithmetic"] == PORTABLE
    assert used["torch"] == "AVX2"
    assert used["numpy"] <= {"X86_V3", "SSE41", "SSE42", "AVX", "F16C", "FMA3", "AVX2"}
    assert used["matrices"] == {"Haswell"}
    assert used["environment"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert used["environment"]["MKL_CBWR"] == "COMPATIBLE"


@pytest.mark.parametrize("name", [PORTABLE, NATIVE])
def test_a_worker_has_one_thread_in_every_library(name: str) -> None:
    (done,) = in_parallel(libraries, [()], 1, None, environment(name))
    assert done.result is not None
    assert done.result["threads"] == {1}


def test_a_native_worker_uses_the_same_code_as_this_process() -> None:
    (done,) = in_parallel(libraries, [()], 1, None, environment(NATIVE))
    used, here = done.result, libraries()
    assert used is not None
    assert used["arithmetic"] == here["arithmetic"] == NATIVE
    assert all(used[name] == here[name] for name in ("torch", "numpy", "matrices"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Pretends that the processor has AVX2 or not, and restores the meaning that "auto" has for users."""
    monkeypatch.setattr(arithmetic, "preferred", inspect.unwrap(arithmetic.preferred))
    return lambda has_avx2: monkeypatch.setattr(arithmetic, "available", lambda: has_avx2)


def test_auto_is_portable_on_a_cpu_with_avx2_and_native_on_a_gpu(machine: Callable[[bool], None]) -> None:
    machine(True)
    assert resolved("auto", "cpu") == PORTABLE
    assert resolved("auto", "cuda") == NATIVE
    assert resolved("native", "cpu") == NATIVE


def test_a_processor_without_avx2_is_native_and_warns_that_numbers_differ(machine: Callable[[bool], None]) -> None:
    machine(False)
    with pytest.warns(UserWarning, match="numbers differ from those of other machines"):
        assert resolved("auto", "cpu") == NATIVE
    with pytest.raises(UserError, match="portable arithmetic needs an x86-64 processor with AVX2"):
        resolved("portable", "cpu")


@pytest.mark.parametrize("other", ["aarch64", "arm64"])
def test_another_architecture_has_no_portable_arithmetic(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: other)
    assert not arithmetic.available()


def test_a_misspelt_arithmetic_is_refused() -> None:
    with pytest.raises(UserError, match="arithmetic must be auto, portable or native, not 'portabel'"):
        resolved("portabel", "cpu")


@needs_avx2
def test_portable_and_native_cells_share_nothing(tiny: Path, tmp_path: Path) -> None:
    keys = {}
    for name in (PORTABLE, NATIVE):
        plan = unlearnbench.run(tiny, arithmetic=name, dry_run=True, cache=tmp_path, results=tmp_path).plan
        keys[name] = {cell.outputs.digest for cell in plan.cells} | {job.digest for job in plan.shared}
        assert all(f"--arithmetic {name}" in cell.command for cell in plan.cells)
    assert not keys[PORTABLE] & keys[NATIVE]


@needs_avx2
@pytest.mark.usefixtures("in_this_process")
def test_a_process_of_another_arithmetic_makes_no_artefact(tiny: Path, tmp_path: Path) -> None:
    where = {"cache": tmp_path / "cache", "results": tmp_path / "results"}
    summary = unlearnbench.run(tiny, arithmetic=PORTABLE, tasks="class-removal", methods="original", **where)
    assert {o.status for o in summary.failed} == {"failed"}
    assert all("this process has native arithmetic" in o.reason for o in summary.failed)
    assert not list((tmp_path / "cache").glob("original/*.safetensors"))
