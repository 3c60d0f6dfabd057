"""A method that only a notebook has goes to a file with everything that it uses, and runs from there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import unlearnbench
from unlearnbench import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.objects import name_of
from unlearnbench.reporting.frame import records

IMPORTS = """
import math
import torch as t
from torch import nn
from unlearnbench import Access, descend, method
"""
HELPERS = """
SCALE, unused = 0.5, t.zeros(3)

class Shrink(nn.Module):
    def forward(self, x):
        return SCALE * x

def shrunk(network):
    scale = SCALE  # not the `descend` of the notebook, and not its `loss`
    loss = math.sqrt(scale ** 2)
    with t.no_grad():
        for weights in network.parameters():
            weights.mul_(loss)
    assert Shrink()(2.0) == 1.0
    return network

loss = t.zeros(2)
"""
METHOD = """
@method(title="Fade", access=Access(prepare="images", forget="images"))
def fade(problem, *, times: int = 1):
    "Shrinks the weights."
    network = problem.network()
    assert problem.prepared["none"].shape == (2,)
    for _ in range(times):
        shrunk(network)
    return network

@fade.cost
def cost(forget, recipe, *, times):
    return 0.0

def none(problem):
    return {"none": t.zeros(2)}

fade.prepare(none)
"""


@pytest.mark.usefixtures("in_this_process")
def test_its_file_has_all_that_it_uses_and_nothing_else(
    notebook: Callable[[str], dict[str, Any]], tiny: Path, cache: Path, tiny_run: Path, tmp_path: Path
) -> None:
    notebook(IMPORTS)
    notebook(HELPERS)
    fade = notebook(METHOD)["fade"]
    results = tmp_path / "r"
    done = unlearnbench.run(str(tiny), methods=[fade], tasks="class-removal", results=results, cache=cache)
    assert not done.failed
    source = (results / "notebook" / "notebook_fade.py").read_text()
    assert "unused" not in source
    assert "zeros(3)" not in source
    assert source.count("SCALE = 0.5") == 1
    assert "fade.prepare(none)" in source
    assert "from unlearnbench import method" in source
    record = next(r for r in records(results) if r["cell"]["method"] == "notebook_fade.fade")
    assert record["cell"]["method_title"] == "Fade (notebook_fade.py)"
    assert record["metrics"]["cost"] == {"prepare": None, "unlearn": 0.0}
    frame = unlearnbench.load(str(tiny), results, method=fade)
    assert list(frame["origin"]) == ["file notebook_fade.py"]
    changed = notebook(METHOD.replace("range(times)", "range(2 * times)"))["fade"]
    done = unlearnbench.run(str(tiny), methods=changed, tasks="class-removal", results=results, cache=cache)
    cells = [(outcome.name, outcome.status) for outcome in done.outcomes if outcome.is_cell]
    assert cells == [("digits-8x8 class-removal notebook_fade.fade 0", "ok")]


def test_a_value_that_only_the_session_has_is_refused_with_its_name(
    notebook: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    notebook(IMPORTS)
    notebook(HELPERS)
    leaks = notebook(METHOD.replace("shrunk(network)", "network.weight = unused"))["fade"]
    with pytest.raises(UserError, match="fade uses unused, a Tensor that only this session has"):
        name_of(leaks, tmp_path)


def test_an_installed_method_and_one_of_an_imported_file_need_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_of(registry.get(Method, "laf-r"), tmp_path) == "laf-r"
    (tmp_path / "dimming.py").write_text(IMPORTS + METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("dimming")
    name = name_of(module.fade, tmp_path)
    assert isinstance(name, Local)
    assert name.place == f"{tmp_path / 'dimming.py'}:fade"
    assert not (tmp_path / "notebook").exists()
    sys.modules.pop("dimming")


def test_a_function_without_a_decorator_is_refused() -> None:
    with pytest.raises(UserError, match=r"records is no plugin: decorate it, as with @method\(title="):
        unlearnbench.run(methods=[records])  # type: ignore[list-item]
