"""The methods of TARF's table give the same weights as an independent implementation, step by step in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unlearnbench import Network, Problem, Samples, UserError, model
from unlearnbench.methods import iu_cg, tarf
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

pytestmark = pytest.mark.usefixtures("in_float64")

Made = tuple[Network, Problem, Problem, Network]
SGD = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.01}
HIDDEN = torch.tensor([3, 10, 12, 30, 36])


@model(title="Small")
def small(shape: tuple[int, int, int], num_classes: int) -> Network:
    """A small network: the methods do the same with any."""
    features = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(36 * shape[0], 16), nn.ReLU())
    return Network(features, nn.Linear(16, num_classes), "head")


@pytest.fixture(scope="module")
def builder(digits: Dataset) -> Builder:
    return Builder(small, {}, digits.shape, 10, torch.device("cpu"))


@pytest.fixture(scope="module")
def original(digits: Dataset, builder: Builder) -> Network:
    """A network that is trained only a little, so that gradients are not small."""
    network = builder.fresh("original")
    samples = TrainingSet(digits.train_images[:300], digits.train_labels[:300]).everything(seeds.generator("order"))
    assert samples is not None
    loop.fit(network, samples, Recipe(lr=1e-2, epochs=6))
    return network


@pytest.fixture
def unlearned(make_problem: Callable[..., Problem], original: Network) -> Callable[..., Made]:
    """Runs a method; returns its result and its problem, the same problem again, and a copy of the original."""
    original = copy.deepcopy(original).double()

    def make(name: str, hidden: Tensor | None = None, **options: Any) -> Made:
        method = registry.get(Method, name)
        first, again = (make_problem(method.access, original=copy.deepcopy(original), hidden=hidden) for _ in range(2))
        with seeds.pinned("test"):
            network = method.unlearn(first, method.resolve(name, options))
        assert isinstance(network, Network)
        return network, first, again, copy.deepcopy(original).requires_grad_(True)

    return make


class Momentum:
    """SGD with momentum and weight decay, written out."""

    def __init__(self, network: nn.Module, lr: float, momentum: float, weight_decay: float) -> None:
        self.weights = list(network.parameters())
        self.velocity = [torch.zeros_like(w) for w in self.weights]
        self.lr, self.momentum, self.decay = lr, momentum, weight_decay

    def step(self, loss: Tensor, masks: list[Tensor] | None = None) -> None:
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for i, (weights, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
                masked = gradient if masks is None else gradient * masks[i]
                self.velocity[i] = self.momentum * self.velocity[i] + masked + self.decay * weights
                weights -= self.lr * self.velocity[i]


def losses(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample, written out."""
    logits = network(images)
    return logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]


def nll(network: nn.Module, batch: Any) -> Tensor:
    return losses(network, batch.images, batch.labels).mean()


def same(result: nn.Module, expected: nn.Module) -> None:
    """Asserts that two networks have the same weights, up to rounding."""
    for (name, mine), theirs in zip(result.named_parameters(), expected.parameters(), strict=True):
        assert theirs.dtype == torch.float64
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-9), name


def differs(result: nn.Module, expected: nn.Module) -> bool:
    pairs = zip(result.parameters(), expected.parameters(), strict=True)
    return any(not torch.allclose(mine, theirs, atol=1e-6) for mine, theirs in pairs)


def test_ft_descends_on_the_retain_set(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("ft", **SGD, epochs=3, batch=64)
    optimizer = Momentum(network, **SGD)
    for batch in problem.retain.batches(64, 3):
        optimizer.step(nll(network, batch))
    same(result, network)


def test_ga_ascends_on_the_forget_set(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("ga", **SGD, epochs=3, batch=16)
    optimizer = Momentum(network, **SGD)
    for batch in problem.forget.batches(16, 3):
        optimizer.step(-nll(network, batch))
    same(result, network)


def test_rl_draws_labels_for_every_batch_of_the_forget_set(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("rl", **SGD, epochs=2, batch=32)
    optimizer, drawn = Momentum(network, **SGD), []
    for _ in range(2):
        for forget in problem.forget.batches(32):
            labels = torch.randint(10, (len(forget),), generator=problem.generator)
            drawn.append(labels)
            optimizer.step(losses(network, forget.images, labels).mean())
        for retain in problem.retain.batches(32):
            optimizer.step(nll(network, retain))
    same(result, network)
    assert set(torch.cat(drawn).tolist()) == set(range(10))  # true classes are drawn, too


def test_l1_sparse_shrinks_all_weights_with_a_penalty_that_fades_out(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("l1-sparse", **SGD, epochs=4, without=1, alpha=0.01, batch=64)
    optimizer = Momentum(network, **SGD)
    for strength in (0.01, 0.01 * 2 / 3, 0.01 / 3, 0.0):
        for batch in problem.retain.batches(64):
            size = sum((weights.abs().sum() for weights in network.parameters()), torch.zeros(()))
            optimizer.step(nll(network, batch) + strength * size)
    same(result, network)


@pytest.mark.parametrize("strict", [True, False])
def test_salun_changes_the_salient_weights_only(strict: bool, unlearned: Callable[..., Made]) -> None:
    """Without `strict`, weight decay still changes the others, as in the code of the published numbers."""
    result, _, problem, network = unlearned("salun", **SGD, epochs=2, batch=32, share=0.3, strict=strict)
    start = [weights.detach().clone() for weights in network.parameters()]
    batches = list(problem.forget.batches(32))
    total = sum((nll(network, batch) for batch in batches), torch.zeros(()))
    sizes = [gradient.abs() for gradient in torch.autograd.grad(total, list(network.parameters()))]
    ordered = torch.cat([size.flatten() for size in sizes]).sort(descending=True).values
    limit = ordered[int(0.3 * len(ordered)) - 1]
    masks = [size >= limit for size in sizes]
    optimizer = Momentum(network, **SGD)
    for _ in range(2):
        relabelled = [
            (batch.images, torch.randint(10, (len(batch),), generator=problem.generator))
            for batch in problem.forget.batches(32)
        ]
        for images, labels in relabelled:
            optimizer.step(losses(network, images, labels).mean(), masks)
            hold(network, start, masks, strict)
        for retain in problem.retain.batches(32):
            optimizer.step(nll(network, retain), masks)
            hold(network, start, masks, strict)
    same(result, network)
    pairs = list(zip(result.parameters(), start, masks, strict=True))
    kept = all(torch.equal(new[~mask], old[~mask]) for new, old, mask in pairs)
    assert kept == strict
    assert all(bool(mask.any()) for _, _, mask in pairs)


def hold(network: nn.Module, start: list[Tensor], masks: list[Tensor], strict: bool) -> None:
    """Puts back the weights that must not change."""
    with torch.no_grad():
        for weights, old, mask in zip(network.parameters(), start, masks, strict=True):
            if strict:
                weights[~mask] = old[~mask]


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each sample's loss, float64 [n, weights]."""
    rows = []
    for image, label in zip(images, labels, strict=True):
        slopes = torch.autograd.grad(losses(network, image[None], label[None]).sum(), list(network.parameters()))
        rows.append(torch.cat([slope.flatten() for slope in slopes]))
    return torch.stack(rows)


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([weights.detach().flatten() for weights in network.parameters()])


def test_iu_is_the_released_recursion(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("iu", alpha=3.0, damping=5.0, share=0.05)
    of_forget, of_retain = (gradients(network, part.images, part.labels) for part in (problem.forget, problem.retain))
    step = (of_forget.sum(0) - len(of_forget) * of_retain.sum(0) / len(of_retain)) / 300
    o, k = of_retain[0], step
    for g in of_retain[1:13]:  # 0.05 of 260 samples
        t = float(o @ g)
        k, o = k - float(k @ g) / (5.0 + t) * o, o - t / (5.0 + t) * o
    assert torch.allclose(weights_of(result), weights_of(network) + 3.0 * k, rtol=0, atol=1e-9)
    away = k - step
    assert torch.allclose(away / away.norm(), -of_retain[0] / of_retain[0].norm()) or torch.allclose(
        away / away.norm(), of_retain[0] / of_retain[0].norm()
    )  # as the docstring says: a multiple of the first gradient is all that the recursion adds


def test_iu_cg_solves_with_the_dense_fisher_matrix(unlearned: Callable[..., Made]) -> None:
    result, _, problem, network = unlearned("iu-cg", alpha=0.5, damping=0.2, share=0.05, iterations=400)
    of_forget, of_retain = (
        gradients(network, part.images, part.labels).mean(0) for part in (problem.forget, problem.retain)
    )
    right = 40 / 300 * (of_forget - of_retain)
    images = problem.retain.images[:13]
    fisher = torch.zeros(len(right), len(right))
    for image in images:
        p = network(image[None]).softmax(1)[0].detach()
        for label in range(10):  # the expectation over the network's own predictions
            g = gradients(network, image[None], torch.tensor([label]))[0]
            fisher += p[label] * torch.outer(g, g) / len(images)
    solution = torch.linalg.solve(fisher + 0.2 * torch.eye(len(right)), right)
    assert torch.allclose(weights_of(result), weights_of(network) + 0.5 * solution, rtol=0, atol=1e-7)


def test_conjugate_gradients_are_exact_after_as_many_steps_as_there_are_unknowns() -> None:
    matrix = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])
    right = torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(matrix @ iu_cg.solved(lambda v: matrix @ v, right, 3), right, atol=1e-10)
    assert not torch.allclose(matrix @ iu_cg.solved(lambda v: matrix @ v, right, 1), right, atol=1e-3)


# TARF


@pytest.mark.parametrize(
    ("annealing", "expected"),
    [("to the end", [1.0, 0.9, 0, 0, 0, 0, 0, 0, 0, 0]), ("formula", [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0])],
)
def test_tarfs_ascent_is_annealed(annealing: tarf.Annealing, expected: list[float]) -> None:
    assert [tarf.strength(1.0, t, 10, 2, annealing) for t in range(10)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("annealing", "expected"), [("to the end", ["f", "fr", "r", "r", "r"]), ("formula", ["f", "fr", "fr", "r", "r"])]
)
def test_tarf_reads_the_forget_set_as_long_as_it_ascends(
    annealing: str, expected: list[str], unlearned: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    batches = Samples.batches

    def note(self: Samples, size: int, epochs: int = 1) -> Any:
        passes.append(self.name[4])  # the forget set, or the retain set
        return batches(self, size, epochs)

    monkeypatch.setattr(Samples, "batches", note)
    unlearned("tarf", epochs=5, t1=1, t_end=2, annealing=annealing, k=0.1)
    assert passes == list("".join(expected))


def after_ascent(problem: Problem, network: Network, k: float, epochs: int, batch: int) -> Momentum:
    """Phase I, written out: one epoch of ascent."""
    optimizer = Momentum(network, **SGD)
    for forget in problem.forget.batches(batch):
        optimizer.step(-k * nll(network, forget))
    return optimizer


@pytest.mark.parametrize("found", ["drop", "ascend"])
@pytest.mark.parametrize("identify", ["none", "classes", "samples"])
def test_tarf_goes_through_its_three_phases(identify: str, found: str, unlearned: Callable[..., Made]) -> None:
    """Ascent; then ascent beside descent, until the forget set is used up; then descent. What is found is left out."""
    k, epochs, batch = 0.5, 4, 16
    result, first, problem, network = unlearned(
        "tarf", HIDDEN, k=k, t1=1, t_end=2, epochs=epochs, batch=batch, identify=identify, found=found, **SGD
    )
    optimizer = after_ascent(problem, network, k, epochs, batch)
    images, labels = problem.retain.images, problem.retain.labels
    with torch.no_grad():
        change = (losses(network, images, labels) - losses(problem.original, images, labels)).abs()
        wrong = [(net(images).argmax(1) != labels).double() for net in (problem.original, network)]
    drop = {label: float((wrong[1] - wrong[0])[labels == label].mean()) for label in range(10)}
    ranked = sorted(drop, key=lambda label: -drop[label])  # stable, as the method
    hidden: set[int] = set()
    if identify == "samples":
        hidden = set(sorted(range(len(labels)), key=lambda i: -float(change[i]))[: len(HIDDEN)])
    if identify == "classes":
        number = len(problem.retain.subset(torch.isin(problem.retain.index, HIDDEN)).labels.unique())
        hidden = {i for i, label in enumerate(labels.tolist()) if label in ranked[:number]}
    for t in range(1, epochs):
        ascent = k * (epochs - t) / epochs if t < 2 else 0.0
        forgotten = list(problem.forget.batches(batch)) if t < 2 else []
        for number, retain in enumerate(problem.retain.batches(batch)):
            each = losses(network, retain.images, retain.labels)
            out = torch.tensor([row in hidden for row in retain.rows.tolist()])
            loss = each[~out].sum() / len(each)
            if found == "ascend":
                loss = loss - ascent * each[out].sum() / len(each)
            if number < len(forgotten):
                loss = loss - ascent * nll(network, forgotten[number])
            optimizer.step(loss)
    same(result, network)
    expected = None if identify == "none" else sorted(problem.retain.index[list(hidden)].tolist())
    assert (first.reported is None) == (expected is None)
    assert first.reported is None or first.reported.tolist() == expected


def test_tarf_is_told_sizes_that_an_option_may_falsify(unlearned: Callable[..., Made]) -> None:
    def reported(**options: Any) -> Tensor:
        _, problem, _, _ = unlearned("tarf", HIDDEN, epochs=2, k=0.5, batch=16, **options)
        assert problem.reported is not None
        return problem.reported

    assert len(reported(identify="samples")) == len(HIDDEN)
    assert len(reported(identify="samples", share=0.1)) == 26
    _, problem, _, _ = unlearned("tarf", HIDDEN, epochs=2, identify="classes")
    labels = problem.retain.labels

    def classes(found: Tensor) -> set[int]:
        return set(labels[torch.isin(problem.retain.index, found)].tolist())

    told, more = classes(reported(identify="classes")), classes(reported(identify="classes", wrong_by=1))
    assert len(told) == problem.hidden_size.classes
    assert len(more) == len(told) + 1
    assert told < more


def test_without_hidden_samples_tarf_finds_none_and_is_as_without_identification(
    unlearned: Callable[..., Made],
) -> None:
    options = {"epochs": 3, "k": 0.5, "batch": 16}
    plain, *_ = unlearned("tarf", None, **options)
    for identify in ("classes", "samples"):
        gated, problem, *_ = unlearned("tarf", None, **options, identify=identify)
        assert problem.reported is not None
        assert len(problem.reported) == 0
        same(gated, plain)


def test_the_loss_may_rank_classes(unlearned: Callable[..., Made]) -> None:
    _, first, problem, network = unlearned("tarf", HIDDEN, epochs=2, k=0.5, batch=16, identify="classes", by="loss")
    method = registry.get(Method, "tarf")
    defaults = {name: method.defaults[name] for name in SGD}
    optimizer = Momentum(network, **defaults)
    for forget in problem.forget.batches(16):
        optimizer.step(-0.5 * nll(network, forget))
    labels = problem.retain.labels
    with torch.no_grad():
        images = problem.retain.images
        change = (losses(network, images, labels) - losses(problem.original, images, labels)).abs()
    means = sorted((-float(change[labels == label].mean()), label) for label in labels.unique().tolist())
    chosen = [label for _, label in means[: problem.hidden_size.classes]]
    assert first.reported is not None
    assert first.reported.tolist() == problem.retain.index[torch.isin(labels, torch.tensor(chosen))].tolist()


def test_the_control_only_fine_tunes_without_what_tarf_finds(unlearned: Callable[..., Made]) -> None:
    options = {"k": 0.5, "t1": 1, "identify": "samples", "batch": 16, **SGD}
    result, first, problem, network = unlearned("identify-then-ft", HIDDEN, epochs=3, **options)
    _, of_tarf, *_ = unlearned("tarf", HIDDEN, epochs=3, **options)
    assert first.reported is not None
    assert of_tarf.reported is not None
    assert first.reported.tolist() == of_tarf.reported.tolist()
    list(problem.forget.batches(16))  # the ascent has drawn this order
    optimizer = Momentum(network, **SGD)
    for batch in problem.retain.subset(~torch.isin(problem.retain.index, first.reported)).batches(16, 3):
        optimizer.step(nll(network, batch))
    same(result, network)


def test_retrain_never_sees_hidden_samples(
    make_problem: Callable[..., Problem], original: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def note(self: Problem, samples: Any, **_: Any) -> Any:
        seen.extend(samples.index.tolist())
        return self.network(), {}

    monkeypatch.setattr(Problem, "fit", note)
    for name in ("retrain", "retrain-2"):
        method = registry.get(Method, name)
        problem = make_problem(method.access, original=copy.deepcopy(original), hidden=HIDDEN)
        method.unlearn(problem, {})
        assert not set(seen) & {*HIDDEN.tolist()}
        assert len(seen) == 300 - 40 - len(HIDDEN)
        seen.clear()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annealing": "never"}, "unknown value of tarf.annealing: 'never': available: formula, to the end"),
        ({"identify": "people"}, "unknown value of tarf.identify: 'people': available: classes, none, samples"),
        ({"by": "eye"}, "unknown value of tarf.by: 'eye': available: accuracy, loss"),
        ({"found": "keep"}, "unknown value of tarf.found: 'keep': available: ascend, drop"),
        ({"k": -0.1}, "tarf.k must be at least 0, not -0.1"),
    ],
)
def test_values_that_an_option_may_not_have_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.get(Method, "tarf").resolve("tarf", options)
