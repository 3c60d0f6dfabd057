"""Several networks that are trained in one computation equal networks trained alone, up to rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import plan_in, small_model
from torch import Tensor, nn

from unlearnbench import Access, AccessError, Network, Problem
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.training import MOST, Training
from unlearnbench.operations.work import make_artefact
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.runtime import seeds
from unlearnbench.storage.store import Store
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.loop import fit_stacked, predict
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import Samples, TrainingSet, side_by_side

PAIR = ("padded-crop", "flip")
HASTY = '''
from torch import nn
from unlearnbench import Network, model

class Features(nn.Module):
    def forward(self, images):
        return images.flatten(1) if images.mean() > 0 else 1 - images.flatten(1)

@model(title="Hasty")
def hasty(shape, num_classes):
    """Branches on the values of its images."""
    return Network(Features(), nn.Linear(28 * 28, 10), "head")
'''
CHANCE = '''
from torch import nn
from unlearnbench import Network, model

@model(title="Chance")
def chance(shape, num_classes):
    """Drops embeddings out."""
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.Dropout(0.5)), nn.Linear(32, 10), "head")
'''


class Exact(nn.Module):
    """A small network with batch normalisation, in double precision."""

    def __init__(self, *also: nn.Module) -> None:
        super().__init__()
        layers = nn.Conv2d(1, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), *also, nn.Linear(256, 10)
        self.layers = nn.Sequential(*layers).double()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images.double())
        return logits


class Tied(Exact):
    """Uses its last layer's weights twice."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(256, 10))
        self.layers[-1] = nn.Linear(10, 10).double()
        self.again = self.layers[-1]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.again(super().forward(images))
        return logits


class Hasty(Exact):
    """Branches on the values of its images."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if images.mean() > 0 else super().forward(1 - images)


@pytest.fixture
def builder() -> Builder:
    """Builds the networks of problems."""
    return Builder(small_model, {}, (1, 8, 8), 10, torch.device("cpu"))


@pytest.fixture
def parts(digits: Dataset) -> Callable[..., list[Samples]]:
    """Makes samples of one training set, the last of them one sample shorter."""

    def make(count: int = 3, augment: tuple[str, ...] = ()) -> list[Samples]:
        whole = TrainingSet(digits.train_images[:200], digits.train_labels[:200], Pipeline(augment=augment))
        rows = [torch.randperm(200, generator=seeds.generator(k))[: 70 - (k == count - 1)] for k in range(count)]
        found = [whole.samples(index, "labels", seeds.generator("order", k), "these") for k, index in enumerate(rows)]
        return [part for part in found if part]

    return make


def gap(networks: Sequence[nn.Module], others: Sequence[nn.Module]) -> float:
    """The largest difference between weights or buffers."""
    pairs = [pair for n, o in zip(networks, others, strict=True) for pair in zip(*states(n, o), strict=True)]
    return max(float((mine - other).abs().max()) for mine, other in pairs)


def states(*networks: nn.Module) -> list[list[Tensor]]:
    return [list(network.state_dict().values()) for network in networks]


@pytest.mark.parametrize("augment", [(), PAIR])
def test_batches_of_several_samples_are_those_of_each(
    parts: Callable[..., list[Samples]], augment: tuple[str, ...]
) -> None:
    alone = [list(part.batches(32, 2)) for part in parts(4, augment)[:3]]
    together = list(side_by_side(parts(4, augment)[:3], 32, 2))
    assert [labels.shape[1] for _, labels in together] == [32, 32, 6] * 2
    for step, (images, labels) in enumerate(together):
        for k in range(3):
            assert torch.equal(images[k], alone[k][step].images)
            assert torch.equal(labels[k], alone[k][step].labels)


def test_only_labelled_samples_of_one_training_set_and_length_are_batched_together(
    parts: Callable[..., list[Samples]], digits: Dataset
) -> None:
    with pytest.raises(ValueError, match="of one training set and one length"):
        next(side_by_side(parts(), 32))
    with pytest.raises(ValueError, match="of one training set and one length"):
        next(side_by_side([parts()[0], parts()[0]], 32))
    hidden = TrainingSet(digits.train_images[:9], digits.train_labels[:9]).everything(seeds.generator("o"), "images")
    with pytest.raises(AccessError):
        next(side_by_side([hidden], 4))  # type: ignore[list-item]


@pytest.mark.parametrize("kind", [Exact, Tied])
@pytest.mark.parametrize("recipe", [Recipe(lr=1e-3, epochs=3), Recipe("sgd", lr=0.01, momentum=0.9, epochs=3)])
def test_in_double_precision_it_is_the_same_computation(
    parts: Callable[..., list[Samples]], recipe: Recipe, kind: type[Exact]
) -> None:
    start = [kind() for _ in range(3)]
    together, alone = copy.deepcopy(start), copy.deepcopy(start)
    ends = loop.fit_together(together, parts(), recipe)
    for network, part, end in zip(alone, parts(), ends, strict=True):
        state = loop.fit(network, part, recipe)
        assert end["param_groups"] == state["param_groups"]
        assert end["state"].keys() == state["state"].keys()
        for number, kept in state["state"].items():
            assert end["state"][number].keys() == kept.keys()
            assert all(float((end["state"][number][name] - kept[name]).abs().max()) < 1e-10 for name in kept)
    assert gap(list(together), list(alone)) < 1e-10
    assert gap(list(start), list(alone)) > 1e-2
    assert all(network.training for network in together)


def test_in_single_precision_the_difference_is_rounding(parts: Callable[..., list[Samples]]) -> None:
    """Three steps are too few for rounding errors to grow."""
    builder = Builder(registry.get(Model, "cnn"), {}, (1, 8, 8), 10, torch.device("cpu"))
    recipe = Recipe("sgd", lr=0.02, momentum=0.9, epochs=1)
    together, alone = ([builder.fresh("x", k) for k in range(3)] for _ in range(2))
    loop.fit_together(together, parts(), recipe)
    for network, part in zip(alone, parts(), strict=True):
        loop.fit(network, part, recipe)
    assert gap(list(together), list(alone)) < 1e-6
    assert gap(list(alone), [builder.fresh("x", k) for k in range(3)]) > 1e-2


@pytest.mark.usefixtures("in_float64")
def test_a_method_trains_as_many_networks_at_once_as_there_is_room_for(
    make_problem: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []

    def counted(networks: list[nn.Module], *rest: Any) -> list[dict[str, Any]]:
        at_once.append(len(networks))
        return fit_stacked(networks, *rest)

    monkeypatch.setattr(loop, "fit_stacked", counted)
    access, recipe = Access(retain="labels"), Recipe("sgd", lr=1e-3, momentum=0.9, epochs=9)
    alone = make_problem(access, recipe=recipe)
    third, names = torch.arange(len(alone.retain)) % 3, ["a", "b", "c"]
    parts = [alone.retain.subset(third == k) for k in range(3)]
    usual = [alone.fit(part, None, 2, stream=name) for part, name in zip(parts, names, strict=True)]
    assert gap_of(list(alone.fit_each(parts, names, 2)), usual) == 0
    assert at_once == []
    stacked = make_problem(access, recipe=recipe, room=2)
    found = list(stacked.fit_each(parts, names, 2))
    assert at_once == [2]
    assert list(stacked.fit_each([], [])) == []
    assert gap_of(found, usual) < 1e-10
    continued = [
        [alone.fit(parts[0], n, 1, s) for n, s in trained] for trained in (found, usual)
    ]  # with their optimisers
    assert gap_of(*continued) < 1e-10


def gap_of(*trained: list[tuple[Network, Any]]) -> float:
    return gap(*([network for network, _ in one] for one in trained))


@pytest.mark.usefixtures("in_float64")
def test_shards_are_trained_at_once_if_there_is_room(make_problem: Callable[..., Problem]) -> None:
    recipe, method = Recipe("sgd", lr=1e-3, momentum=0.9, epochs=4), registry.get(Method, "sisa")
    kept = []
    for room in (1, 4):
        problem = make_problem(method.access, "prepare", recipe=recipe, room=room)
        assert method.preparation is not None
        kept.append(method.preparation(problem, shards=3, slices=2))
    assert kept[0].keys() == kept[1].keys()
    assert len([name for name in kept[0] if name.startswith("2.1")]) == 4 + 4  # weights, and the momentum of each
    assert kept[0]["0.0.weights.head.weight"].dtype == torch.float64
    assert max(float((kept[0][name] - kept[1][name]).abs().max()) for name in kept[0]) < 1e-10


@pytest.mark.parametrize(
    ("network", "expected"), [(Exact(), True), (Tied(), True), (Exact(nn.Dropout(0.5)), False), (Hasty(), False)]
)
def test_networks_with_random_numbers_or_branches_cannot_be_stacked(
    parts: Callable[..., list[Samples]], network: nn.Module, expected: bool
) -> None:
    before = copy.deepcopy(network)
    assert loop.can_be_stacked(network, parts()[0], Recipe()) is expected
    assert gap([network], [before]) == 0


def trainings(preset: str | Path, store: Store, device: str, folder: Path, **options: Any) -> list[Training]:
    plan = plan_in(store, folder, preset, device=device, **options)
    return [artefact for artefact in plan.shared if isinstance(artefact, Training)]


def test_a_gpu_trains_small_networks_of_one_shape_at_once(tiny: Path, cache: Path, tmp_path: Path) -> None:
    def jobs(device: str, **options: object) -> list[Training]:
        return trainings(tiny, Store(tmp_path), device, tmp_path, **options)

    one_by_one, together = jobs("cpu", seeds=range(4)), jobs("cuda", seeds=range(4))
    assert not any(job.beside for job in one_by_one)
    assert {job.kind: 1 + len(job.beside) for job in together} == {"original": 8, "shadow": 4}  # with noisy labels, too
    assert sum(1 + len(job.beside) for job in together) == len(one_by_one)
    assert sum(job.total_ep for job in together) == pytest.approx(sum(job.ep for job in one_by_one))
    assert any(str(job).endswith("seed 0 and 7 more") for job in together)
    many = jobs("cuda", seeds=range(20), tasks=["data-removal"], methods=["original"])
    assert sorted(1 + len(job.beside) for job in many if job.kind == "original") == [20 - MOST, MOST]


def test_a_network_that_keeps_a_gpu_busy_is_trained_alone(tiny: Path, cache: Path, tmp_path: Path) -> None:
    preset = tmp_path / "large.toml"
    preset.write_text(tiny.read_text().replace("[recipe]", "[recipe]\nresize = 224"))
    jobs = trainings(preset, Store(cache), "cuda", tmp_path, seeds=range(3))
    assert len(jobs) > 3
    assert not any(job.beside for job in jobs)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("kind", "shadow"), [("original", None), ("shadow", None), ("original", 0)])
def test_artefacts_that_are_made_together_are_kept_under_their_own_keys(
    kind: str, shadow: int | None, tenth: Path, cache: Path, tmp_path: Path
) -> None:
    """Artefacts that a plan for a GPU makes together equal those that are made one by one."""
    preset = tmp_path / "small.toml"
    preset.write_text(tenth.read_text().replace("held_out", "resize = 14\nheld_out"))
    found = trainings(preset, Store(cache), "cuda", tmp_path, seeds=[0, 1, 2], shadow=shadow)
    group = next(on_cpu(job) for job in found if job.kind == kind)
    together, alone = WorkerContext(Store(tmp_path / "together")), WorkerContext(Store(tmp_path / "alone"))
    together.get(group)
    for job in (group, *group.beside):
        assert together.store.has(job.key)
        mine, info = together.get(job)
        other, _ = alone.get(replace(job, beside=()))
        assert mine.keys() == other.keys()
        for name, tensor in mine.items():
            assert tensor.dtype in (torch.float64, torch.bool)
            assert torch.allclose(tensor.double(), other[name].double(), rtol=0, atol=1e-10), name
        assert info["images/s"] > 0
    assert len(group.beside) >= 3


def on_cpu(job: Training) -> Training:
    beside = [replace(other, scenario=replace(other.scenario, device="cpu")) for other in job.beside]
    return replace(job, scenario=replace(job.scenario, device="cpu"), beside=beside)


def preset_of(model: str, folder: Path) -> str:
    path = folder / f"{model}.toml"
    path.write_text(
        'shadows = 2\n[select]\nmethods = ["original"]\ntasks = ["data-removal"]\n'
        f'[recipe]\nlr = 2e-3\nepochs = 1\n[datasets.digits-8x8]\nmodel = "{model}"\n'
    )
    return str(path)


def group_of(kind: str, preset: Path, cache: Path, folder: Path) -> Training:
    found = trainings(preset, Store(cache), "cuda", folder, seeds=[0, 1])
    return next(on_cpu(job) for job in found if job.kind == kind)


def test_artefacts_that_exist_by_now_are_kept_and_the_others_are_made(tenth: Path, cache: Path, tmp_path: Path) -> None:
    group, store = group_of("original", tenth, cache, tmp_path), Store(tmp_path / "made")
    first, second = replace(group, beside=()), group.beside[0]
    for job in (first, second):
        store.save(job.key, {"marked": torch.zeros(1)}, {})
    assert make_artefact(group, store)[0] == "made"
    assert all(store.has(job.key) for job in group.beside)
    for job in (first, second):
        made = store.load(job.key)
        assert made is not None
        assert made[0].keys() == {"marked"}
    assert make_artefact(group, store)[0] == "made"  # with nothing left to make


def test_a_network_that_diverges_does_not_affect_those_trained_with_it(
    tenth: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, store = group_of("shadow", tenth, cache, tmp_path), Store(tmp_path / "made")
    calls: list[int] = []

    def diverging(*arguments: Any) -> Tensor:
        calls.append(1)
        return predict(*arguments) * (torch.nan if len(calls) in (1, 2) else 1)

    monkeypatch.setattr(loop, "predict", diverging)
    status, reason, _ = make_artefact(group, store)
    assert (status, reason) == (
        "diverged",
        "FloatingPointError: shadow model 0 gives outputs that are not finite: it diverged",
    )
    first, second, *others = (group, *group.beside)
    assert not store.has(first.key)
    assert not store.has(second.key)
    assert len(others) >= 2
    assert all(store.has(job.key) for job in others)


def test_a_network_that_branches_on_values_is_trained_alone_and_without_counting(
    install: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    install("haste", HASTY, "[unlearnbench.models]\nhasty = haste:hasty\n")
    found = trainings(preset_of("hasty", tmp_path), Store(cache), "cuda", tmp_path, seeds=[0, 1])
    assert not any(job.beside for job in found)
    made, info = WorkerContext(Store(tmp_path / "made")).get(on_cpu(found[0]))
    assert made
    assert info.keys() == {"seconds", "images/s"}


def test_random_numbers_within_a_network_are_of_its_own_stream(
    install: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    install("lottery", CHANCE, "[unlearnbench.models]\nchance = lottery:chance\n")
    found = trainings(preset_of("chance", tmp_path), Store(cache), "cuda", tmp_path, seeds=[0, 1])
    group = next(on_cpu(job) for job in found if job.kind == "original")
    assert len(group.beside) == 1
    together, alone = WorkerContext(Store(tmp_path / "together")), WorkerContext(Store(tmp_path / "alone"))
    together.get(group)
    for job in (*reversed(group.beside), group):  # in whatever order, and whatever was drawn before
        torch.rand(1)
        for name, tensor in alone.get(replace(job, beside=()))[0].items():
            assert torch.equal(tensor, together.get(job)[0][name])
