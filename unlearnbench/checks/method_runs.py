"""Runs methods on small data for the checks, and records what they do."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearnbench.checks.material import CLASSES, RECIPE, builder, digits, trained
from unlearnbench.checks.requirements import outcome, skip
from unlearnbench.checks.side_effects import SideEffects, count_hooks, recording, without_data
from unlearnbench.plugins.access import Access
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Network
from unlearnbench.plugins.problem import Assembly, Problem
from unlearnbench.runtime import seeds
from unlearnbench.training.loop import in_eval_mode
from unlearnbench.training.samples import Samples, TrainingSet

FORGET, VALIDATION = 24, 20
"""The sizes of the forget set and of the held-out samples that are like it."""
NOISE = 0.01
"""The size of random changes that a network to start from gets, relative to the original's weights."""


@dataclass
class Run:
    """The results of one run of a method.

    Attributes:
        error: The exception that it raised.
        network: The network that it returned.
        prepared: The result of its preparing phase.
        data: Files, data sets and artefacts that it tried to read.
        written: Names of input tensors that it changed.
        original: What it did to the original.
        random: The states of torch's, Python's and NumPy's global generators at the end.
    """

    error: Exception | None = None
    network: Any = None
    prepared: Any = None
    data: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    original: list[str] = field(default_factory=list)
    random: tuple[Any, ...] = ()

    def outputs(self, count: int) -> Any:
        """The outputs of its network on the first training images."""
        images = digits().train_images[:count] / 255
        with torch.no_grad(), in_eval_mode(self.network):
            return self.network(images)

    @cached_property
    def logits(self) -> Tensor:
        """The outputs of its network on all training images."""
        logits: Tensor = self.outputs(len(digits().train_labels))
        return logits


@dataclass
class Bench:
    """A method under test, and its runs."""

    name: str
    plugin: Method
    effects: SideEffects = field(default_factory=SideEffects)

    def run(
        self,
        seed: int = 0,
        forget: Tensor | None = None,
        access: Access | None = None,
        prepared: Mapping[str, Tensor] | None = None,
    ) -> Run:
        """Runs both phases with the method's defaults; if something is `prepared`, the second phase only."""
        run, content, original = Run(prepared=prepared), digits(), trained(seed)
        training_set = TrainingSet(content.train_images, content.train_labels)
        assembly = Assembly(training_set, original, RECIPE, builder())
        access, stream = access or self.plugin.access, ("check", self.name, seed)
        weights = Copies(original.state_dict())
        data = Copies({"images": training_set.pixels, "labels": training_set.labels})
        if prepared is None and self.plugin.preparation is not None:
            prepare = partial(self.plugin.preparation, **self.plugin.preparing(self.plugin.defaults))
            run.prepared = self.call(prepare, assembly.to_prepare(access, (*stream, "prepare")), run, seed, "prepare")
        if run.error is None:
            problem = assembly.to_forget(
                access,
                stream,
                self.forget_set(seed) if forget is None else forget,
                validation=(TrainingSet(content.test_images, content.test_labels), torch.arange(VALIDATION)),
                prepared=tensors_of(run.prepared),
                start=network_to_start_from(seed) if self.plugin.start else None,
            )
            inputs = Copies(inputs_of(problem))
            unlearn = partial(self.plugin.unlearn, hyperparameters=self.plugin.defaults)
            run.network = self.call(unlearn, problem, run, seed, "unlearn")
            run.written = inputs.changed()
        run.written += data.changed()
        run.original = [f"writes on its {name}" for name in weights.changed()] + changes_of(original)
        self.effects.hooks += count_hooks(run.network)
        return run

    def forget_set(self, seed: int) -> Tensor:
        """Positions of the samples that the method must forget: a whole class if it forgets classes."""
        if self.plugin.access.forget == "classes":
            return (digits().train_labels == CLASSES // 2 + seed).nonzero()[:, 0]
        return draw_forget_set(seed)

    def call(self, function: Callable[[Problem], Any], problem: Problem, run: Run, seed: int, phase: str) -> Any:
        """Runs a phase as the suite does; records its side effects, and in `run` what it raises."""
        try:
            with seeds.pinned("check", self.name, seed, phase), recording(self.effects), without_data(run.data):
                try:
                    return function(problem)
                finally:
                    run.random = random_state()
        except Exception as error:  # anything that a plugin raises
            run.error = error
        except SystemExit as error:
            run.error = RuntimeError(f"it exits with {error}")
        return None

    @cached_property
    def first(self) -> Run:
        """The first run."""
        return self.run()

    def completed_run(self) -> Run:
        """The first run; if it failed, the check is skipped."""
        if self.first.error is not None:
            skip("it does not run: see runs-with-its-defaults")
        if not callable(self.first.network):
            skip("it returns no network: see runs-with-its-defaults")
        return self.first

    @cached_property
    def other_seed(self) -> Run:
        """A run with another seed: another original, and another forget set."""
        run = self.run(seed=1)
        if run.error is not None:
            raise BrokenContractError(f"it runs with seed 0, but with seed 1 it {outcome(self, run.error)}")
        return run


class Copies:
    """Copies of tensors, to see later which of the tensors were changed."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)
        self.copies = {name: tensor.clone() for name, tensor in tensors.items()}

    def changed(self) -> list[str]:
        """The names of the tensors that are no longer equal to their copies."""
        return [name for name, tensor in self.tensors.items() if not torch.equal(tensor, self.copies[name])]


def inputs_of(problem: Problem) -> dict[str, Tensor]:
    """The tensors of a problem, beside the training set, that a method must not change."""
    tensors = {f"prepared {name}": tensor for name, tensor in problem.prepared.items()}
    for part, samples in vars(problem._view).items():
        if isinstance(samples, Tensor):
            tensors[part] = samples
        if isinstance(samples, Samples):
            tensors[f"positions of {part}"] = samples.index
            if samples.has_labels:
                tensors[f"labels of {part}"] = samples.labels
    return tensors


def tensors_of(prepared: object) -> dict[str, Tensor]:
    """The tensors of what a preparing phase returned, which may be anything."""
    values = prepared.items() if isinstance(prepared, dict) else ()
    return {name: value for name, value in values if isinstance(value, Tensor)}


def changes_of(original: nn.Module) -> list[str]:
    """What a method did to the original beside writing on it."""
    changes = {
        "puts it into train mode": any(module.training for module in original.modules()),
        "lets it learn": any(weights.requires_grad for weights in original.parameters()),
        "leaves hooks on it": count_hooks(original) > 0,
    }
    return [change for change, happened in changes.items() if happened]


def network_to_start_from(seed: int) -> Network:
    """The original with some noise, in place of the result of the method named by `start=`."""
    network = trained(seed)
    generator = seeds.generator("check", seed, "start")
    for weights in network.parameters():
        weights.add_(NOISE * weights.std() * torch.randn(weights.shape, generator=generator))
    return network


def draw_forget_set(seed: int) -> Tensor:
    """Positions of training samples of the upper classes, ascending."""
    upper = (digits().train_labels >= CLASSES // 2).nonzero()[:, 0]
    order = torch.randperm(len(upper), generator=seeds.generator("check", seed, "forget"))
    return upper[order[:FORGET]].sort().values


def random_state() -> tuple[Any, ...]:
    """The states of torch's, Python's and NumPy's global generators."""
    return torch.get_rng_state().tolist(), random.getstate(), [str(part) for part in np.random.get_state()]
