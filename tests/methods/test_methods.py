"""Each method does what its paper says: tests of mechanisms."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from unlearnbench import Access, Network, Problem, Samples, unpacked
from unlearnbench.methods import boundary, laf, scrub, sisa
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

MakeProblem = Callable[..., Problem]


@pytest.fixture(scope="module")
def original(digits: Dataset) -> Network:
    """A network that has learned 300 digits."""
    builder = Builder(registry.get(Model, "cnn"), {}, (1, 8, 8), 10, torch.device("cpu"))
    network = builder.fresh("original")
    samples = TrainingSet(digits.train_images[:300], digits.train_labels[:300]).everything(seeds.generator("order"))
    assert samples is not None
    loop.fit(network, samples, Recipe(lr=2e-3, epochs=4))
    return network


def unlearn(name: str, make_problem: MakeProblem, original: Network, **options: object) -> tuple[Network, Problem]:
    network, problem = run(name, make_problem, original, **options)
    assert isinstance(network, Network)
    return network, problem


def run(name: str, make_problem: MakeProblem, original: Network, **options: object) -> tuple[Any, Problem]:
    """Runs both phases of a method on a copy of the original; returns its result and its problem."""
    method, prepared = registry.get(Method, name), {}
    hyperparameters = method.resolve(name, options)
    if method.preparation:
        before = make_problem(method.access, "prepare", original=copy.deepcopy(original))
        with seeds.pinned("test"):
            prepared = method.preparation(before, **method.preparing(hyperparameters))
    problem = make_problem(method.access, original=copy.deepcopy(original), prepared=prepared)
    with seeds.pinned("test"):
        return method.unlearn(problem, hyperparameters), problem


def weights(network: Network, part: str = "") -> torch.Tensor:
    return torch.cat([p.detach().flatten() for name, p in network.named_parameters() if name.startswith(part)])


def test_original_does_nothing(make_problem: MakeProblem, original: Network) -> None:
    network, _ = unlearn("original", make_problem, original)
    assert torch.equal(weights(network), weights(original))


def test_retrain_trains_other_weights_on_the_retain_set(make_problem: MakeProblem, original: Network) -> None:
    network, problem = unlearn("retrain", make_problem, original)
    start = problem.fresh_network("retrain")
    again, _ = problem.fit(problem.retain, copy.deepcopy(start), stream="retrain")
    assert torch.equal(weights(again), weights(network))
    assert not torch.allclose(weights(start), weights(problem.fresh_network("fresh")))
    assert not torch.allclose(weights(network), weights(original), atol=0.01)


def test_head_only_gives_retrains_logits_through_the_originals_embeddings(
    make_problem: MakeProblem, original: Network
) -> None:
    method = registry.get(Method, "head-only")
    retrain, _ = unlearn("retrain", make_problem, original)
    before, of_retrain = copy.deepcopy(original), copy.deepcopy(retrain)
    problem = make_problem(method.access, original=copy.deepcopy(original), start=retrain)
    network = method.unlearn(problem, method.resolve("head-only", {"epochs": 60, "lr": 3e-3}))
    assert isinstance(network, Network)
    assert torch.equal(weights(network, "features"), weights(before, "features"))
    assert torch.equal(weights(retrain), weights(of_retrain))
    images = problem.retain.images
    with torch.no_grad():
        target, embeddings = retrain.eval()(images), original.features(images)
        errors = [float((logits - target).square().mean()) for logits in (original(images), network(images))]
    # The head of this network is linear, so nothing is closer than least squares on the embeddings.
    inputs = torch.cat([embeddings, torch.ones(len(images), 1)], dim=1).double()
    least = float((inputs @ torch.linalg.pinv(inputs) @ target.double() - target).square().mean())
    assert least - 1e-6 < errors[1] < least + 0.1 * errors[0]


@pytest.mark.usefixtures("in_float64")
def test_head_only_takes_adams_steps_on_the_squared_error_of_logits(
    make_problem: MakeProblem, original: Network
) -> None:
    method, original = registry.get(Method, "head-only"), copy.deepcopy(original).double()
    retrain = copy.deepcopy(original)
    with torch.no_grad():
        for parameter in retrain.parameters():
            parameter.mul_(1.1)
    problem, again = (make_problem(method.access, original=original, start=copy.deepcopy(retrain)) for _ in range(2))
    network = method.unlearn(problem, {"lr": 1e-2, "epochs": 2, "batch": 50})
    head = copy.deepcopy(original.head).requires_grad_(True)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for batch in again.retain.batches(50, 2):
        loss = (head(original.features(batch.images)) - retrain(batch.images).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert isinstance(network, Network)
    for mine, theirs in zip(network.head.parameters(), head.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-9)


def test_untrained_is_another_network_than_the_original(make_problem: MakeProblem, original: Network) -> None:
    network, problem = unlearn("untrained", make_problem, original)
    assert torch.equal(weights(network), weights(problem.fresh_network()))
    assert not torch.equal(weights(network), weights(original))


def test_neggrad_raises_the_loss_on_the_forget_set(make_problem: MakeProblem, original: Network) -> None:
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


def test_laf_changes_the_extractor_and_not_the_head(make_problem: MakeProblem, original: Network) -> None:
    network, _ = unlearn("laf", make_problem, original, epochs=1, vae_epochs=1)
    assert torch.equal(weights(network, "head"), weights(original, "head"))
    assert not torch.equal(weights(network, "features"), weights(original, "features"))


def test_an_ablation_is_laf_without_one_loss(make_problem: MakeProblem, original: Network) -> None:
    """An ablation equals LAF with a learning rate of zero for the other loss."""
    options = {"epochs": 1, "vae_epochs": 1}
    for name, off in (("laf-none-l1", "lr_unlearn"), ("laf-none-l2", "lr_align")):
        method = registry.get(Method, name)
        alone, _ = unlearn(name, make_problem, original, **{k: v for k, v in options.items() if k in method.defaults})
        assert off not in method.defaults
        assert torch.equal(weights(alone, "head"), weights(original, "head"))
        assert not torch.equal(weights(alone, "features"), weights(original, "features"))
    still, _ = unlearn("laf", make_problem, original, **options, lr_unlearn=0.0, lr_align=0.0)
    assert torch.equal(weights(still), weights(original))
    none_l2, _ = unlearn("laf-none-l2", make_problem, original, **options)
    no_align, _ = unlearn("laf", make_problem, original, **options, lr_align=0.0)
    assert torch.equal(weights(none_l2), weights(no_align))


def test_plain_alignment_is_laf_whose_contrast_has_no_weight(make_problem: MakeProblem, original: Network) -> None:
    """The slope of the contrast is proportional to 1 / tau."""
    options = {"epochs": 2, "vae_epochs": 1, "lr_unlearn": 1e-3, "lr_align": 1e-3}
    plain, _ = unlearn("laf-plain-alignment", make_problem, original, **options)
    no_contrast, _ = unlearn("laf", make_problem, original, **options, tau=1e20)
    contrast, _ = unlearn("laf", make_problem, original, **options, tau=0.1)
    assert torch.allclose(weights(plain), weights(no_contrast), atol=1e-6)
    assert not torch.allclose(weights(plain), weights(contrast), atol=1e-4)


def test_plain_distance_descends_equation_10_of_distances_to_mean_embeddings(
    make_problem: MakeProblem, original: Network
) -> None:
    network, problem = unlearn("laf-plain-distance", make_problem, original, epochs=3, lr_unlearn=1e-4, lr_align=0.0)
    assert torch.equal(weights(network, "head"), weights(original, "head"))
    mean, mean_f = problem.prepared["mean"], original.features(problem.forget.images).mean(0)

    def loss(one: Network) -> Tensor:
        retained, forgotten = (one.features(part.images) for part in (problem.retain, problem.forget))
        share = len(problem.forget) / len(problem.retain)  # batches have as many of both
        per_sample = [phi_of(retained, mean) * share, -phi_of(forgotten, mean_f)]
        return torch.cat(per_sample).sum()

    def phi_of(embeddings: Tensor, of: Tensor) -> Tensor:
        residual = (embeddings - of).square().sum(1)
        return (residual / (residual + 1)).exp()

    assert loss(network) < loss(original)
    still, _ = unlearn("laf-plain-distance", make_problem, original, epochs=1, lr_unlearn=0.0, lr_align=0.0)
    assert torch.equal(weights(still), weights(original))


def test_laf_r_repairs_the_head_or_everything(make_problem: MakeProblem, original: Network) -> None:
    head, _ = unlearn("laf-r", make_problem, original)
    assert torch.equal(weights(head, "features"), weights(original, "features"))
    assert not torch.equal(weights(head, "head"), weights(original, "head"))
    everything, problem = unlearn("laf-r", make_problem, original, repair="all", epochs=5)
    assert not torch.equal(weights(everything, "features"), weights(original, "features"))
    images, labels = problem.labelled.images, problem.labelled.labels
    assert cross_entropy(everything(images), labels) < cross_entropy(original(images), labels)


def test_lafs_unlearning_loss_is_equation_10() -> None:
    retain, forget = torch.rand(7, dtype=torch.float64) * 3, torch.rand(5, dtype=torch.float64) * 3
    ratio = sum(r / (r + 1) for r in retain.tolist()) - sum(r / (r + 1) for r in forget.tolist())
    assert laf.equation_10(retain, forget, "ratio").item() == pytest.approx(ratio, abs=1e-12)
    released = sum(math.exp(r / (r + 1)) for r in retain.tolist()) - sum(math.exp(r / (r + 1)) for r in forget.tolist())
    assert laf.equation_10(retain, forget, "exp-ratio").item() == pytest.approx(released, abs=1e-12)


def test_lafs_alignment_loss_is_equation_11() -> None:
    generator = torch.Generator().manual_seed(0)
    new_r, old_r, new_f, old_f = torch.randn(4, 6, 8, generator=generator, dtype=torch.float64)
    tau = 5.0

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
        return 1 - dot / math.sqrt(sum(x * x for x in a.tolist()) * sum(y * y for y in b.tolist()))

    denominator = sum(math.exp(distance(f, o) / tau) for f, o in zip(new_f, old_f, strict=True))
    expected = sum(math.log(math.exp(distance(r, o)) / denominator) for r, o in zip(new_r, old_r, strict=True))
    assert laf.equation_11(new_r, old_r, new_f, old_f, tau).item() == pytest.approx(expected, abs=1e-9)


def test_lafs_vae_loss_is_error_plus_weighted_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, rebuilt = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    mean = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    deviation = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.1
    standard = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    divergence = torch.distributions.kl_divergence(torch.distributions.Normal(mean, deviation), standard).sum(1)
    expected = ((embeddings - rebuilt) ** 2).sum(1).mean() + 0.025 * divergence.mean()
    assert torch.allclose(laf.vae_loss(embeddings, rebuilt, mean, deviation), expected, atol=1e-6)


def test_the_vae_learns_the_embeddings_of_its_samples(make_problem: MakeProblem, original: Network) -> None:
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


def mean_divergence(original: Network, network: Network, images: Tensor, temperature: float = 1.0) -> float:
    """KL(original || network), averaged over images, in double precision by its definition."""
    with torch.no_grad():
        p = softmax(original(images).double() / temperature, dim=1)
        q = softmax(network.eval()(images).double() / temperature, dim=1)
    return float((p * (p.log() - q.log())).sum(1).mean())


def test_boundarys_target_is_not_the_label_but_the_runner_up_for_a_step_of_zero(
    make_problem: MakeProblem, original: Network
) -> None:
    problem = make_problem(Access(forget="labels"), original=copy.deepcopy(original))
    images, labels = problem.forget.images, problem.forget.labels
    for eps in (0.0, 0.1, 1.0):
        target = boundary.nearest_other_class(problem.original, images, labels, eps)
        assert (target != labels).all()
    still = boundary.nearest_other_class(problem.original, images, labels, 0.0)
    second = original(images).topk(2).indices
    runner_up = torch.where(second[:, 0] == labels, second[:, 1], second[:, 0])
    assert torch.equal(still, runner_up)


def test_boundary_moves_forgotten_images_into_other_classes(make_problem: MakeProblem, original: Network) -> None:
    network, problem = unlearn("boundary", make_problem, original, lr=1e-2, epochs=5)
    images, labels = problem.forget.images, problem.forget.labels
    before = (original(images).argmax(1) == labels).float().mean()
    after = (network(images).argmax(1) == labels).float().mean()
    assert after < before - 0.3


def test_boundary_expand_returns_a_network_of_the_original_width(make_problem: MakeProblem, original: Network) -> None:
    network, _ = unlearn("boundary-expand", make_problem, original, lr=1e-2, epochs=3)
    forget = make_problem(Access(forget="labels"), original=copy.deepcopy(original)).forget
    images, labels = forget.images, forget.labels
    assert network(images).shape == (len(images), 10)
    assert [name for name, _ in network.named_parameters()] == [name for name, _ in original.named_parameters()]
    assert cross_entropy(network(images), labels) > cross_entropy(original(images), labels)
    nothing, _ = unlearn("boundary-expand", make_problem, original, epochs=0)
    assert torch.equal(weights(nothing), weights(original))


def test_scrubs_max_step_raises_the_divergence_on_the_forget_set(make_problem: MakeProblem, original: Network) -> None:
    """The student starts from other weights, because at the original's the gradient is zero; other terms are off."""
    method = registry.get(Method, "scrub")
    options = {"epochs": 1, "max_epochs": 1, "alpha": 0.0, "gamma": 0.0, "weight_decay": 0.0, "forget_batch": 8}
    student = copy.deepcopy(original)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    problem = make_problem(method.access, original=copy.deepcopy(original), start=student)
    network = method.unlearn(problem, method.resolve("scrub", {**options, "lr": 1e-4}))
    assert isinstance(network, Network)
    images = problem.forget.images
    before, after = (mean_divergence(original, n, images, 4.0) for n in (student, network))
    assert after > 1.5 * before > 0


def test_scrub_ascends_in_its_first_epochs_and_descends_in_all(
    make_problem: MakeProblem, original: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[str, int]] = []
    batches = Samples.batches

    def note(self: Samples, size: int, epochs: int = 1) -> Any:
        passes.append((self.name, size))
        return batches(self, size, epochs)

    monkeypatch.setattr(Samples, "batches", note)
    unlearn("scrub", make_problem, original, max_epochs=2, epochs=4, batch=20, forget_batch=16)
    both = [("the forget set", 16), ("the retain set", 20)]
    assert passes == [*both, *both, both[1], both[1]]


def test_scrubs_min_step_learns_from_labels_and_stays_near_the_original(
    make_problem: MakeProblem, original: Network
) -> None:
    options = {"epochs": 3, "max_epochs": 0, "lr": 1e-3}
    learning, problem = unlearn("scrub", make_problem, original, alpha=0.0, gamma=1.0, **options)
    distilled, _ = unlearn("scrub", make_problem, original, alpha=5.0, gamma=1.0, **options)
    images, labels = problem.retain.images, problem.retain.labels
    assert cross_entropy(learning(images), labels) < cross_entropy(original(images), labels)
    assert mean_divergence(original, distilled, images) < mean_divergence(original, learning, images)


def test_scrub_r_returns_the_epoch_whose_forget_error_is_nearest_to_the_last_validation_error(
    make_problem: MakeProblem, original: Network
) -> None:
    options = {"lr": 1e-4, "epochs": 4, "max_epochs": 4, "gamma": 0.1, "alpha": 0.0, "batch": 130, "forget_batch": 4}
    rewound, problem = unlearn("scrub-r", make_problem, original, **options)
    fresh = make_problem(registry.get(Method, "scrub-r").access, original=copy.deepcopy(original))
    hyperparameters = registry.get(Method, "scrub-r").resolve("scrub-r", options)
    del hyperparameters["supervision"]  # which decides what the problem has
    students = [copy.deepcopy(student).eval() for student in scrub.trajectory(fresh, **hyperparameters)]

    def wrong(network: Network, samples: Samples) -> float:
        return sum(int(network(b.images).argmax(1).ne(b.labels).sum()) for b in samples.batches(7)) / len(samples)

    reference = wrong(students[-1], problem.validation)
    gaps = [abs(wrong(student, problem.forget) - reference) for student in students]
    assert len(set(gaps)) > 1
    assert torch.equal(weights(rewound), weights(students[gaps.index(min(gaps))]))
    assert gaps.index(min(gaps)) < 4  # not the last epoch


def test_scrub_with_and_without_rewinding_has_the_same_defaults() -> None:
    assert registry.get(Method, "scrub").defaults == registry.get(Method, "scrub-r").defaults


def test_t_s_follows_the_untrained_teacher_on_the_forget_set_and_reads_no_label(
    make_problem: MakeProblem, original: Network
) -> None:
    network, problem = unlearn("t-s", make_problem, original, epochs=20, lr=1e-3, batch=32, fraction=1.0)
    assert not problem.forget.has_labels
    assert not problem.retain.has_labels
    bad = problem.fresh_network("incompetent teacher").eval()
    images = problem.forget.images
    assert mean_divergence(bad, network, images) < 0.5 * mean_divergence(bad, original, images)
    agree = (network(problem.retain.images).argmax(1) == original(problem.retain.images).argmax(1)).float().mean()
    assert agree > 0.8


def test_unrollings_step_is_an_explicit_gradient(make_problem: MakeProblem, original: Network) -> None:
    network, problem = unlearn("unrolling", make_problem, original, sigma=0.05, batch=1000)
    reference = copy.deepcopy(original).eval().requires_grad_(True)
    log_p = log_softmax(reference(problem.forget.images), dim=1)
    (-log_p[range(len(log_p)), problem.forget.labels].mean()).backward()
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        assert theirs.grad is not None
        assert torch.allclose(mine, theirs + 0.05 * theirs.grad, atol=1e-6)


def test_unrollings_batches_add_up(make_problem: MakeProblem, original: Network) -> None:
    """The sum over four batches of ten is four times the mean gradient of forty."""
    four, _ = unlearn("unrolling", make_problem, original, sigma=0.01, batch=10)
    one, _ = unlearn("unrolling", make_problem, original, sigma=0.04, batch=40)
    assert torch.allclose(weights(four), weights(one), atol=1e-6)


def test_unrolling_without_an_epoch_on_the_retain_set_changes_nothing(
    make_problem: MakeProblem, original: Network
) -> None:
    same, _ = unlearn("unrolling-first", make_problem, original, epochs=0, multiple=1.0)
    assert torch.allclose(weights(same), weights(original), atol=1e-6)
    back, problem = unlearn("unrolling-first", make_problem, original, epochs=0, multiple=2.0)
    images, labels = problem.forget.images, problem.forget.labels
    assert cross_entropy(back(images), labels) > cross_entropy(original(images), labels)


def test_neggrad_plus_raises_the_loss_on_the_forget_set_and_lowers_it_on_the_retain_set(
    make_problem: MakeProblem, original: Network
) -> None:
    plus, problem = unlearn("neggrad-plus", make_problem, original, lr=1e-3, epochs=4, beta=0.9)
    tuned, _ = unlearn("neggrad-plus", make_problem, original, lr=1e-3, epochs=4, beta=1.0)

    def loss(network: Network, part: str) -> float:
        samples = getattr(problem, part)
        return cross_entropy(network.eval()(samples.images), samples.labels).item()

    assert loss(plus, "forget") > loss(original, "forget") + 0.3
    assert loss(plus, "forget") > loss(plus, "retain") + 0.3
    assert loss(tuned, "retain") < loss(original, "retain")


def sisa_parts(make_problem: MakeProblem, original: Network, **options: int) -> tuple[Any, Problem, dict[str, Tensor]]:
    ensemble, problem = run("sisa", make_problem, original, **options)
    return ensemble, problem, dict(problem.prepared)


def test_sisa_with_one_shard_and_one_slice_is_retrain_on_its_stream(
    make_problem: MakeProblem, original: Network
) -> None:
    ensemble, problem, _ = sisa_parts(make_problem, original, shards=1, slices=1)
    reference, _ = problem.fit(problem.retain, stream="shard 0, slice 0")
    assert torch.equal(weights(ensemble.networks[0]), weights(reference))
    images = problem.forget.images
    assert torch.allclose(ensemble(images), log_softmax(reference(images), dim=1), atol=1e-6)


def test_sisa_trains_again_exactly_the_slices_with_a_forgotten_sample_and_later_ones(
    make_problem: MakeProblem, original: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 40 shards of 3 slices and 40 forgotten samples, some shards have one and others do not."""
    trained: list[tuple[str, set[int]]] = []
    fit = Problem.fit

    def note(self: Problem, samples: Any, *args: Any, stream: str, **kwargs: Any) -> Any:
        trained.append((stream, set(samples.index.tolist())))
        return fit(self, samples, *args, stream=stream, **kwargs)

    monkeypatch.setattr(Problem, "fit", note)
    ensemble, problem, prepared = sisa_parts(make_problem, original, shards=40, slices=3)
    part, forgotten = prepared["part"], set(problem.forget.index.tolist())
    assert part.bincount().tolist() == pytest.approx([300 / 120] * 120, abs=1)
    again = dict(trained[120:])
    for shard in range(40):
        slices = [set((part == 3 * shard + s).nonzero()[:, 0].tolist()) for s in range(3)]
        first = next((s for s in range(3) if slices[s] & forgotten), 3)
        for stage in range(3):
            seen = set().union(*slices[: stage + 1]) - forgotten
            assert again.get(f"shard {shard}, slice {stage}") == (seen if stage >= first else None)
        if first == 3:
            kept = {n.removeprefix(f"{shard}.2.weights."): t for n, t in prepared.items() if f"{shard}.2.w" in n[:7]}
            untouched = ensemble.networks[shard].state_dict()
            assert all(torch.equal(untouched[name], kept[name]) for name in untouched)
    assert 0 < len(again) < 120


def test_sisa_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    make_problem: MakeProblem, original: Network
) -> None:
    _, _, kept = sisa_parts(make_problem, original, shards=2, slices=3)
    prepared = {name: tensor.contiguous() for name, tensor in kept.items()}  # as it comes out of a file
    method = registry.get(Method, "sisa")
    before = make_problem(method.access, "prepare", original=copy.deepcopy(original))
    network, _ = sisa.Shard(1, 3, prepared["part"]).train(before, before.train, 2, unpacked("1.1", prepared, before))
    whole = torch.cat([prepared[f"1.2.weights.{name}"].flatten() for name, _ in network.named_parameters()])
    assert torch.equal(weights(network), whole)


def test_sisas_votes_are_mean_probabilities_or_shares(builder: Builder, digits: Dataset) -> None:
    networks = [builder.fresh("sisa", number) for number in range(3)]
    images = digits.test_images[:20] / 255
    logits = torch.stack([network(images) for network in networks])
    soft = sisa.Ensemble(networks, "soft")(images)
    assert torch.allclose(soft.exp(), softmax(logits, dim=2).mean(0), atol=1e-6)
    hard = sisa.Ensemble(networks, "hard")(images)
    for row, votes in enumerate(logits.argmax(2).T.tolist()):
        assert hard[row].exp().tolist() == pytest.approx([votes.count(c) / 3 for c in range(10)], abs=1e-5)
