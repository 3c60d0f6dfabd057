"""What a method must do."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from unlearnbench.checks import BrokenContractError, requirements
from unlearnbench.checks.material import CLASSES, CPU, RECIPE, builder, digits, trained
from unlearnbench.checks.requirements import no_need, outcome, require
from unlearnbench.checks.watching import ForbiddenDataError, Watch, hooks_of, watched, without_data
from unlearnbench.errors import AccessError, UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Access, Method
from unlearnbench.plugins.problem import Problem, View, view_to_forget, view_to_prepare
from unlearnbench.runtime import seeds
from unlearnbench.training.loop import in_eval_mode
from unlearnbench.training.samples import TrainingSet

FORGET, VALIDATION = 24, 20
"""How many items must be forgotten, and how many like them nobody was trained on."""
LESS = {"labels": "images", "images": None, "sample-labels": "images"}
"""The next smaller access."""
NOISE = 0.01
"""Of the weights of the network that a method with `start=` begins from, relative to the original's."""


@dataclass
class Run:
    """One run of a method: what it was handed, what it gave, and what it did to what was not its own.

    Attributes:
        error: What it raised.
        network: What it returned.
        prepared: What its first phase returned.
        data: Names of the tensors that it wrote on.
        original: What it did to the original.
        random: The states of torch's, Python's and NumPy's global generators at the end.
    """

    error: Exception | None = None
    network: Any = None
    prepared: Any = None
    data: list[str] = field(default_factory=list)
    original: list[str] = field(default_factory=list)
    random: tuple[Any, ...] = ()

    def answers(self, count: int) -> Any:
        """What its network says about so many training images."""
        images = digits().train_images[:count] / 255
        with torch.no_grad(), in_eval_mode(self.network):
            return self.network(images)

    @cached_property
    def logits(self) -> Tensor:
        """What its network says about all training images."""
        found: Tensor = self.answers(len(digits().train_labels))
        return found


@dataclass
class Bench:
    """A method, and what is known of its runs."""

    name: str
    plugin: Method
    watch: Watch = field(default_factory=Watch)

    def run(
        self,
        seed: int = 0,
        forget: Tensor | None = None,
        access: Access | None = None,
        prepared: Mapping[str, Tensor] | None = None,
    ) -> Run:
        """Runs both phases, or with something `prepared` the second one only."""
        run, content = Run(prepared=prepared), digits()
        training_set = TrainingSet(content.train_images, content.train_labels)
        original = trained(seed)
        access = access or self.plugin.access
        forget = some(seed) if forget is None else forget
        generator = seeds.generator("check", self.name, seed)
        views = [view_to_prepare(training_set, access, generator)] * (self.plugin.preparation is not None)
        held = TrainingSet(content.test_images, content.test_labels)
        validation = held.samples(torch.arange(VALIDATION), access.validation, generator, "the held-out part")
        views.append(replace(view_to_forget(training_set, access, forget, generator), validation=validation))
        mine = {"images": training_set.pixels, "labels": training_set.labels}
        for part, samples in vars(views[-1]).items():
            if samples is not None:
                mine |= {f"positions of {part}": samples.index, f"labels of {part}": samples._labels}
        before = {name: tensor.clone() for name, tensor in mine.items() if tensor is not None}
        weights = {name: tensor.clone() for name, tensor in original.state_dict().items()}
        for view in views[:1] if prepared is None and len(views) > 1 else []:
            problem = self.problem(original, view, generator, seed, {})
            run.prepared = self.phase(run, self.plugin.preparation, problem, seed, "prepare")
        if run.error is None:
            handed = run.prepared if isinstance(run.prepared, dict) else {}
            problem = self.problem(original, views[-1], generator, seed, handed)
            mine |= {f"prepared {name}": tensor for name, tensor in handed.items() if isinstance(tensor, Tensor)}
            before |= {name: tensor.clone() for name, tensor in mine.items() if name.startswith("prepared ")}
            run.network = self.phase(run, self.unlearn, problem, seed, "unlearn")
        run.data = [name for name in before if not torch.equal(before[name], mine[name])]
        run.original = [
            f"writes on its {n}" for n, t in original.state_dict().items() if not torch.equal(t, weights[n])
        ]
        run.original += ["puts it into train mode"] * any(module.training for module in original.modules())
        run.original += ["lets it learn"] * any(weights.requires_grad for weights in original.parameters())
        run.original += ["leaves hooks on it"] * bool(hooks_of(original))
        self.watch.hooks += hooks_of(run.network)
        return run

    def phase(self, run: Run, function: Any, problem: Problem, seed: int, phase: str) -> Any:
        """Runs a phase as the suite does, under watch."""
        options = self.plugin.preparing(self.plugin.defaults) if phase == "prepare" else {}
        try:
            with seeds.pinned("check", self.name, seed, phase), watched(self.watch), without_data(self.watch):
                try:
                    return function(problem, **options)
                finally:
                    run.random = random_state()
        except (Exception, SystemExit) as error:  # whatever a plugin raises
            run.error = error if isinstance(error, Exception) else RuntimeError(f"it exits with {error}")
            return None

    def unlearn(self, problem: Problem) -> Any:
        """The second phase with the method's defaults."""
        return self.plugin.unlearn(problem, self.plugin.defaults)

    def problem(
        self, original: Any, view: View, generator: torch.Generator, seed: int, prepared: Mapping[str, Tensor]
    ) -> Problem:
        """What the method is handed."""
        start = None
        if self.plugin.start:  # not what that method really makes: this must do with any network
            start = trained(seed)
            noise = seeds.generator("check", seed, "start")
            for weights in start.parameters():
                weights.add_(NOISE * weights.std() * torch.randn(weights.shape, generator=noise))
        return Problem(
            original=original,
            recipe=RECIPE,
            num_classes=CLASSES,
            device=CPU,
            generator=generator,
            prepared=prepared,
            _builder=builder(),
            _view=view,
            _stream=("check", self.name, seed),
            _start=start,
        )

    @cached_property
    def first(self) -> Run:
        """The first run."""
        return self.run()

    @cached_property
    def good(self) -> Run:
        """The first run, if nothing was raised."""
        if self.first.error is not None:
            no_need(f"it does not run: {self.first.error}")
        if not callable(self.first.network):
            no_need("it returns no network")
        return self.first

    @cached_property
    def other(self) -> Run:
        """A run with another seed: another original, and other items to be forgotten."""
        if self.good and (found := self.run(seed=1)).error is None:
            return found
        raise BrokenContractError(f"it runs with seed 0, but with seed 1 it raises {found.error!r}")


def some(seed: int) -> Tensor:
    """Positions of items to be forgotten, of the upper classes."""
    upper = (digits().train_labels >= CLASSES // 2).nonzero()[:, 0]
    order = torch.randperm(len(upper), generator=seeds.generator("check", seed, "forget"))
    return upper[order[:FORGET]].sort().values


def runs_with_its_defaults(bench: Bench) -> None:
    """It runs with its default options and returns something that can be called."""
    run = bench.first
    if isinstance(run.error, AccessError | ForbiddenDataError):
        no_need(f"another check says why not: {run.error}")
    require(run.error is None, f"it {outcome(run.error)}")
    require(callable(run.network), f"it returns {type(run.network).__name__}: return a network")


def sees_only_what_it_declares(bench: Bench) -> None:
    """In neither phase it reaches for data, or labels, that its `Access` does not include."""
    error = bench.first.error
    require(
        not isinstance(error, AccessError), f"{error}; it declares {bench.plugin.access}: declare more or read less"
    )


def declares_only_what_it_uses(bench: Bench) -> None:
    """With less access than it declares it would not run: what is declared is what is used, and tables print it."""
    if bench.plugin.access.prepare and bench.plugin.preparation is None:
        require(False, "it declares Access(prepare=...) and has no preparing phase: leave that out")
    for part, level in asdict(bench.plugin.access).items():
        if bench.good and level is not None:
            less = replace(bench.plugin.access, **{part: LESS[level]})
            run = bench.run(access=less, prepared=None if part == "prepare" else bench.good.prepared)
            require(
                run.error is not None,
                f"it declares Access({part}={level!r}) and runs as well with {LESS[level]!r}: declare that",
            )


def loads_no_data_itself(bench: Bench) -> None:
    """What it knows of the data comes from its problem: it opens no file, and asks nobody for a data set."""
    _ = bench.first
    read = ", ".join(dict.fromkeys(bench.watch.read))
    require(not read, f"it reads {read}: take all data from the problem, or access means nothing")


def gives_logits(bench: Bench) -> None:
    """For a batch of images, or for one, its network gives floats [B, classes] on the same device."""
    for count in (7, 1):
        found = bench.good.answers(count)
        what = f"{tuple(found.shape)} {found.dtype} on {found.device}" if isinstance(found, Tensor) else type(found)
        require(
            isinstance(found, Tensor)
            and found.shape == (count, CLASSES)
            and found.is_floating_point()
            and found.device == CPU,
            f"for {count} images and {CLASSES} classes its network gives {what}: give floats [B, num_classes] on "
            "the device of the images",
        )


def gives_finite_logits(bench: Bench) -> None:
    """No answer of its network is infinite or not a number."""
    require(
        bool(bench.good.logits.isfinite().all()),
        "its network gives numbers that are not finite: a smaller learning rate, or clipped gradients, may help",
    )


def is_reproducible(bench: Bench) -> None:
    """With the same seed it gives the same network, bit by bit."""
    again = bench.run() if bench.good else Run()
    require(
        again.error is None and same(again.logits, bench.good.logits),
        "two runs with one seed differ: draw from problem.generator or torch's own, and keep nothing between runs",
    )


def changes_with_the_seed(bench: Bench) -> None:
    """With another seed, so another original and other items, it gives another network."""
    if not bench.good.logits.isfinite().all():
        no_need("its network gives numbers that are not finite")
    require(
        not same(bench.other.logits, bench.good.logits),
        "with another original and another forget set it gives the same network: begin from problem.network()",
    )


def does_not_seed_global_generators(bench: Bench) -> None:
    """It does not seed the generators of torch, NumPy or Python, which the suite seeds for it."""
    ends = zip(("torch", "Python", "NumPy"), bench.good.random, bench.other.random, strict=True)
    seeded = [name for name, one, other in ends if one == other]
    require(
        not seeded,
        f"it seeds the global generator of {', '.join(seeded)}, so that all seeds draw alike: leave that to the suite",
    )


def leaves_the_data_alone(bench: Bench) -> None:
    """It does not write on images, labels, positions, or what it prepared."""
    written = ", ".join(bench.good.data)
    require(not written, f"it writes on {written}: change a copy (`.clone()`)")


def leaves_the_original_alone(bench: Bench) -> None:
    """The original keeps its weights, its mode, and is still frozen."""
    done = bench.good.original
    require(not done, f"of the original it {'; '.join(done)}: change problem.network(), which is a copy")


def leaves_no_hooks(bench: Bench) -> None:
    """No hook is left on its network, or on all modules."""
    require(
        bool(bench.good) and not bench.watch.hooks, "it leaves hooks behind: call .remove() on what registered them"
    )


def leaves_no_threads(bench: Bench) -> None:
    """No thread of its own runs on when it is done."""
    left = bench.watch.threads if bench.good else []
    require(not left, f"it leaves threads behind ({', '.join(dict.fromkeys(left))}): join them")


def prepares_what_can_be_kept(bench: Bench) -> None:
    """Its preparing phase returns a dict of tensors by name, each with memory of its own."""
    if bench.plugin.preparation is None:
        no_need("it has no preparing phase")
    found = bench.first.prepared
    kept = isinstance(found, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items())
    require(kept, "its preparing phase must return a dict of tensors by name, for example a state_dict")
    try:
        save({name: tensor.detach().contiguous() for name, tensor in found.items()})
    except RuntimeError as error:
        require(False, f"what it prepares cannot be stored, clone tensors that share memory: {error}".splitlines()[0])


def declares_its_cost(bench: Bench) -> None:
    """Its cost can be computed from its options: a finite number of passes over the training set, at least 0."""
    method, options = bench.plugin, bench.plugin.defaults
    require_cost("cost", "forget, recipe", lambda: method.ep_to_unlearn(0.2, RECIPE, options))
    if method.preparation:
        require_cost("prepare_cost", "recipe", lambda: method.ep_to_prepare(RECIPE, options))


def require_cost(name: str, arguments: str, compute: Callable[[], float]) -> None:
    """Raises unless a function that was registered as a cost gives a finite number, at least 0."""
    try:
        ep = float(compute())
    except Exception as error:  # anything that a plugin raises
        ep, outcome = math.nan, f"raises {type(error).__name__}: {error}"
    else:
        outcome = f"gives {ep}"
    require(
        math.isfinite(ep) and ep >= 0,
        f"its {name} {outcome}: the function below @NAME.{name} must take ({arguments}, *, HYPERPARAMETERS) and "
        "return passes over the training set",
    )


def names_methods_that_exist(bench: Bench) -> None:
    """The methods that it starts from or is like are installed."""
    for what in ("start", "like"):
        name = getattr(bench.plugin, what)
        try:
            require(not name or bool(registry.get(Method, name)), "")
        except UserError as error:
            require(False, f"{what}={name!r}: {error}")


def copes_with_one_class(bench: Bench) -> None:
    """It forgets a whole class, or says in a UserError or ValueError why it cannot."""
    whole = (digits().train_labels == 0).nonzero()[:, 0]
    require_cope(bench, whole, f"all {len(whole)} items of one class")


def copes_with_tiny_forget_sets(bench: Bench) -> None:
    """It forgets two items, one, or none at all, or says in a UserError or ValueError why it cannot."""
    for count in (2, 1, 0):
        require_cope(bench, some(0)[:count], f"{count} items")


def require_cope(bench: Bench, forget: Tensor, what: str) -> None:
    """Raises unless the method forgets these items or clearly says why not."""
    error = bench.run(forget=forget, prepared=bench.good.prepared).error
    clear = error is None or (isinstance(error, UserError | ValueError) and bool(str(error)))
    require(
        clear,
        f"to forget {what} it {outcome(error)}; give a result, or raise a UserError that says why not",
    )


def random_state() -> tuple[Any, ...]:
    """The states of torch's, Python's and NumPy's global generators."""
    return torch.get_rng_state().tolist(), random.getstate(), [str(part) for part in np.random.get_state()]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are the same, those that are no numbers included."""
    return one.shape == other.shape and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    runs_with_its_defaults,
    sees_only_what_it_declares,
    declares_only_what_it_uses,
    loads_no_data_itself,
    gives_logits,
    gives_finite_logits,
    is_reproducible,
    changes_with_the_seed,
    does_not_seed_global_generators,
    leaves_the_data_alone,
    leaves_the_original_alone,
    leaves_no_hooks,
    leaves_no_threads,
    requirements.restores_global_settings,
    prepares_what_can_be_kept,
    declares_its_cost,
    names_methods_that_exist,
    copes_with_one_class,
    copes_with_tiny_forget_sets,
)
