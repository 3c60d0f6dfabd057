"""No step makes the CPU wait for a GPU; tested on torch's device "meta".

Its tensors have no values, so reading one is an error, as is an operation on tensors of "meta" and CPU together. What
else makes a CPU wait for a GPU is a blocking transfer: by `to`, by `copy_`, or of an index. (So does
`torch.tensor(..., device=...)`, which this test cannot detect.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import METHODS, convolutional
from torch.utils._python_dispatch import TorchDispatchMode

from unlearnbench import Problem
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

SIDE = 36
AUGMENTED = {"resize": SIDE, "augment": ("random-resized-crop", "padded-crop", "flip")}
READERS = {
    *("sisa", "scrub-r", "retrain", "retrain-2", "tarf", "identify-then-ft", "iu-cg"),
    *("fisher", "fisher-head", "lotus", "unsir"),
}
"""They read values, so they cannot run on "meta": the affected slices of a shard, the errors after an epoch, which
samples are hidden (once), a residual after each iteration, likely labels, an accuracy after each epoch, and which
classes must go (once)."""


class Waits(TorchDispatchMode):
    """Counts blocking transfers by the shape of the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in blocking_transfers(function, args, kwargs):
            self.counts[tuple(tensor.shape)] += 1
        return function(*args, **kwargs)


def blocking_transfers(function: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """The tensors that an operation transfers to another device, if the CPU waits for that."""
    operation = function.overloadpacket
    if operation is torch.ops.aten._to_copy:
        moved = [args[0]] if kwargs.get("device", args[0].device) != args[0].device else []
        return [] if kwargs.get("non_blocking") else moved
    if operation is torch.ops.aten.copy_:
        waits = args[0].device != args[1].device and not (args[2:] or [kwargs.get("non_blocking")])[0]
        return [args[1]] if waits else []
    if operation in (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_select):
        leaves = torch.utils._pytree.tree_leaves(args[1:])
        return [t for t in leaves if isinstance(t, torch.Tensor) and t.dim() and t.device != args[0].device]
    return []


def test_blocking_transfers_are_counted() -> None:
    there, here = torch.zeros(5, 3, device="meta"), torch.zeros(2, dtype=torch.int64)
    with Waits() as waits:
        here.to("meta", non_blocking=True)
        there[:2, 0].copy_(here, non_blocking=True)
        there[there[:2, 0].long()] = there[:2].double().float()
        assert not waits.counts
        here.to("meta")
        there[:2, 0].copy_(here)
        there.index_select(0, torch.zeros(4, dtype=torch.int64))
        there[torch.zeros(3, dtype=torch.int64), 0] = 1.0
        there[torch.zeros(6, dtype=torch.int64)]
    assert waits.counts == {(2,): 2, (4,): 1, (3,): 1, (6,): 1}


def unfused(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """An optimiser that ignores `fused`, for a device without fused ones."""

    class Unfused(kind):  # type: ignore[misc,valid-type]
        def __init__(self, *words: Any, fused: bool = False, **options: Any) -> None:
            super().__init__(*words, **options)

    return Unfused


@pytest.fixture(autouse=True)
def no_fused_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SGD", "Adam"):
        monkeypatch.setattr(torch.optim, name, unfused(getattr(torch.optim, name)))


@pytest.fixture
def builder() -> Builder:
    return Builder(convolutional, {}, (1, SIDE, SIDE), 10, torch.device("meta"))


@pytest.mark.parametrize("networks", [1, 2])
def test_no_step_of_training_waits(networks: int, digits: Dataset, builder: Builder) -> None:
    recipe = Recipe(epochs=2, **AUGMENTED)
    images, labels = digits.train_images[:100].to(builder.device), digits.train_labels[:100].to(builder.device)
    whole = TrainingSet(images, labels, Pipeline(recipe.resize, recipe.augment))
    learners = [builder.fresh(str(number)) for number in range(networks)]
    orders = [whole.everything(seeds.generator("order", number)) for number in range(networks)]
    with Waits() as waits:
        loop.fit_together(learners, [order for order in orders if order is not None], recipe)
    assert waits.counts == {(100,): 2 * networks}  # the order of each epoch


@pytest.mark.parametrize("name", [name for name in METHODS if name not in READERS])
def test_no_step_of_a_method_waits(name: str, make_problem: Callable[..., Problem]) -> None:
    method, counts = registry.get(Method, name), []
    once = {option: 1 for option in method.defaults if option.endswith("epochs")}
    for batch in (20, 40):
        recipe, sizes = Recipe(epochs=1, batch=batch, **AUGMENTED), {o: batch for o in method.defaults if "batch" in o}
        options = {**method.defaults, **once, **sizes}
        with Waits() as waits:
            prepared: dict[str, torch.Tensor] = {}
            if method.preparation:
                first = make_problem(method.access, "prepare", recipe=recipe)
                prepared = method.preparation(first, **method.preparing(options))
            method.unlearn(make_problem(method.access, recipe=recipe, prepared=prepared), options)
        counts.append(waits.counts)
    assert counts[0] == counts[1]  # for many steps and for few
