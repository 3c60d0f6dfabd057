"""Each method gives the same weights as an independent, step-by-step implementation of its algorithm.

Everything is computed in float64, where rounding errors stay small on every processor.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unlearnbench import Network, Problem, Samples, concat, model, unpacked
from unlearnbench.methods import laf
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

pytestmark = pytest.mark.usefixtures("in_float64")

MakeProblem = Callable[..., Problem]
Made = tuple[Any, Problem, Network]


@model(title="Small")
def small_convolutional(shape: tuple[int, int, int], num_classes: int) -> Network:
    """A small network: the methods do the same with any."""
    layers = nn.Conv2d(shape[0], 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 32)
    return Network(nn.Sequential(*layers), nn.Sequential(nn.ReLU(), nn.Linear(32, num_classes)), "head.1")


@pytest.fixture(scope="module")
def builder() -> Builder:
    return Builder(small_convolutional, {}, (1, 8, 8), 10, torch.device("cpu"))


@pytest.fixture(scope="module")
def original(digits: Dataset, builder: Builder) -> Network:
    """A network that is trained only a little, so that gradients are not small."""
    network = builder.fresh("original")
    samples = TrainingSet(digits.train_images[:300], digits.train_labels[:300]).everything(seeds.generator("order"))
    assert samples is not None
    loop.fit(network, samples, Recipe(lr=2e-3, epochs=2))
    return network


@pytest.fixture
def unlearned(make_problem: MakeProblem, original: Network) -> Callable[..., Made]:
    """Runs a method; returns its result, the same problem again, and a copy of the original."""
    original = copy.deepcopy(original).double()

    def make(name: str, **options: Any) -> Made:
        method = registry.get(Method, name)
        hyperparameters = method.resolve(name, options)
        prepared: dict[str, Tensor] = {}
        if method.preparation:
            before = make_problem(method.access, "prepare", original=copy.deepcopy(original))
            with seeds.pinned("test"):
                prepared = method.preparation(before, **method.preparing(hyperparameters))
        problems = [make_problem(method.access, original=copy.deepcopy(original), prepared=prepared) for _ in range(2)]
        with seeds.pinned("test"):
            network = method.unlearn(problems[0], hyperparameters)
        return network, problems[1], copy.deepcopy(original).requires_grad_(True)

    return make


def same(result: nn.Module, expected: nn.Module) -> None:
    """Asserts that two networks have the same weights, up to rounding."""
    mine, theirs = dict(result.named_parameters()), dict(expected.named_parameters())
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert tensor.dtype == torch.float64
        assert torch.allclose(mine[name], tensor, rtol=0, atol=1e-9), name


def likeliest_other(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The most probable class other than the label, written out."""
    classes = []
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        classes.append(max((value, index) for index, value in enumerate(row) if index != label)[1])
    return torch.tensor(classes)


def nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, written out."""
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    return -torch.stack([row[label] for row, label in zip(log_p, labels.tolist(), strict=True)]).mean()


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student), written out."""
    p, q = torch.softmax(teacher / temperature, 1), torch.softmax(student / temperature, 1)
    return temperature**2 * (p * (p / q).log()).sum(1).mean()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_boundary(unlearned: Callable[..., Made]) -> None:
    """The target is the most probable other class after one step of FGSM, in whole levels of grey."""
    options = {"eps": 0.3, "lr": 0.02, "momentum": 0.9, "epochs": 2, "batch": 16}
    result, problem, network = unlearned("boundary", **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, fused=True)
    moved = 0
    for _ in range(2):
        for batch in problem.forget.batches(16):
            images = batch.images.clone().requires_grad_(True)
            nll(problem.original(images), batch.labels).backward()
            assert images.grad is not None
            crossed = images.detach() + 0.3 * torch.sign(images.grad)
            crossed = torch.round(torch.clamp(crossed, 0, 1) * 255) / 255
            probabilities = [problem.original(x).softmax(1) for x in (crossed, batch.images)]
            targets, without_change = (likeliest_other(each, batch.labels) for each in probabilities)
            moved += int((targets != without_change).sum())
            descend(optimizer, nll(network(batch.images), targets))
    assert moved > 5  # the changed image is used, not the image
    same(result, network)


def test_boundary_expand(unlearned: Callable[..., Made]) -> None:
    """All forgotten images are trained into an additional class, which is then removed."""
    result, problem, network = unlearned("boundary-expand", lr=0.02, momentum=0.9, epochs=2, batch=16)
    with seeds.pinned("test"):
        extra = nn.Linear(32, 11)
    body, last = nn.Sequential(network.features, network.head[0]), network.head[1]
    weight = torch.cat([last.weight.detach(), extra.weight.detach()[10:]]).requires_grad_(True)
    bias = torch.cat([last.bias.detach(), extra.bias.detach()[10:]]).requires_grad_(True)
    optimizer = torch.optim.SGD([*body.parameters(), weight, bias], lr=0.02, momentum=0.9, fused=True)
    for _ in range(2):
        for batch in problem.forget.batches(16):
            logits = body(batch.images) @ weight.T + bias
            descend(optimizer, nll(logits, torch.full((len(batch),), 10)))
    with torch.no_grad():
        last.weight.copy_(weight[:10])
        last.bias.copy_(bias[:10])
    same(result, network)


def test_neggrad_plus(unlearned: Callable[..., Made]) -> None:
    result, problem, network = unlearned("neggrad-plus", beta=0.8, lr=1e-3, epochs=2, batch=32)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def forever() -> Iterator[Any]:
        while True:
            yield from problem.forget.batches(32)

    forgotten = forever()
    for _ in range(2):
        for retain in problem.retain.batches(32):
            forget = next(forgotten)
            loss = 0.8 * nll(network(retain.images), retain.labels) - 0.2 * nll(network(forget.images), forget.labels)
            descend(optimizer, loss)
    same(result, network)


def test_scrub(unlearned: Callable[..., Made]) -> None:
    """The first epochs of descent are preceded by an epoch of ascent each."""
    options = {"lr": 3e-4, "max_epochs": 2, "epochs": 3, "forget_batch": 16, "alpha": 0.7, "gamma": 0.9}
    result, problem, network = unlearned("scrub", **options, temperature=3.0, weight_decay=0.01)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4, weight_decay=0.01, fused=True)
    for epoch in range(3):
        if epoch in (0, 1):
            for forget in problem.forget.batches(16):
                descend(optimizer, -divergence(problem.original(forget.images), network(forget.images), 3.0))
        for retain in problem.retain.batches(32):
            logits = network(retain.images)
            distillation = divergence(problem.original(retain.images), logits, 3.0)
            descend(optimizer, 0.9 * nll(logits, retain.labels) + 0.7 * distillation)
    same(result, network)


def test_t_s(unlearned: Callable[..., Made]) -> None:
    """The target is the original's output on part of the retain set, an untrained network's on the forget set."""
    result, problem, network = unlearned("t-s", fraction=0.5, temperature=2.0, lr=1e-3, epochs=2, batch=32)
    bad = problem.fresh_network("incompetent teacher")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    kept = problem.retain.sample(130)
    forgotten = set(problem.forget.index.tolist())
    for _ in range(2):
        for batch in concat(kept, problem.forget).batches(32):
            teachers = [bad if i in forgotten else problem.original for i in batch.index.tolist()]
            taught = torch.stack([t(x[None])[0].detach() for t, x in zip(teachers, batch.images, strict=True)])
            descend(optimizer, divergence(taught, network(batch.images), 2.0) / 4)  # the method has no square
    same(result, network)


def test_unrolling_first(unlearned: Callable[..., Made]) -> None:
    """Steps on the forget set, then on the retain set; then the former are added back."""
    result, problem, network = unlearned("unrolling-first", lr=0.05, epochs=2, multiple=1.5, batch=16)
    steps: list[list[Tensor]] = []
    batches = [("forget", problem.forget, 1), ("retain", problem.retain, 2)]
    for part, samples, epochs in batches:
        for batch in samples.batches(16, epochs):
            slopes = torch.autograd.grad(nll(network(batch.images), batch.labels), list(network.parameters()))
            with torch.no_grad():
                for weights, slope in zip(network.parameters(), slopes, strict=True):
                    weights -= 0.05 * slope
            if part == "forget":
                steps.append([0.05 * slope for slope in slopes])
    with torch.no_grad():
        for weights, *parts in zip(network.parameters(), *steps, strict=True):
            weights += 1.5 * torch.stack(parts).sum(0)
    assert len(steps) == 3
    same(result, network)


@pytest.mark.parametrize("name", ["laf", "laf-none-l2"])
def test_laf_with_and_without_its_second_loss(name: str, unlearned: Callable[..., Made]) -> None:
    """Algorithm 1: h rebuilds retained embeddings, h_f forgotten ones; one step on each loss for every batch."""
    options = {"vae_epochs": 2, "epochs": 2, "lr_unlearn": 1e-3, "lr_align": 2e-3, "tau": 4.0}
    options = {k: v for k, v in options.items() if k in registry.get(Method, name).defaults}
    result, problem, network = unlearned(name, **options)
    extractor = network.features
    with seeds.pinned("test"):
        h = laf.prepared_vae(problem, 8)
        h_f = laf.fit_vae(problem, problem.forget, 8, 2, 1e-3)
        assert not torch.equal(h.mean.weight, h_f.mean.weight)
        first, second = (torch.optim.Adam(extractor.parameters(), lr=lr) for lr in (1e-3, 2e-3))

        def phi(embeddings: Tensor, vae: laf.VAE) -> Tensor:
            residual = ((embeddings - vae(embeddings)[0]) ** 2).sum(1)
            return (residual / (residual + 1)).exp().sum()

        def distances(images: Tensor) -> Tensor:
            new, old = extractor(images), problem.original.features(images)
            return 1 - (new * old).sum(1) / (new.norm(dim=1) * old.norm(dim=1))

        for _ in range(2):
            for f, r in zip(problem.forget.batches(32), problem.retain.batches(32), strict=False):
                descend(first, phi(extractor(r.images), h) - phi(extractor(f.images), h_f))
                if name != "laf-none-l2":
                    apart, away = distances(r.images), distances(f.images)
                    descend(second, apart.sum() - len(apart) * (away / 4.0).exp().sum().log())
    same(result, network)


def test_laf_without_its_first_loss(unlearned: Callable[..., Made]) -> None:
    result, problem, network = unlearned("laf-none-l1", epochs=2, lr_align=2e-3, tau=4.0)
    optimizer = torch.optim.Adam(network.features.parameters(), lr=2e-3, fused=True)
    for _ in range(2):
        for f, r in zip(problem.forget.batches(32), problem.retain.batches(32), strict=False):
            descend(optimizer, laf.alignment_loss(problem, network, r, f, 4.0))
    same(result, network)


def test_the_vae_draws_its_latent() -> None:
    vae = laf.VAE(6, 3)
    embeddings = torch.rand(4, 6)
    torch.manual_seed(0)
    rebuilt, mean, deviation = vae(embeddings)
    torch.manual_seed(0)
    latent = mean + deviation * torch.randn(4, 3)
    assert torch.allclose(rebuilt, vae.decoder(latent))
    assert not torch.allclose(rebuilt, vae.decoder(mean))


@pytest.mark.parametrize("name", ["laf", "laf-none-l1", "laf-none-l2"])
def test_laf_leaves_the_statistics_of_batchnorm_alone(name: str, make_problem: MakeProblem) -> None:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16))
    network = Network(features, nn.Linear(16, 10), "head")
    method = registry.get(Method, name)
    options = {"epochs": 1, "vae_epochs": 1, "latent": 2}
    options = method.resolve(name, {k: v for k, v in options.items() if k in method.defaults})
    prepared: dict[str, Tensor] = {}
    if method.preparation:
        before = make_problem(method.access, "prepare", original=copy.deepcopy(network))
        prepared = method.preparation(before, **method.preparing(options))
    problem = make_problem(method.access, original=copy.deepcopy(network), prepared=prepared)
    result = method.unlearn(problem, options)
    assert isinstance(result, Network)
    assert torch.equal(result.features[2].running_mean, torch.zeros(16))
    assert not torch.equal(result.features[1].weight, network.features[1].weight)


def test_sisa_goes_back_to_before_the_first_forgotten_sample(unlearned: Callable[..., Made]) -> None:
    """Each shard continues from the checkpoint before its first affected slice, without the forgotten samples."""
    shards, slices = 20, 4
    result, problem, _ = unlearned("sisa", shards=shards, slices=slices)
    part, forgotten = problem.prepared["part"], problem.forget.index
    epochs = [0, 1, 0, 1]  # of one epoch 2 / 5 for each slice, rounded as it adds up
    firsts = []
    for shard in range(shards):
        hit = [int(part[i]) - shard * slices for i in forgotten if 0 <= int(part[i]) - shard * slices < slices]
        first = min(hit, default=slices)
        firsts.append(first)
        network, state = unpacked(f"{shard}.{first - 1}", problem.prepared, problem) if first else (None, None)
        for stage in range(first, slices):
            place = part[problem.retain.index]
            seen = problem.retain.subset((place >= shard * slices) & (place <= shard * slices + stage))
            network, state = problem.fit(seen, network, epochs[stage], state, stream=f"shard {shard}, slice {stage}")
        assert network is not None
        same(result.networks[shard], network)
    assert len(set(firsts)) > 2


@pytest.mark.parametrize(("slices", "expected"), [(1, [20]), (4, [8, 8, 8, 8]), (3, [10, 10, 10])])
def test_a_sliced_shard_costs_what_a_whole_one_would(
    slices: int, expected: list[int], make_problem: MakeProblem, original: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[tuple[int, int]] = []

    def note(self: Problem, samples: Samples, network: Any, epochs: int, *_: Any, **__: Any) -> Any:
        spent.append((len(samples), epochs))
        return self.fresh_network(), {"state": {}}

    monkeypatch.setattr(Problem, "fit", note)
    method = registry.get(Method, "sisa")
    problem = make_problem(method.access, "prepare", original=copy.deepcopy(original), recipe=Recipe(epochs=20))
    assert method.preparation is not None
    method.preparation(problem, shards=2, slices=slices)
    assert [epochs for _, epochs in spent] == expected * 2
    assert sum(samples * epochs for samples, epochs in spent) == pytest.approx(20 * 300, rel=0.02)


def test_sham_moves_every_tensor_as_far_as_laf_did_but_elsewhere(make_problem: MakeProblem, original: Network) -> None:
    sham, start = registry.get(Method, "sham"), copy.deepcopy(original)
    with torch.no_grad():
        for number, weights in enumerate(start.parameters()):
            weights.add_(torch.full_like(weights, 0.01 * number))
    network = sham.unlearn(make_problem(sham.access, original=copy.deepcopy(original), start=start), {})
    for number, (after, before) in enumerate(zip(network.parameters(), original.parameters(), strict=True)):
        change = (after - before).double()
        assert change.square().mean().sqrt().item() == pytest.approx(0.01 * number, rel=0.5)  # the smallest has 10
        assert change.numel() < 1000 or change.std().item() == pytest.approx(0.01 * number, rel=0.05)
        assert number == 0 or abs(change.mean().item()) < 0.01 * number * 4 / change.numel() ** 0.5
