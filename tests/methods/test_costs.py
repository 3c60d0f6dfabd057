"""The declared cost of a method is what it computes, and the table of costs charges shared work in full."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import METHODS, convolutional
from torch import Tensor, nn

from unlearnbench import Network, Problem, UserError, load, table
from unlearnbench.planning import presets
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training.recipe import Recipe

SAMPLES, FORGOTTEN = 300, 40 / 300
"""The training samples, and the forgotten share, of the problem in conftest.py."""

FITTING: dict[str, dict[str, Any]] = {
    "fisher": {"share": 1.0},
    "fisher-head": {"share": 1.0},
    "lotus": {"unseen": 0.0},
    "unsir": {"share": 1.0, "noise": 0.1},
}
"""Options with which sizes are whole numbers, and nothing ends early."""


@pytest.fixture
def builder() -> Builder:
    """Builds small networks: only passes are counted."""
    return Builder(convolutional, {}, (1, 8, 8), 10, torch.device("cpu"))


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, original: Network) -> Iterator[dict[str, int]]:
    """Counts the images that go forward and backward through the extractor of any network."""
    counts = {"forward": 0, "backward": 0}
    build = Network.__init__

    def flagged(self: Network, features: nn.Module, *args: Any, **kwargs: Any) -> None:
        build(self, features, *args, **kwargs)
        features.is_extractor = True  # type: ignore[assignment]

    def note(module: nn.Module, images: tuple[Tensor], embeddings: Tensor) -> None:
        if getattr(module, "is_extractor", False):
            n = len(images[0])
            counts["forward"] += n
            if embeddings.requires_grad:
                embeddings.register_hook(lambda _: counts.update(backward=counts["backward"] + n))

    monkeypatch.setattr(Network, "__init__", flagged)
    original.features.is_extractor = True  # type: ignore[assignment]
    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield counts
    finally:
        handle.remove()


def passes(counts: dict[str, int]) -> float:
    """The ep of some counts: a forward pass alone is a third of a pass."""
    return (counts["forward"] / 3 + counts["backward"] * 2 / 3) / SAMPLES


@pytest.mark.parametrize("augment", [(), ("flip",)])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_costs_what_it_declares(
    name: str,
    augment: tuple[str, ...],
    make_problem: Callable[..., Problem],
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = registry.get(Method, name)
    fitting = {"vae_epochs": 3, "batch": 20, **FITTING.get(name, {})}  # 20 divides the sizes of both sets
    options = method.resolve(name, {key: value for key, value in fitting.items() if key in method.defaults})
    recipe = Recipe(lr=2e-3, epochs=1, augment=augment)
    original = builder.fresh("original")
    prepared: dict[str, Tensor] = {}
    if method.preparation:
        with counted(monkeypatch, original) as counts, seeds.pinned("costs"):
            problem = make_problem(method.access, "prepare", original=copy.deepcopy(original), recipe=recipe)
            prepared = method.preparation(problem, **method.preparing(options))
        assert passes(counts) == pytest.approx(method.ep_to_prepare(recipe, options), rel=0.05)
    with counted(monkeypatch, original) as counts, seeds.pinned("costs"):
        problem = make_problem(method.access, original=copy.deepcopy(original), recipe=recipe, prepared=prepared)
        method.unlearn(problem, options)
    forgotten = 1 - len(problem.retain) / SAMPLES if method.access.forget == "classes" else FORGOTTEN
    assert passes(counts) == pytest.approx(method.ep_to_unlearn(forgotten, recipe, options), rel=0.05, abs=0.01)


@pytest.mark.parametrize("task", ["data-removal", "class-removal", "noisy-label-removal"])
@pytest.mark.parametrize(("network", "augment"), [("cnn", ()), ("resnet18", ("flip",))])
@pytest.mark.parametrize("forget", [0.068, 0.1, 0.2, 0.31])
def test_laf_costs_no_more_than_the_least_possible(
    forget: float, task: str, network: str, augment: tuple[str, ...]
) -> None:
    """The least without kept embeddings: stage 1, and the original in step 2, need only forward passes."""
    laf, recipe = registry.get(Method, "laf"), Recipe(augment=augment)
    options = laf.resolve("laf", *presets.read("paper").hyperparameters("laf", task, network))
    cost = laf.ep_to_prepare(recipe, options) + laf.ep_to_unlearn(forget, recipe, options)
    least = options["vae_epochs"] * (1 + forget) / 3 + options["epochs"] * forget * (4 + 2 / 3)
    assert cost == pytest.approx(least) if augment else cost < 0.9 * least


def test_a_method_is_charged_for_what_it_starts_from(tiny: Path, tiny_run: Path) -> None:
    frame = load(None, tiny_run).query("task == 'data-removal'").set_index("method")
    laf_r = registry.get(Method, "laf-r")
    own = laf_r.ep_to_unlearn(119 / 599, Recipe(), laf_r.defaults)
    assert frame.loc["laf-r", "ep_unlearn"] == pytest.approx(frame.loc["laf", "ep_unlearn"] + own)
    assert frame.loc["laf-r", "ep_prepare"] == frame.loc["laf", "ep_prepare"] == pytest.approx(1 / 3)
    assert frame.loc["laf-r", "seconds_unlearn"] > frame.loc["laf", "seconds_unlearn"]
    assert frame.loc["original", "ep_unlearn"] == 0


def test_costs_are_compared_with_those_of_retrain(tiny: Path, tiny_run: Path) -> None:
    rows = {
        row["Method"]: row for row in csv.DictReader(io.StringIO(table(1, str(tiny), tiny_run, "csv", view="cost")))
    }
    assert next(iter(rows)) == "Retrain"
    assert float(rows["Retrain"]["beside Retrain (ep)"]) == float(rows["Retrain"]["beside Retrain (s)"]) == 1
    laf = rows["LAF"]
    together = float(laf["prepare (ep)"]) + float(laf["unlearn (ep)"])
    assert float(laf["beside Retrain (ep)"]) == pytest.approx(together / float(rows["Retrain"]["unlearn (ep)"]))
    for form in ("markdown", "latex", "terminal"):
        assert "LAF+R" in table(1, str(tiny), tiny_run, form, view="cost")
    with pytest.raises(UserError, match="format must be one of"):
        table(1, str(tiny), tiny_run, "html", view="cost")
