"""The training loop equals a textbook loop, and can be stopped and continued."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench import AccessError, UserError
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Samples, TrainingSet


@pytest.fixture
def samples(digits: Dataset) -> Samples:
    everything = TrainingSet(digits.train_images[:100], digits.train_labels[:100]).everything(seeds.generator("order"))
    assert everything is not None
    return everything


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("recipe", [Recipe(epochs=2), Recipe("sgd", lr=0.01, momentum=0.9, epochs=2)])
def test_fit_equals_a_loop_written_out(recipe: Recipe, samples: Samples, digits: Dataset, builder: Builder) -> None:
    network = builder.fresh("x")
    reference = copy.deepcopy(network)
    loop.fit(network, samples, recipe)
    if recipe.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(reference.parameters(), lr=1e-4, weight_decay=1e-4)
    else:
        optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    generator = seeds.generator("order")
    for _ in range(2):
        order = torch.randperm(100, generator=generator)
        for i in range(0, 100, 32):
            rows = order[i : i + 32]
            loss = cross_entropy(reference(digits.train_images[rows].double() / 255), digits.train_labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, other in zip(network.parameters(), reference.parameters(), strict=True):
        assert mine.dtype == torch.float64
        assert torch.allclose(mine, other, rtol=0, atol=1e-10)


def test_in_bf16_matrices_are_multiplied_in_bf16_and_weights_stay_in_fp32(samples: Samples, builder: Builder) -> None:
    recipe, network = Recipe(lr=2e-3, precision="bf16"), builder.fresh("x")
    reference, plain = copy.deepcopy(network), copy.deepcopy(network)
    seen: set[torch.dtype] = set()
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda *_: seen.add(_[2].dtype))
    loop.fit(network, samples.shuffled_by(seeds.generator("o")), recipe, epochs=2)
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    optimizer = loop.optimizer_of(recipe, reference.parameters())
    for batch in samples.shuffled_by(seeds.generator("o")).batches(32, 2):
        with torch.autocast("cpu", torch.bfloat16):  # entered for each step, so that no cast weight is cached
            loss = cross_entropy(reference(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for mine, other in zip(network.parameters(), reference.parameters(), strict=True):
        assert torch.equal(mine, other)
    loop.fit(plain, samples.shuffled_by(seeds.generator("o")), Recipe(lr=2e-3), epochs=2)
    assert not torch.equal(next(network.parameters()), next(plain.parameters()))


@pytest.mark.parametrize("recipe", [Recipe(), Recipe("sgd", lr=0.01, momentum=0.9)])
def test_two_halves_equal_the_whole_for_any_memory_layout_of_the_state(
    recipe: Recipe, samples: Samples, builder: Builder
) -> None:
    whole, *halves = (builder.fresh("x") for _ in range(3))
    loop.fit(whole, samples.shuffled_by(seeds.generator("o")), recipe, epochs=2)
    for half, layout in zip(halves, (torch.contiguous_format, torch.preserve_format), strict=True):
        ordered = samples.shuffled_by(seeds.generator("o"))
        state = loop.fit(half, ordered, recipe, epochs=1)
        for kept in state["state"].values():
            kept |= {name: value.clone(memory_format=layout) for name, value in kept.items()}
        order, again = copy.deepcopy(ordered._generator), copy.deepcopy(half)
        loop.fit(half, ordered, recipe, epochs=1, state=state)
        loop.fit(again, samples.shuffled_by(order), recipe, epochs=1, state=state)
        for mine, second, other in zip(whole.parameters(), again.parameters(), half.parameters(), strict=True):
            assert torch.equal(mine, other)
            assert torch.equal(second, other)


def test_training_needs_labels(digits: Dataset, builder: Builder) -> None:
    hidden = TrainingSet(digits.train_images[:9], digits.train_labels[:9]).everything(seeds.generator("o"), "images")
    with pytest.raises(AccessError):
        loop.fit(builder.fresh("x"), hidden, Recipe())  # type: ignore[arg-type]


def test_predict_uses_eval_mode_and_restores_the_mode_of_every_part() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    network[1].eval()
    pixels = torch.randint(0, 256, (600, 1, 2, 2), dtype=torch.uint8)
    logits = loop.predict(network, pixels, Pipeline().plain)
    assert torch.allclose(logits, network[2](pixels.flatten(1) / 255), atol=1e-6)
    assert network.training
    assert not network[1].training


@pytest.mark.parametrize(
    ("values", "message"), [({"optimizer": "adamm"}, "did you mean 'adam'"), ({"lr": 0.0}, "lr must be above 0")]
)
def test_a_wrong_recipe_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe(**values)  # type: ignore[arg-type]
