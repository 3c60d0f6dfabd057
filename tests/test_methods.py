"""Each method does what its paper says: tests of the mechanism, not of the shape of the output."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from unlearnbench import Access, Network, Problem, registry, seeds, training
from unlearnbench.data import Dataset
from unlearnbench.method import Method
from unlearnbench.methods import laf
from unlearnbench.models import Builder, Model
from unlearnbench.recipe import Recipe
from unlearnbench.samples import TrainingSet

MakeProblem = Callable[..., Problem]


@pytest.fixture(scope="module")
def original(digits: Dataset) -> Network:
    """A network that knows 300 digits."""
    builder = Builder(registry.get(Model, "cnn"), {}, (1, 28, 28), 10, torch.device("cpu"))
    network = builder.fresh("original")
    samples = TrainingSet(digits.train_images[:300], digits.train_labels[:300]).everything(seeds.generator("order"))
    assert samples is not None
    training.fit(network, samples, Recipe(lr=2e-3, epochs=4))
    return network


def unlearn(name: str, make_problem: MakeProblem, original: Network, **options: object) -> tuple[Network, Problem]:
    method = registry.get(Method, name)
    problem = make_problem(method.access, original=copy.deepcopy(original))
    hyperparameters = method.resolve(name, options)
    if method.preparation:
        before = make_problem(method.access, "prepare", original=copy.deepcopy(original))
        prepared = method.preparation(before, **method.preparing(hyperparameters))
        object.__setattr__(problem, "prepared", prepared)
    with seeds.pinned("test", name):
        network = method.unlearn(problem, hyperparameters)
    assert isinstance(network, Network)
    return network, problem


def weights(network: Network, part: str = "") -> torch.Tensor:
    return torch.cat([p.detach().flatten() for name, p in network.named_parameters() if name.startswith(part)])


def test_original_does_nothing(make_problem: MakeProblem, original: Network) -> None:
    network, _ = unlearn("original", make_problem, original)
    assert torch.equal(weights(network), weights(original))


def test_retrain_starts_from_other_weights_and_learns_what_remains(
    make_problem: MakeProblem, original: Network
) -> None:
    network, problem = unlearn("retrain", make_problem, original)
    start = problem.fresh_network("retrain")
    again, _ = problem.fit(problem.remain, copy.deepcopy(start), stream="retrain")
    assert torch.equal(weights(again), weights(network))
    assert not torch.allclose(weights(start), weights(problem.fresh_network("fresh")))
    assert not torch.allclose(weights(network), weights(original), atol=0.01)


def test_neggrad_raises_the_loss_on_what_is_forgotten(make_problem: MakeProblem, original: Network) -> None:
    network, problem = unlearn("neggrad", make_problem, original, lr=1e-2, epochs=1)
    images, labels = problem.forget.images, problem.forget.labels
    assert cross_entropy(network(images), labels) > cross_entropy(original(images), labels) + 0.01


def test_neggrads_first_step_is_plain_gradient_ascent(make_problem: MakeProblem, original: Network) -> None:
    options = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch": 1000}
    network, problem = unlearn("neggrad", make_problem, original, **options)
    reference = copy.deepcopy(original).requires_grad_(True)
    cross_entropy(reference(problem.forget.images), problem.forget.labels).backward()
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        assert theirs.grad is not None
        assert torch.allclose(mine, theirs + 0.1 * theirs.grad, atol=1e-6)


def test_laf_moves_the_extractor_and_never_the_head(make_problem: MakeProblem, original: Network) -> None:
    network, _ = unlearn("laf", make_problem, original, epochs=1, vae_epochs=1)
    assert torch.equal(weights(network, "head"), weights(original, "head"))
    assert not torch.equal(weights(network, "features"), weights(original, "features"))


def test_laf_r_repairs_the_head_or_everything(make_problem: MakeProblem, original: Network) -> None:
    head, _ = unlearn("laf-r", make_problem, original)
    assert torch.equal(weights(head, "features"), weights(original, "features"))
    assert not torch.equal(weights(head, "head"), weights(original, "head"))
    everything, problem = unlearn("laf-r", make_problem, original, repair="all", epochs=5)
    assert not torch.equal(weights(everything, "features"), weights(original, "features"))
    images, labels = problem.labelled.images, problem.labelled.labels
    assert cross_entropy(everything(images), labels) < cross_entropy(original(images), labels)


def test_lafs_unlearning_loss_is_equation_10() -> None:
    remain, forget = torch.rand(7, dtype=torch.float64) * 3, torch.rand(5, dtype=torch.float64) * 3
    ratio = sum(r / (r + 1) for r in remain.tolist()) - sum(r / (r + 1) for r in forget.tolist())
    assert laf.unlearning_loss(remain, forget, "ratio").item() == pytest.approx(ratio, abs=1e-12)
    released = sum(math.exp(r / (r + 1)) for r in remain.tolist()) - sum(math.exp(r / (r + 1)) for r in forget.tolist())
    assert laf.unlearning_loss(remain, forget, "exp-ratio").item() == pytest.approx(released, abs=1e-12)


def test_lafs_alignment_loss_is_equation_11() -> None:
    generator = torch.Generator().manual_seed(0)
    new_r, old_r, new_f, old_f = torch.randn(4, 6, 8, generator=generator, dtype=torch.float64)
    tau = 5.0

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
        return 1 - dot / math.sqrt(sum(x * x for x in a.tolist()) * sum(y * y for y in b.tolist()))

    denominator = sum(math.exp(distance(f, o) / tau) for f, o in zip(new_f, old_f, strict=True))
    expected = sum(math.log(math.exp(distance(r, o)) / denominator) for r, o in zip(new_r, old_r, strict=True))
    assert laf.alignment_loss(new_r, old_r, new_f, old_f, tau).item() == pytest.approx(expected, abs=1e-9)


def test_lafs_vae_loss_is_error_plus_weighted_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, rebuilt = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    mean = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    deviation = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.1
    standard = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    divergence = torch.distributions.kl_divergence(torch.distributions.Normal(mean, deviation), standard).sum(1)
    expected = ((embeddings - rebuilt) ** 2).sum(1).mean() + 0.025 * divergence.mean()
    assert torch.allclose(laf.vae_loss(embeddings, rebuilt, mean, deviation), expected, atol=1e-6)


def test_the_vae_learns_the_embeddings_it_is_shown(make_problem: MakeProblem, original: Network) -> None:
    problem = make_problem(Access(forget="images"), original=copy.deepcopy(original))
    embeddings = problem.features(problem.original, problem.forget)
    errors = [
        laf.fit_vae(problem, problem.forget, latent=8, epochs=epochs, lr=1e-3).residual(embeddings).mean().item()
        for epochs in (1, 60)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_features_are_computed_once_and_belong_to_the_batch(make_problem: MakeProblem, original: Network) -> None:
    problem = make_problem(Access(forget="images"), original=copy.deepcopy(original))
    for batch in problem.forget.batches(7):
        expected = problem.original.features(batch.images)
        assert torch.allclose(problem.features(problem.original, batch), expected, atol=1e-5)
    assert len(problem._embeddings) == 1
    with pytest.raises(ValueError, match="frozen"):
        problem.features(problem.network(), problem.forget)
