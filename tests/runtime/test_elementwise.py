"""Functions of torch that would depend on the processor's maker are computed by NumPy in portable workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.engines.processes import in_parallel
from unlearnbench.runtime import arithmetic, elementwise
from unlearnbench.runtime.arithmetic import PORTABLE, environment

needs_avx2 = pytest.mark.skipif(not arithmetic.available(), reason="this processor has no portable arithmetic")


def in_worker() -> dict[str, Any]:
    """Each function by torch in a portable worker: plain, with out=, in place, its derivative, and by NumPy."""
    arithmetic.ensure(PORTABLE)
    values, found = torch.linspace(0.01, 0.99, 10_007), {}
    for name, function in elementwise.FUNCTIONS.items():
        tracked = values.clone().requires_grad_()
        result = getattr(torch, name)(tracked)
        (slope,) = torch.autograd.grad(result.sum(), tracked)
        written, changed = torch.empty(0), values.clone()
        getattr(torch, name)(values, out=written)
        getattr(changed, name + "_")()
        forms = [form.detach().numpy() for form in (result, written, changed)]
        exact = getattr(torch, name)(values.double())
        found[name] = forms, function(values.numpy()), exact.numpy(), slope.numpy()
    return found


def dtypes_in_worker() -> dict[str, Any]:
    """The square root for other dtypes, layouts, and values outside its domain."""
    arithmetic.ensure(PORTABLE)
    images = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    return {
        "dtypes": [
            torch.sqrt(torch.tensor([4]).to(dtype)).dtype for dtype in (torch.int64, torch.bfloat16, torch.half)
        ],
        "scalar": torch.sqrt(torch.tensor(4.0)),
        "nan": torch.sqrt(torch.tensor(-1.0)),
        "strides": torch.sqrt(images).stride() == images.stride(),
        "complex": torch.sqrt(torch.tensor(-4 + 0j)),
        "views": torch.equal(torch.sqrt(images[:, :, ::2].expand(2, 3, 2, 5)), torch.sqrt(images)[:, :, ::2]),
    }


@needs_avx2
def test_every_form_of_a_function_gives_the_bits_of_numpy() -> None:
    (done,) = in_parallel(in_worker, [()], 1, None, environment(PORTABLE))
    assert done.result is not None, done.error
    assert done.result.keys() == elementwise.FUNCTIONS.keys()
    for name, (forms, expected, exact, slope) in done.result.items():
        assert all(np.array_equal(form, expected) for form in forms), name
        np.testing.assert_allclose(expected, exact, rtol=3e-7, err_msg=name)
        measured = np.gradient(exact, np.linspace(0.01, 0.99, 10_007))[1000:9000]
        np.testing.assert_allclose(slope[1000:9000], measured, rtol=1e-3, err_msg=name)


@needs_avx2
def test_the_square_root_in_a_portable_worker_is_correctly_rounded() -> None:
    (done,) = in_parallel(in_worker, [()], 1, None, environment(PORTABLE))
    assert done.result is not None, done.error
    forms, _, exact, _ = done.result["sqrt"]
    assert np.array_equal(forms[0], exact.astype(np.float32))


@needs_avx2
def test_dtypes_layouts_and_undefined_values_are_as_in_torch() -> None:
    (done,) = in_parallel(dtypes_in_worker, [()], 1, None, environment(PORTABLE))
    found = done.result
    assert found is not None, done.error
    assert found["dtypes"] == [torch.float32, torch.bfloat16, torch.half]
    assert found["scalar"].shape == ()
    assert found["scalar"].item() == 2
    assert found["nan"].isnan()
    assert found["strides"]
    assert found["views"]
    assert found["complex"] == 2j


def test_a_native_process_keeps_the_functions_of_torch() -> None:
    values = torch.rand(10_007, generator=torch.Generator().manual_seed(0))
    assert elementwise.replace.cache_info().currsize == 0
    assert torch.sqrt(values).allclose(values.double().sqrt().float())
