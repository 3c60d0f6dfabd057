"""The methods of the field give the same weights as an independent implementation, step by step in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from unlearnbench import AccessError, Network, NotApplicableError, Problem, concat, model
from unlearnbench.methods import cf_k
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
SGD = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.01}


@model(title="Small")
def small(shape: tuple[int, int, int], num_classes: int) -> Network:
    """Two convolutions, one of them with batch normalisation, and two linear layers.

    No bias before the normalisation, which removes it: Adam would divide a gradient that is rounding alone by its size.
    """
    first = nn.Conv2d(shape[0], 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten()
    return Network(nn.Sequential(*first, *second, nn.Linear(16, 12)), nn.Linear(12, num_classes), "head")


@model(title="Flat")
def flat(shape: tuple[int, int, int], num_classes: int) -> Network:
    """No convolution."""
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 12)), nn.Linear(12, num_classes), "head")


@pytest.fixture
def builder(digits: Dataset) -> Builder:
    return Builder(small, {}, digits.shape, 10, torch.device("cpu"))


@pytest.fixture
def original(digits: Dataset, builder: Builder) -> Network:
    """A network that is trained only a little, so that gradients are not small."""
    network = builder.fresh("original")
    samples = TrainingSet(digits.train_images[:300], digits.train_labels[:300]).everything(seeds.generator("order"))
    assert samples is not None
    loop.fit(network, samples, Recipe(lr=1e-2, epochs=4))
    return network.double()


class Made(NamedTuple):
    """The result of a method; its problems, as they were; and a copy of the original that can learn."""

    result: Network
    problem: Problem
    before: Problem | None
    network: Network


@pytest.fixture
def unlearned(make_problem: MakeProblem, original: Network) -> Callable[..., Made]:
    """Runs a method."""

    def make(name: str, **options: Any) -> Made:
        method = registry.get(Method, name)
        hyperparameters = method.resolve(name, options)
        prepared: dict[str, Tensor] = {}
        before = None
        if method.preparation:
            first, before = (make_problem(method.access, "prepare", original=copy.deepcopy(original)) for _ in range(2))
            prepared = method.preparation(first, **method.preparing(hyperparameters))
        first, again = (
            make_problem(method.access, original=copy.deepcopy(original), prepared=prepared) for _ in range(2)
        )
        with seeds.pinned("test"):
            network = method.unlearn(first, hyperparameters)
        assert isinstance(network, Network)
        return Made(network, again, before, copy.deepcopy(original).requires_grad_(True).train())

    return make


class Momentum:
    """SGD with momentum and weight decay, written out."""

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float, weight_decay: float = 0.0) -> None:
        self.weights = list(weights)
        self.velocity = [torch.zeros_like(w) for w in self.weights]
        self.lr, self.momentum, self.decay = lr, momentum, weight_decay

    def step(self, loss: Tensor, scales: dict[int, Tensor] | None = None) -> None:
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for i, (weights, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
                scaled = gradient * (scales or {}).get(id(weights), torch.ones(()))
                self.velocity[i] = self.momentum * self.velocity[i] + scaled + self.decay * weights
                weights -= self.lr * self.velocity[i]


class Adam:
    """Adam, written out; `decay` shrinks weights as AdamW does."""

    def __init__(self, weights: Iterable[Tensor], lr: float, decay: float = 0.0) -> None:
        self.weights = list(weights)
        self.moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in self.weights]
        self.lr, self.decay, self.steps = lr, decay, 0

    def step(self, loss: Tensor) -> None:
        self.steps += 1
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for i, (weights, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
                first = 0.9 * self.moments[i][0] + 0.1 * gradient
                second = 0.999 * self.moments[i][1] + 0.001 * gradient**2
                self.moments[i] = first, second
                weights *= 1 - self.lr * self.decay
                size = (second / (1 - 0.999**self.steps)).sqrt() + 1e-8
                weights -= self.lr * first / (1 - 0.9**self.steps) / size


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, written out."""
    return logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]


def nll(network: nn.Module, batch: Any) -> Tensor:
    return losses(network(batch.images), batch.labels).mean()


def same(result: nn.Module, expected: nn.Module) -> None:
    """Asserts that two networks have the same weights and statistics, up to rounding."""
    mine, theirs = result.state_dict(), expected.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert tensor.dtype in (torch.float64, torch.int64)
        assert torch.allclose(mine[name], tensor, rtol=0, atol=1e-8), name


def changed(network: nn.Module, original: nn.Module) -> Tensor:
    """For all weights: which differ from the original's."""
    pairs = zip(network.parameters(), original.parameters(), strict=True)
    return torch.cat([(new != old).flatten() for new, old in pairs])


@pytest.mark.parametrize("name", ["ssd", "lfssd"])
def test_ssd_dampens_what_matters_to_the_forget_set(name: str, unlearned: Callable[..., Made]) -> None:
    """For SSD squared gradients of the loss; for LFSSD absolute ones of the outputs' squared length, without labels."""
    alpha = 2.0 if name == "ssd" else 1.4
    result, problem, before, network = unlearned(name, alpha=alpha, dampening=0.7, batch=32)
    network.eval()

    def importance(samples: Any) -> list[Tensor]:
        sums, batches = [torch.zeros_like(w) for w in network.parameters()], 0
        for batch in samples.batches(32):
            outputs = network(batch.images)
            loss = losses(outputs, batch.labels).mean() if name == "ssd" else (outputs**2).sum() / len(batch)
            for total, gradient in zip(sums, torch.autograd.grad(loss, list(network.parameters())), strict=True):
                total += gradient**2 if name == "ssd" else gradient.abs()
            batches += 1
        return [total / batches for total in sums]

    assert before is not None
    assert before.train.has_labels == problem.forget.has_labels == (name == "ssd")
    everything, forgotten = importance(before.train), importance(problem.forget)
    with torch.no_grad():
        for weights, of_all, of_forgotten in zip(network.parameters(), everything, forgotten, strict=True):
            for place in torch.nonzero(of_forgotten > alpha * of_all):
                index = tuple(place.tolist())
                weights[index] *= min(0.7 * float(of_all[index]) / float(of_forgotten[index]), 1.0)
    same(result, network)
    assert 0.01 < float(changed(result, problem.original).double().mean()) < 0.9


def information(network: nn.Module, images: Tensor, labels: int) -> dict[str, Tensor]:
    """The diagonal of the Fisher matrix, from the Jacobian of all log-probabilities at once."""
    weights = {name: tensor.detach() for name, tensor in network.named_parameters()}

    def log_p(values: dict[str, Tensor]) -> Tensor:
        return torch.log_softmax(torch.func.functional_call(network, values, (images,)), dim=1)

    jacobian, p = torch.func.jacrev(log_p)(weights), log_p(weights).exp()
    counted = torch.where(p >= p.sort(dim=1, descending=True).values[:, [labels - 1]], p, 0.0)
    return {name: torch.einsum("nc,nc...->...", counted, rows**2) / len(images) for name, rows in jacobian.items()}


@pytest.mark.parametrize("labels", [10, 3])
@pytest.mark.parametrize("name", ["fisher", "fisher-head"])
def test_fisher_adds_noise_where_the_retain_set_has_little_information(
    name: str, labels: int, unlearned: Callable[..., Made]
) -> None:
    result, problem, _, network = unlearned(name, alpha=1e-3, labels=labels, share=0.1)
    samples = problem.retain.sample(round(0.1 * len(problem.retain)))
    assert not samples.has_labels
    values = information(network.eval(), samples.images, labels)
    with torch.no_grad():
        for part, weights in network.named_parameters():
            limit = 1e2 if part.startswith("head") else 1e3
            variance = 1e-3 * torch.minimum(1 / (values[part] + 1e-8), torch.tensor(limit))
            if weights.ndim > 1:
                variance = torch.stack([variance.mean(1)] * weights.shape[1], dim=1)
            if name == "fisher-head" and part.startswith("head"):
                weights[5], variance[5] = 0.0, 1e-4
            if part.startswith("head") or weights.ndim == 1:
                variance = variance * 10
            weights += variance.sqrt() * torch.randn(weights.shape, generator=problem.generator)
    same(result, network)


def test_fisher_head_is_told_the_class_and_sees_no_forgotten_image(unlearned: Callable[..., Made]) -> None:
    result, problem, _, _ = unlearned("fisher-head", alpha=0.0, labels=1, share=0.01)
    assert problem.forgotten_classes.tolist() == [5]
    with pytest.raises(AccessError, match=r"problem\.forget is not accessible"):
        _ = problem.forget
    new, old = result.head.weight.detach(), problem.original.head.weight.detach()
    assert torch.equal(new[:5], old[:5])
    assert float(new[5].abs().max()) < 0.2 < float(old[5].abs().max())


@pytest.mark.parametrize(("layers", "first"), [(1, "head"), (2, "features.7"), (3, "features.4")])
def test_cf_k_trains_the_last_layers_only(layers: int, first: str, unlearned: Callable[..., Made]) -> None:
    result, problem, _, network = unlearned("cf-k", layers=layers, lr=0.02, momentum=0.8, epochs=2, batch=64)
    names = [name for name, _ in network.named_parameters()]
    trained = names[next(place for place, name in enumerate(names) if name.startswith(first)) :]
    optimizer = Momentum([dict(network.named_parameters())[name] for name in trained], 0.02, 0.8)
    network.eval()  # frozen normalisation keeps its statistics; the layers that are trained have none
    for batch in problem.retain.batches(64, 2):
        optimizer.step(nll(network, batch))
    same(result, network)


def test_the_last_layers_come_with_the_normalisation_behind_them() -> None:
    network = small.build((1, 8, 8), 10)
    convolution, normalisation = network.features[0], network.features[1]
    assert cf_k.last_layers(network, 3) == [network.features[4], network.features[7], network.head]
    for number in (4, 9):
        assert cf_k.last_layers(network, number)[:2] == [convolution, normalisation]


def test_eu_k_trains_the_last_layers_from_scratch_by_the_recipe(unlearned: Callable[..., Made]) -> None:
    result, problem, _, network = unlearned("eu-k", layers=2)
    fresh = problem.fresh_network("eu-k")
    network.features[7].load_state_dict(fresh.features[7].state_dict())
    network.head.load_state_dict(fresh.head.state_dict())
    recipe = problem.recipe
    trained = [*network.features[7].parameters(), *network.head.parameters()]
    optimizer = torch.optim.Adam(trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    ordered = problem.retain.shuffled_by(seeds.generator("test", "eu-k", "order"))
    for batch in ordered.batches(recipe.batch):
        optimizer.zero_grad()
        nll(network, batch).backward()
        optimizer.step()
    same(result, network)
    assert not torch.allclose(result.head.weight, fresh.head.weight)


def test_unsir_impairs_with_noise_and_repairs(unlearned: Callable[..., Made]) -> None:
    options = {"share": 0.5, "noise": 0.1, "mix": 0.5, "steps": 4, "penalty": 0.2, "lr_noise": 0.05}
    result, problem, _, network = unlearned("unsir", **options, lr_impair=0.003, lr_repair=0.002, batch=40)
    retain = problem.retain.sample(round(0.5 * len(problem.retain)))
    count = round(0.1 * len(retain))
    assert count > 5
    noise = torch.randn(count, 1, 8, 8, generator=problem.generator).requires_grad_(True)
    label = torch.full((count,), 5)
    maximiser = Adam([noise], 0.05)
    errors = [losses(problem.original(noise), label).mean().item()]
    for _ in range(4):
        maximiser.step(0.2 * (noise**2).sum() / count - losses(problem.original(noise), label).mean())
    errors.append(losses(problem.original(noise), label).mean().item())
    optimizer = Adam(network.parameters(), 0.003)
    for batch in retain.batches(40):
        drawn = torch.randint(count, (round(0.5 * len(batch)),), generator=problem.generator)
        images = torch.cat([batch.images, noise.detach()[drawn]])
        optimizer.step(losses(network(images), torch.cat([batch.labels, label[drawn]])).mean())
    optimizer = Adam(network.parameters(), 0.002)
    for batch in retain.batches(40):
        optimizer.step(nll(network, batch))
    same(result, network)
    assert errors[0] != errors[1]


def test_the_noise_of_unsir_raises_the_error_of_the_original(unlearned: Callable[..., Made]) -> None:
    from unlearnbench.methods.unsir import error_maximising

    _, problem, _, _ = unlearned("unsir")
    label = torch.full((20,), 5)
    loud, quiet = (error_maximising(problem, problem.retain, label, 60, penalty, 0.1) for penalty in (0.0, 10.0))
    before = error_maximising(problem, problem.retain, label, 0, 0.0, 0.1)
    errors = [float(losses(problem.original(noise), label).mean()) for noise in (before, loud)]
    assert errors[1] > errors[0] + 1
    assert float(quiet.square().sum()) < 0.2 * float(loud.square().sum())


def test_lotus_softens_forgotten_outputs_by_how_much_the_forget_set_is_known(unlearned: Callable[..., Made]) -> None:
    options = {"unseen": 0.1, "alpha": 3.0, "fraction": 0.5, "lr": 2e-3, "weight_decay": 0.1, "epochs": 3, "batch": 50}
    result, problem, _, network = unlearned("lotus", **options)
    retain = problem.retain.sample(130)
    optimizer, temperatures = Adam(network.parameters(), 2e-3, 0.1), []
    for _ in range(3):
        network.eval()
        right = (network(problem.forget.images).argmax(1) == problem.forget.labels).sum()
        if int(right) / 40 - 0.1 <= -0.01:
            break
        temperatures.append(math.exp(3.0 * (int(right) / 40 - 0.1)))
        network.train()
        for batch in concat(retain, problem.forget).batches(50):
            uniform = torch.rand(len(batch), 10, generator=problem.generator)
            noisy = problem.original(batch.images) - torch.log(-torch.log(uniform))
            rows = []
            for row, is_forgotten in zip(noisy.detach(), batch.source.tolist(), strict=True):
                softened = torch.softmax(row / temperatures[-1], 0)
                rows.append(softened if is_forgotten else torch.eye(10)[int(row.argmax())])
            log_p = torch.log_softmax(network(batch.images), 1)
            optimizer.step(-(torch.stack(rows) * log_p).sum() / len(batch))
    same(result, network)
    assert len(set(temperatures)) > 1
    assert not retain.has_labels


def test_lotus_ends_when_the_forget_set_is_no_better_known_than_unseen_samples(unlearned: Callable[..., Made]) -> None:
    result, problem, _, _ = unlearned("lotus", unseen=1.0)
    assert float((problem.original(problem.forget.images).argmax(1) == problem.forget.labels).double().mean()) < 0.99
    same(result, problem.original)


def test_msg_draws_weights_with_small_gradients_anew(unlearned: Callable[..., Made]) -> None:
    """Rates of five epochs are 1/3, 2/3, 1, 2/3, 1/3; gradients of kept weights count a tenth."""
    result, problem, _, network = unlearned("msg", **SGD, share=0.4, kept=0.1, epochs=5, batch=32)
    convolutions, total = [network.features[0], network.features[4]], torch.zeros(())
    network.eval()
    for sign, samples in ((1, problem.retain.sample(40)), (-1, problem.forget)):
        for batch in samples.batches(32):
            total = total + sign * nll(network, batch)
    gradients = torch.autograd.grad(total, [layer.weight for layer in convolutions])
    network.train()
    scales = {}
    for layer, gradient in zip(convolutions, gradients, strict=True):
        limit = gradient.abs().flatten().sort().values[round(0.4 * gradient.numel()) - 1]
        is_new = gradient.abs() <= limit
        deviation = math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size)))
        fresh = torch.empty(gradient.shape).normal_(0, deviation, generator=problem.generator)
        with torch.no_grad():
            layer.weight[is_new] = fresh[is_new]
        scales[id(layer.weight)] = torch.where(is_new, 1.0, 0.1)
    optimizer = Momentum(network.parameters(), **SGD)
    for rate in (1 / 3, 2 / 3, 1, 2 / 3, 1 / 3):
        optimizer.lr = SGD["lr"] * rate
        for batch in problem.retain.batches(32):
            optimizer.step(nll(network, batch), scales)
    same(result, network)


def test_ct_transposes_kernels_and_trains(unlearned: Callable[..., Made]) -> None:
    result, problem, _, network = unlearned("ct", **SGD, epochs=3, batch=64)
    with torch.no_grad():
        for layer in (network.features[0], network.features[4]):
            for kernels in layer.weight:
                for kernel in kernels:
                    kernel.copy_(kernel.T.clone())
    optimizer = Momentum(network.parameters(), **SGD)
    for rate in (1, 0.75, 0.25):
        optimizer.lr = SGD["lr"] * rate
        for batch in problem.retain.batches(64):
            optimizer.step(nll(network, batch))
    same(result, network)


def test_fanchuan_goes_to_uniform_outputs_then_contrasts_and_repairs(unlearned: Callable[..., Made]) -> None:
    options = {"lr": 0.02, "lr_forget": 0.01, "lr_retain": 0.03, "momentum": 0.8, "weight_decay": 0.01}
    result, problem, _, network = unlearned("fanchuan", **options, temperature=2.0, epochs=2, batch=32)
    optimizer = Momentum(network.parameters(), 0.02, 0.8)
    for batch in problem.forget.batches(32):
        p = torch.softmax(network(batch.images), 1)
        optimizer.step((0.1 * (0.1 / p).log()).sum(1).mean())
    contrast, repair = Momentum(network.parameters(), 0.01, 0.8), Momentum(network.parameters(), 0.03, 0.8, 0.01)
    rates = iter(1e-6 + (0.01 - 1e-6) * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4))
    for _ in range(2):
        for forget, retain in zip(problem.forget.batches(32), problem.retain.batches(32), strict=False):
            contrast.lr = next(rates)
            mine, others = network(forget.images), network(retain.images).detach()
            similar = torch.stack([torch.stack([(one * other).sum() / 2.0 for other in others]) for one in mine])
            contrast.step((similar.exp().sum(1).log()[:, None] - similar).mean())
        for batch in problem.retain.batches(32):
            repair.step(nll(network, batch))
    same(result, network)
    assert next(rates, None) is None
    assert not problem.forget.has_labels


def test_amnesiac_trains_on_wrong_labels(unlearned: Callable[..., Made]) -> None:
    result, problem, _, network = unlearned("amnesiac", lr=2e-3, epochs=2, batch=64)
    shift = torch.randint(1, 10, (40,), generator=problem.generator)
    wrong = {int(i): (int(label) + int(s)) % 10 for i, label, s in zip(*parts(problem), shift, strict=True)}
    assert all(wrong[int(i)] != int(label) for i, label in zip(*parts(problem), strict=True))
    true = dict(zip(problem.retain.index.tolist(), problem.retain.labels.tolist(), strict=True))
    optimizer = Adam(network.parameters(), 2e-3)
    for batch in concat(problem.retain, problem.forget).batches(64, 2):
        labels = torch.tensor([(true | wrong)[i] for i in batch.index.tolist()])
        optimizer.step(losses(network(batch.images), labels).mean())
    same(result, network)


def parts(problem: Problem) -> tuple[Tensor, Tensor]:
    return problem.forget.index, problem.forget.labels


@pytest.mark.parametrize("name", ["msg", "ct"])
def test_a_method_of_convolutions_is_not_applicable_to_a_network_without(
    name: str, make_problem: MakeProblem, builder: Builder
) -> None:
    method = registry.get(Method, name)
    network = Builder(flat, {}, builder.shape, 10, builder.device).fresh("original").double()
    with pytest.raises(NotApplicableError, match="convolutions"):
        method.unlearn(make_problem(method.access, original=network), method.defaults)
