"""What a task must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from unlearnbench.artefacts.datasets import checksum
from unlearnbench.checks import requirements
from unlearnbench.checks.material import TEST, TRAIN, digits
from unlearnbench.checks.requirements import outcome, skip
from unlearnbench.checks.side_effects import SideEffects, recording
from unlearnbench.plugins.contract import BrokenContractError, fail, require
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import (
    Split,
    Task,
    require_ascending,
    require_both_sides,
    require_classes,
    require_columns,
    require_division,
    require_groups,
    require_heldout,
    require_hidden,
    require_likeness,
    require_positions,
)
from unlearnbench.runtime import seeds


@dataclass
class Bench:
    """A task under test."""

    name: str
    plugin: Task
    effects: SideEffects = field(default_factory=SideEffects)

    def apply(self, data: Dataset, generator: torch.Generator | None = None, chance: int = 0) -> Split:
        """Its split of a data set; `chance` seeds the global generators, which it must not use."""
        generator = generator or seeds.generator("check", 0)
        with seeds.pinned("check", chance), recording(self.effects):
            return self.plugin.split(data, generator, **self.plugin.defaults)

    @cached_property
    def result(self) -> Split | Exception:
        """Its split of the digits, or the exception that it raises; without the files that it reads, it is skipped."""
        if not self.plugin.is_configured(self.plugin.defaults):
            skip(f"it needs a file for option {' or '.join(self.plugin.files)}")
        try:
            return self.apply(digits())
        except Exception as error:  # anything that a plugin raises
            return error

    def split(self) -> Split:
        """Its split of the digits; without one the check is skipped."""
        if isinstance(self.result, Exception):
            skip("it cannot be applied: see applies-with-its-defaults")
        return self.result


def applies_with_its_defaults(bench: Bench) -> None:
    """It splits the digits with its default options."""
    is_split = isinstance(bench.result, Split)
    require(is_split, f"it {outcome(bench, bench.result)}; it must return a Split")


def is_reproducible(bench: Bench) -> None:
    """With the same generator it returns the same split, whatever the state of the global generators."""
    first, again = bench.split(), bench.apply(digits(), chance=1)
    require(equal(first, again), "two splits with one seed differ: draw from the generator that is its argument")


def changes_with_the_seed(bench: Bench) -> None:
    """If it draws from its generator, another seed gives another split."""
    first, generator = bench.split(), seeds.generator("check", 1)
    before = generator.get_state()
    other = bench.apply(digits(), generator)
    if torch.equal(before, generator.get_state()):
        skip("it draws nothing")
    require(not equal(first, other), "it draws from its generator but does not use the result: all seeds split alike")


def gives_ascending_positions(bench: Bench) -> None:
    """The forget set are positions in the training set: int64 [f], ascending, without repetition."""
    require_ascending(bench.split(), digits())


def gives_valid_held_out_samples(bench: Bench) -> None:
    """Held-out samples, and the part of the test set that counts as forgotten, are positions without repetition."""
    require_heldout(bench.split(), digits())


def hides_samples_outside_of_the_forget_set(bench: Bench) -> None:
    """Samples that it hides are positions outside of the forget set; groups that it reports apart are positions."""
    require_hidden(bench.split(), digits())
    require_groups(bench.split(), digits())


def compares_like_with_like(bench: Bench) -> None:
    """Held-out samples are of the classes of the forgotten ones."""
    split = bench.split()
    try:
        require_positions("forget", split.forget, TRAIN)
        require_positions("heldout", split.heldout, TEST)
    except BrokenContractError:
        skip("its positions are wrong: another check says more")
    require_likeness(split, digits())


def gives_labels_in_range(bench: Bench) -> None:
    """Labels that it replaces are int64, one for each sample, each a class."""
    require_classes(bench.split(), digits())


def replaces_labels_on_both_sides(bench: Bench) -> None:
    """If it replaces labels of forgotten samples, then also those of held-out samples, by the same process."""
    require_both_sides(bench.split(), digits())


def does_not_write_on_the_data(bench: Bench) -> None:
    """It leaves images and labels as they are."""
    bench.split()
    data = digits()
    before = checksum(data)
    bench.apply(data)
    require(checksum(data) == before, "it writes on the data set: change a copy (`.clone()`)")


def has_known_columns(bench: Bench) -> None:
    """The columns of its table are metrics of the suite; those that divide the test set need a division."""
    require_columns(bench.plugin)
    require_division(bench.plugin, bench.split())


def works_without_a_test_set(bench: Bench) -> None:
    """It also splits a data set with an empty test part: auditors apply it to all images together."""
    bench.split()
    try:
        bench.apply(digits().pool)
    except Exception as error:  # anything that a plugin raises
        fail(f"with an empty test part it {outcome(bench, error)}")


def equal(one: Split, other: Split) -> bool:
    """True if two splits are the same."""
    mine, theirs = one.tensors(), other.tensors()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    applies_with_its_defaults,
    is_reproducible,
    changes_with_the_seed,
    gives_ascending_positions,
    gives_valid_held_out_samples,
    hides_samples_outside_of_the_forget_set,
    compares_like_with_like,
    gives_labels_in_range,
    replaces_labels_on_both_sides,
    does_not_write_on_the_data,
    has_known_columns,
    works_without_a_test_set,
    requirements.restores_global_settings,
)
