# ruff: noqa: N805 - these functions only lie in classes
"""For each conformance check, a plugin that breaks exactly what it looks for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearnbench import Access, Audit, Dataset, Network, Problem, Scores, Split, choose, of_classes
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Source
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Model
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.task import Task

BROKEN: dict[tuple[str, str], Plugin] = {}
"""By kind and name of the check."""
REFERENCE = "Nobody, Nothing, Nowhere 2000"


def breaks(make: Callable[..., Plugin], **arguments: Any) -> Callable[[Any], Any]:
    """Makes a plugin of a function, and notes it under the check that has the function's name."""

    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        check = function.__name__
        if check != "is_documented":
            function.__doc__ = "Breaks one thing."
        plugin = make(function, **{"title": "Broken", "reference": REFERENCE, **arguments})
        BROKEN[plugin.kind, check.replace("_", "-")] = plugin
        return function

    return note


def method(**arguments: Any) -> Callable[[Any], Any]:
    return breaks(Method, **{"access": Access(forget="images"), **arguments})


def harmless(problem: Problem) -> Network:
    """Reads the data that it declares, and keeps the contract."""
    assert len(problem.forget.images) == len(problem.forget)
    return problem.network()


class Methods:
    @method()
    def is_documented(problem):
        return harmless(problem)

    @method()
    def takes_options_as_keywords(problem, rate=0.5):
        return harmless(problem)

    @method()
    def has_options_that_records_can_keep(problem, *, sizes=(1, (3, 4))):
        return harmless(problem)

    @method()
    def runs_with_its_defaults(problem):
        raise RuntimeError("on purpose")

    @method()
    def sees_only_what_it_declares(problem):
        assert len(problem.retain.images) == len(problem.retain)
        return harmless(problem)

    @method(access=Access(forget="labels"))
    def declares_only_what_it_uses(problem):
        return harmless(problem)

    @method()
    def loads_no_data_itself(problem):
        from sklearn.datasets import load_digits

        with suppress(Exception):
            load_digits()
        return harmless(problem)

    @method()
    def gives_logits(problem):
        network = harmless(problem)
        return lambda images: network(images)[:, :9]

    @method()
    def gives_finite_logits(problem):
        network = harmless(problem)
        with torch.no_grad():
            network.head[1].bias[0] = torch.nan
        return network

    @method()
    def sees_each_image_alone(problem):
        network = harmless(problem)
        return lambda images: network(images) - network(images).mean(0)

    @method()
    def is_reproducible(problem):
        network = harmless(problem)
        with torch.no_grad():
            network.head[1].bias.add_(random.SystemRandom().random())
        return network

    @method()
    def changes_with_the_seed(problem):
        network = harmless(problem)
        with torch.no_grad():
            for weights in network.parameters():
                weights.fill_(0.01)
        return network

    @method()
    def does_not_seed_global_generators(problem):
        torch.manual_seed(0)
        return harmless(problem)

    @method()
    def leaves_the_data_alone(problem):
        problem.forget.index[:1] = 0
        return harmless(problem)

    @method()
    def leaves_the_original_alone(problem):
        network = harmless(problem)
        problem.original.head[1].bias.add_(1)
        return network

    @method()
    def leaves_no_hooks(problem):
        nn.modules.module.register_module_forward_hook(lambda *_: None)
        return harmless(problem)

    @method()
    def leaves_no_threads(problem):
        threading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()
        return harmless(problem)

    @method()
    def restores_global_settings(problem):
        torch.set_default_dtype(torch.float64)
        return harmless(problem)

    @method(access=Access(prepare="images", forget="images"))
    def prepares_what_can_be_kept(problem):
        return harmless(problem)

    @method()
    def declares_its_cost(problem):
        return harmless(problem)

    @method(like="lav")
    def names_methods_that_exist(problem):
        return harmless(problem)

    @method(start="retrain")
    def competes_without_retrain(problem):
        return harmless(problem)

    @method(access=Access(forget="labels"))
    def copes_with_one_class(problem):
        if len(problem.forget) > 2 and len(problem.forget.labels.unique()) == 1:
            raise RuntimeError("two classes, please")
        return harmless(problem)

    @method()
    def copes_with_tiny_forget_sets(problem):
        if len(problem.forget) < 3:
            raise IndexError("index out of range")
        return harmless(problem)


def shared_memory(problem: Problem) -> dict[str, Tensor]:
    """Prepares one tensor under two names."""
    mean = problem.train.images.mean(0)
    return {"mean": mean, "again": mean}


def cost_without_recipe(forget: float) -> float:
    """Takes one argument too few."""
    return forget


def broken_method(check: str) -> Method:
    """The method that breaks a check."""
    plugin = BROKEN["method", check]
    assert isinstance(plugin, Method)
    return plugin


broken_method("prepares-what-can-be-kept").prepare(shared_memory)
broken_method("declares-its-cost").cost(cost_without_recipe)


def task(**arguments: Any) -> Callable[[Any], Any]:
    return breaks(Task, **{"columns": ("train_r", "train_f", "test", "asr"), **arguments})


def divided(data: Dataset, generator: torch.Generator, **more: Any) -> Split:
    """Forgets half of every class; keeps the contract."""
    everything = {
        "forget": choose(data.train_labels, range(10), 0.5, generator),
        "heldout": of_classes(data.test_labels, range(10)),
    }
    return Split(**{**everything, **more})


class Tasks:
    @task()
    def is_documented(data, generator):
        return divided(data, generator)

    @task()
    def takes_options_as_keywords(data, generator, fraction=0.5):
        return divided(data, generator)

    @task()
    def has_options_that_records_can_keep(data, generator, *, fraction=float("nan")):
        return divided(data, generator)

    @task()
    def applies_with_its_defaults(data, generator):
        raise RuntimeError("on purpose")

    @task()
    def is_reproducible(data, generator):
        return divided(data, torch.default_generator)

    @task()
    def changes_with_the_seed(data, generator):
        torch.rand(1, generator=generator)
        return divided(data, torch.Generator().manual_seed(0))

    @task()
    def gives_ascending_positions(data, generator):
        split = divided(data, generator)
        return Split(split.forget.flip(0), split.heldout)

    @task()
    def gives_valid_held_out_samples(data, generator):
        split = divided(data, generator)
        return Split(split.forget, torch.cat([split.heldout, split.heldout]))

    @task()
    def hides_samples_outside_of_the_forget_set(data, generator):
        split = divided(data, generator)
        return divided(data, generator, hidden=split.forget[:2], hidden_heldout=split.heldout[:2])

    @task()
    def compares_like_with_like(data, generator):
        return Split(of_classes(data.train_labels, [3]), of_classes(data.test_labels, range(10)))

    @task()
    def gives_labels_in_range(data, generator):
        split = divided(data, generator)
        return divided(
            data, generator, train_labels=data.train_labels + 5, heldout_labels=data.test_labels[split.heldout]
        )

    @task()
    def replaces_labels_on_both_sides(data, generator):
        return divided(data, generator, train_labels=9 - data.train_labels)

    @task()
    def does_not_write_on_the_data(data, generator):
        data.train_images[0] = 0
        return divided(data, generator)

    @task(columns=("train_x",))
    def has_known_columns(data, generator):
        return divided(data, generator)

    @task()
    def works_without_a_test_set(data, generator):
        assert len(data.test_labels.bincount()) == 10
        return divided(data, generator)

    @task()
    def restores_global_settings(data, generator):
        split = divided(data, generator)
        np.seterr(all="ignore")
        return split


def dataset(**arguments: Any) -> Callable[[Any], Any]:
    return breaks(Source, **arguments)


def noise(seed: int | None = 0, **changes: Any) -> Dataset:
    """Four classes of noise; keeps the contract."""
    generator = torch.default_generator if seed is None else torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(80) % 4
    parts = {"train_images": images[:60], "train_labels": labels[:60], "test_images": images[60:]}
    return Dataset(**{**parts, "test_labels": labels[60:], "num_classes": 4, **changes})


class Datasets:
    @dataset()
    def is_documented(root):
        return noise()

    @dataset()
    def takes_options_as_keywords(root, size=8):
        return noise()

    @dataset()
    def has_options_that_records_can_keep(root, *, names=frozenset({"a"})):
        return noise()

    @dataset(files={"../digits.npy": "0" * 32})
    def says_what_its_files_are(root):
        return noise()

    @dataset()
    def can_be_read(root):
        raise RuntimeError("on purpose")

    @dataset()
    def gives_images_as_bytes(root):
        data = noise()
        return noise(train_images=data.train_images.float(), test_images=data.test_images.float())

    @dataset()
    def gives_labels_in_range(root):
        return noise(train_labels=torch.arange(60).float() % 4)

    @dataset()
    def has_every_class(root):
        return noise(num_classes=5)

    @dataset()
    def uses_the_range_of_pixels(root):
        data = noise()
        return noise(train_images=data.train_images % 2, test_images=data.test_images % 2)

    @dataset()
    def keeps_test_images_apart(root):
        return noise(test_images=noise().train_images[:20])

    @dataset()
    def is_reproducible(root):
        return noise(seed=None)

    @dataset()
    def restores_global_settings(root):
        torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
        return noise()


def model() -> Callable[[Any], Any]:
    return breaks(Model)


def small(shape: tuple[int, int, int], classes: int, head: nn.Module | None = None, *parts: nn.Module) -> Network:
    """A linear network, which keeps the contract."""
    channels, height, width = shape
    features = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 16), *parts)
    return Network(features, head or nn.Linear(16, classes), last_layer="head")


class GivesLogProbabilities(nn.Linear):
    def forward(self, embeddings: Tensor) -> Tensor:
        return super().forward(embeddings).log_softmax(1)


class DependsOnBatch(nn.Module):
    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings + embeddings.mean(0, keepdim=True)


class HasUnusedWeights(nn.Linear):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.unused = nn.Parameter(torch.zeros(3))


class KeepsStateElsewhere(nn.Module):
    calls = 0

    def forward(self, embeddings: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return embeddings * (1 + self.calls)


class Models:
    @model()
    def is_documented(shape, num_classes):
        return small(shape, num_classes)

    @model()
    def takes_options_as_keywords(shape, num_classes, width=16):
        return small(shape, num_classes)

    @model()
    def has_options_that_records_can_keep(shape, num_classes, *, activation=nn.ReLU):
        return small(shape, num_classes)

    @model()
    def builds_a_network(shape, num_classes):
        return small(shape, num_classes).forward

    @model()
    def gives_logits(shape, num_classes):
        return small(shape, num_classes + 1)

    @model()
    def gives_no_probabilities(shape, num_classes):
        return small(shape, num_classes, GivesLogProbabilities(16, num_classes))

    @model()
    def is_split_into_features_and_head(shape, num_classes):
        flat = small(shape, num_classes)
        head = nn.Sequential(nn.Flatten(), flat.features[1], flat.head)
        return Network(nn.Conv2d(shape[0], shape[0], 1), head, last_layer="head.2")

    @model()
    def names_its_last_layer(shape, num_classes):
        network = small(shape, num_classes)
        network.last_layer = "features.1"
        return network

    @model()
    def is_reproducible(shape, num_classes):
        network = small(shape, num_classes)
        network.head.weight.data.mul_(1 + random.SystemRandom().random())
        return network

    @model()
    def changes_with_the_seed(shape, num_classes):
        network = small(shape, num_classes)
        for weights in network.parameters():
            weights.data.fill_(0.01)
        return network

    @model()
    def has_outputs_independent_of_the_batch(shape, num_classes):
        return small(shape, num_classes, None, DependsOnBatch())

    @model()
    def learns_with_all_its_weights(shape, num_classes):
        return small(shape, num_classes, HasUnusedWeights(16, num_classes))

    @model()
    def can_be_rebuilt_from_weights(shape, num_classes):
        return small(shape, num_classes, None, KeepsStateElsewhere())

    @model()
    def can_be_copied(shape, num_classes):
        network = small(shape, num_classes)
        network.lock = threading.Lock()
        return network

    @model()
    def can_be_planned_without_memory(shape, num_classes):
        network = small(shape, num_classes)
        assert float(network.head.weight.detach().abs().sum()) > 0
        return network

    @model()
    def restores_global_settings(shape, num_classes):
        network = small(shape, num_classes)
        torch.set_default_dtype(torch.float64)
        return network


def attack(**arguments: Any) -> Callable[[Any], Any]:
    return breaks(Attack, **arguments)


def likely(observed: Any) -> Any:
    """Log p of the label."""
    return observed.of_labels(observed.log_posteriors())


def by_loss(audit: Audit, **more: Any) -> Scores:
    """The loss as a score; keeps the contract."""
    return Scores(**{"forgotten": likely(audit.forgotten), "heldout": likely(audit.heldout), **more})


class Attacks:
    @attack()
    def is_documented(audit):
        return by_loss(audit)

    @attack()
    def takes_options_as_keywords(audit, power=1.0):
        return by_loss(audit)

    @attack()
    def has_options_that_records_can_keep(audit, *, weights={"loss": 1.0}):  # noqa: B006
        return by_loss(audit)

    @attack(libraries=lambda: ("no-such-distribution",))
    def names_libraries_that_are_installed(audit):
        return by_loss(audit)

    @attack()
    def runs_with_its_defaults(audit):
        raise RuntimeError("on purpose")

    @attack()
    def scores_every_sample(audit):
        return by_loss(audit, forgotten=likely(audit.forgotten)[1:])

    @attack()
    def gives_finite_scores(audit):
        return by_loss(audit, forgotten=np.where(audit.forgotten.labels == 0, np.inf, likely(audit.forgotten)))

    @attack()
    def is_reproducible(audit):
        return by_loss(audit, heldout=likely(audit.heldout) + np.random.normal(0, 1e-3, len(audit.heldout.labels)))

    @attack()
    def does_not_write_on_the_audit(audit):
        audit.retained.logits[0] = 0
        return by_loss(audit)

    @attack()
    def finds_an_obvious_leak(audit):
        return by_loss(audit, forgotten=-likely(audit.forgotten), heldout=-likely(audit.heldout))

    @attack()
    def finds_nothing_where_nothing_is(audit):
        return by_loss(audit, forgotten=likely(audit.forgotten) + 1e6)

    @attack()
    def copes_with_certain_networks(audit):
        with np.errstate(divide="ignore"):
            sides = [np.log(o.of_labels(o.posteriors())) for o in (audit.forgotten, audit.heldout)]
        return Scores(*sides)

    @attack()
    def copes_with_few_samples(audit):
        assert audit.forgotten.labels[5] >= 0
        return by_loss(audit)

    @attack()
    def gives_facts_that_records_can_keep(audit):
        return by_loss(audit, facts={"share": 0.5})

    @attack()
    def restores_global_settings(audit):
        import os

        os.chdir(Path.cwd().parent)
        return by_loss(audit)
