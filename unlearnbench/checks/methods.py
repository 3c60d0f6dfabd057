"""What a method must do."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from safetensors.torch import save
from torch import Tensor

from unlearnbench.checks import requirements
from unlearnbench.checks.material import CLASSES, CPU, RECIPE, digits
from unlearnbench.checks.method_runs import Bench, draw_forget_set
from unlearnbench.checks.requirements import outcome, skip, warn
from unlearnbench.checks.side_effects import ForbiddenDataError
from unlearnbench.errors import AccessError, NotApplicableError, UserError, counted
from unlearnbench.planning.names import check_start, with_parents
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import fail, require
from unlearnbench.plugins.method import Method, require_prepared
from unlearnbench.plugins.model import require_each_alone
from unlearnbench.runtime.frames import at_line
from unlearnbench.training.loop import in_eval_mode

LESS = {"labels": "images", "images": None, "sample-labels": "images", "classes": None, "size": None, "status": None}
"""The next lower level of access."""


def runs_with_its_defaults(bench: Bench) -> None:
    """It runs with its default options and returns something that can be called."""
    run = bench.first
    if isinstance(run.error, AccessError | ForbiddenDataError):
        skip("it reads what it does not declare: another check says more")
    require(run.error is None, f"it {outcome(bench, run.error)}")
    require(callable(run.network), f"it returns {type(run.network).__name__}: return a network")


def sees_only_what_it_declares(bench: Bench) -> None:
    """In neither phase it reads data, or labels, that its `Access` does not include."""
    error = bench.first.error
    if isinstance(error, AccessError):
        place = at_line(error, bench.plugin.home)
        fail(f"{error}{place}; it declares {bench.plugin.access}: declare more or read less")


def declares_only_what_it_uses(bench: Bench) -> None:
    """With less access than it declares it does not run: the declared access is what it uses, and tables print it."""
    access, preparation = bench.plugin.access, bench.plugin.preparation
    require(
        not access.prepare or preparation is not None,
        "it declares Access(prepare=...) and has no preparing phase: leave that out",
    )
    first = bench.completed_run()
    for part, level in asdict(access).items():
        if level is not None:
            less = replace(access, **{part: LESS[level]})
            run = bench.run(access=less, prepared=None if part == "prepare" else first.prepared)
            require(
                run.error is not None,
                f"it declares Access({part}={level!r}) and runs as well with {LESS[level]!r}: declare that",
            )


def loads_no_data_itself(bench: Bench) -> None:
    """All its data come from its problem: it opens no data file, and reads no data set or artefact of the suite."""
    read = ", ".join(dict.fromkeys(bench.first.data))
    require(not read, f"it reads {read}: take all data from the problem, or its declared access means nothing")


def gives_logits(bench: Bench) -> None:
    """For a batch of images, or for one, its network returns floats [B, classes] on the same device."""
    for count in (7, 1):
        logits = bench.completed_run().outputs(count)
        is_tensor = isinstance(logits, Tensor)
        what = f"{tuple(logits.shape)} {logits.dtype} on {logits.device}" if is_tensor else type(logits)
        require(
            is_tensor and logits.shape == (count, CLASSES) and logits.is_floating_point() and logits.device == CPU,
            f"for {count} images and {CLASSES} classes its network returns {what}: return floats [B, num_classes] on "
            "the device of the images",
        )


def gives_finite_logits(bench: Bench) -> None:
    """No output of its network is infinite or not a number."""
    require(
        bool(bench.completed_run().logits.isfinite().all()),
        "its network returns numbers that are not finite: a smaller learning rate, or clipped gradients, may help",
    )


def sees_each_image_alone(bench: Bench) -> None:
    """What its network returns for an image does not depend on the other images of a batch."""
    run = bench.completed_run()
    if not run.logits.isfinite().all():
        skip("its network returns numbers that are not finite")
    with in_eval_mode(run.network):
        require_each_alone(run.network, digits().train_images[:7] / 255)


def is_reproducible(bench: Bench) -> None:
    """With the same seed it returns the same network, to the bit."""
    first, again = bench.completed_run(), bench.run()
    require(
        again.error is None and equal(again.logits, first.logits),
        "two runs with one seed differ: draw from problem.generator or torch's own, and keep nothing between runs",
    )


def changes_with_the_seed(bench: Bench) -> None:
    """With another seed, so another original and another forget set, it returns another network."""
    first = bench.completed_run()
    if not first.logits.isfinite().all():
        skip("its network returns numbers that are not finite")
    require(
        not equal(bench.other_seed.logits, first.logits),
        "with another original and another forget set it returns the same network: begin from problem.network()",
    )


def does_not_seed_global_generators(bench: Bench) -> None:
    """It does not seed the generators of torch, NumPy or Python, which the suite seeds for it."""
    states = zip(("torch", "Python", "NumPy"), bench.completed_run().random, bench.other_seed.random, strict=True)
    seeded = [name for name, one, other in states if one == other]
    require(
        not seeded,
        f"it seeds the global generator of {', '.join(seeded)}, so all seeds draw the same: leave that to the suite",
    )


def leaves_the_data_alone(bench: Bench) -> None:
    """It does not write on images, labels, positions, or what it prepared."""
    written = ", ".join(bench.completed_run().written)
    require(not written, f"it writes on {written}: change a copy (`.clone()`)")


def leaves_the_original_alone(bench: Bench) -> None:
    """It leaves the original's weights and mode as they are, and the original frozen."""
    changes = bench.completed_run().original
    require(not changes, f"of the original it {'; '.join(changes)}: change problem.network(), which is a copy")


def leaves_no_hooks(bench: Bench) -> None:
    """It leaves no hook on its network, or on all modules."""
    bench.completed_run()
    require(not bench.effects.hooks, "it leaves hooks behind: call .remove() on what registered them")


def leaves_no_threads(bench: Bench) -> None:
    """It leaves no thread running."""
    bench.completed_run()
    threads = ", ".join(dict.fromkeys(bench.effects.threads))
    require(not threads, f"it leaves threads behind ({threads}): join them")


def prepares_what_can_be_kept(bench: Bench) -> None:
    """Its preparing phase returns a dict of tensors by name, each with memory of its own."""
    if bench.plugin.preparation is None:
        skip("it has no preparing phase")
    require_prepared(bench.first.prepared)
    try:
        save({name: tensor.detach().contiguous() for name, tensor in bench.first.prepared.items()})
    except RuntimeError as error:
        fail(f"what it prepares cannot be stored: {error}".splitlines()[0])


def declares_its_cost(bench: Bench) -> None:
    """Its cost can be computed from its options: a finite number of passes over the training set, at least 0."""
    method, options = bench.plugin, bench.plugin.defaults
    method.ep_to_unlearn(0.2, RECIPE, options)
    if method.preparation:
        method.ep_to_prepare(RECIPE, options)
    if method.undeclared:
        decorators = " and ".join(f"@{method.function.__name__}.{name}" for name in method.undeclared)
        warn(f"its cost in ep is n/a in tables: declare it with {decorators}")


def names_methods_that_exist(bench: Bench) -> None:
    """The methods named by `start=` and `like=` are installed."""
    for argument, name in (("start", bench.plugin.start), ("like", bench.plugin.like)):
        if name:
            try:
                registry.get(Method, name)
            except UserError as error:
                fail(f"{argument}={name!r}: {error}")


def competes_without_retrain(bench: Bench) -> None:
    """Unless it is a control, it does not start from Retrain, which it is compared with."""
    method = bench.plugin
    try:
        starts = with_parents([method.start]) if method.start else []
    except UserError as error:
        skip(f"what it starts from cannot be planned: {error}")
    try:
        check_start(bench.name, method.role, starts)
    except UserError as error:
        fail(str(error))


def copes_with_one_class(bench: Bench) -> None:
    """It forgets a whole class, or says in a NotApplicableError, UserError or ValueError why it cannot."""
    whole = (digits().train_labels == 0).nonzero()[:, 0]
    require_result(bench, whole, f"all {len(whole)} samples of one class")


def copes_with_tiny_forget_sets(bench: Bench) -> None:
    """It forgets two samples, one, or none at all, or says in one of these errors why it cannot."""
    for count in (2, 1, 0):
        require_result(bench, draw_forget_set(0)[:count], counted(count, "sample"))


def require_result(bench: Bench, forget: Tensor, what: str) -> None:
    """Raises unless the method forgets these samples or clearly says why not."""
    try:
        error = bench.run(forget=forget, prepared=bench.completed_run().prepared).error
    except NotApplicableError:  # it forgets whole classes, and this is a part of one
        return
    is_clear = isinstance(error, NotApplicableError | UserError | ValueError) and bool(str(error))
    require(
        error is None or is_clear,
        f"to forget {what} it {outcome(bench, error)}; return a network, or say why not in a NotApplicableError",
    )


def equal(one: Tensor, other: Tensor) -> bool:
    """True if two outputs are equal, where nan equals nan."""
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
    sees_each_image_alone,
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
    competes_without_retrain,
    copes_with_one_class,
    copes_with_tiny_forget_sets,
)
