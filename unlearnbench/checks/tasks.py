"""What a task must do."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

import torch
from torch import Tensor

from unlearnbench.artefacts.datasets import checksum
from unlearnbench.checks import requirements
from unlearnbench.checks.material import digits
from unlearnbench.checks.requirements import no_need, outcome, require
from unlearnbench.checks.watching import Watch, watched
from unlearnbench.planning.protocols import COLUMNS
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split, Task
from unlearnbench.runtime import seeds


@dataclass
class Bench:
    """A task, and what it makes of the digits."""

    name: str
    plugin: Task
    watch: Watch = field(default_factory=Watch)

    def split(self, data: Dataset, seed: int = 0, chance: int = 0) -> tuple[Split, bool]:
        """What it makes of a data set, and whether it drew; `chance` seeds the global generators, which are not its."""
        generator = seeds.generator("check", seed)
        before = generator.get_state()
        with seeds.pinned("check", chance), watched(self.watch):
            split = self.plugin.split(data, generator, **self.plugin.defaults)
        return split, not torch.equal(before, generator.get_state())

    @cached_property
    def found(self) -> Split | Exception:
        """The first split, or what was raised instead."""
        try:
            return self.split(digits())[0]
        except Exception as error:  # whatever a plugin raises
            return error

    @property
    def good(self) -> Split:
        """The first split, if nothing was raised."""
        if isinstance(self.found, Exception):
            no_need(f"it cannot be applied: {self.found}")
        assert isinstance(self.found, Split)
        return self.found


def applies_with_its_defaults(bench: Bench) -> None:
    """It divides the digits with its default options."""
    found = bench.found
    require(isinstance(found, Split), f"it {outcome(found)}; it must give a Split")


def is_reproducible(bench: Bench) -> None:
    """With the same generator it gives the same split, whatever the global generators are at."""
    again, _ = bench.split(digits(), chance=1) if bench.good else (bench.good, False)
    require(alike(bench.good, again), "two splits with one seed differ: draw from the generator that it is handed")


def changes_with_the_seed(bench: Bench) -> None:
    """If it draws from its generator, another seed gives another split."""
    other, drawn = bench.split(digits(), seed=1) if bench.good else (bench.good, False)
    if not drawn:
        no_need("it draws nothing")
    require(not alike(bench.good, other), "it draws from its generator and makes no use of that: all seeds split alike")


def gives_ascending_positions(bench: Bench) -> None:
    """What must be forgotten are positions in the training set: int64 [f], ascending, none twice."""
    require_positions("forget", bench.good.forget, len(digits().train_labels), ascending=True)


def gives_valid_held_out_items(bench: Bench) -> None:
    """Held-out items, and the part of the test set that counts as forgotten, are positions in it, none twice."""
    for part in ("heldout", "test_forget"):
        positions = getattr(bench.good, part)
        if positions is not None:
            require_positions(part, positions, len(digits().test_labels))


def compares_like_with_like(bench: Bench) -> None:
    """Held-out items are of the classes of the forgotten ones."""
    content = digits()
    if not all(valid(p, n) for p, n in ((bench.good.forget, 160), (bench.good.heldout, 80))):
        no_need("its positions are wrong")
    forgotten, heldout = content.train_labels[bench.good.forget], content.test_labels[bench.good.heldout]
    strangers = sorted(set(heldout.tolist()) - set(forgotten.tolist()))
    require(
        not strangers,
        f"held-out items are of classes {strangers}, of which nothing is forgotten: an attack would tell classes apart",
    )


def gives_labels_in_range(bench: Bench) -> None:
    """Labels that it replaces are int64, one for each item, each a class."""
    content, split = digits(), bench.good
    for name, count in (("train_labels", len(content.train_labels)), ("heldout_labels", len(split.heldout))):
        labels = getattr(split, name)
        require(
            labels is None
            or (labels.dtype == torch.int64 and labels.shape == (count,) and 0 <= labels.min() <= labels.max() < 10),
            f"{name} must be int64 [{count}], from 0 to {content.num_classes - 1}",
        )


def replaces_labels_on_both_sides(bench: Bench) -> None:
    """If it replaces labels of forgotten items, then those of held-out items too, by the same process."""
    both = (bench.good.train_labels is None) == (bench.good.heldout_labels is None)
    require(both, "give train_labels and heldout_labels, or neither: otherwise a wrong label alone gives a member away")


def does_not_write_on_the_data(bench: Bench) -> None:
    """Images and labels stay as they are."""
    data = digits()
    before = checksum(data)
    if bench.good:
        bench.split(data)
    require(checksum(data) == before, "it writes on the data set that it is handed: change a copy (`.clone()`)")


def has_known_columns(bench: Bench) -> None:
    """The columns of its table are metrics of the suite, and those that divide the test set come with a division."""
    columns = bench.plugin.columns
    strange = [name for name in columns if name not in COLUMNS]
    require(bool(columns) and not strange, f"columns must be some of {', '.join(COLUMNS)}, not {strange or 'none'}")
    divided = {"test_r", "test_f"} & set(columns)
    fits = not divided or bench.good.test_forget is not None
    require(fits, f"column {' and '.join(sorted(divided))} needs Split(test_forget=...)")


def works_without_a_test_set(bench: Bench) -> None:
    """It also divides a data set whose test part is empty, as auditors do with all images taken together."""
    if bench.good:
        try:
            bench.split(digits().pool)
        except Exception as error:  # whatever a plugin raises
            require(False, f"with an empty test part it raises {type(error).__name__}: {error}")


def alike(one: Split, other: Split) -> bool:
    """Whether two splits are the same."""
    for name in (f.name for f in fields(Split)):
        mine, theirs = getattr(one, name), getattr(other, name)
        if (mine is None) != (theirs is None) or (mine is not None and not torch.equal(mine, theirs)):
            return False
    return True


def valid(positions: Tensor, total: int) -> bool:
    """Whether these are positions in something of that size, none of them twice."""
    return (
        positions.dtype == torch.int64
        and positions.ndim == 1
        and len(positions.unique()) == len(positions)
        and (not len(positions) or (int(positions.min()) >= 0 and int(positions.max()) < total))
    )


def require_positions(name: str, positions: Tensor, total: int, ascending: bool = False) -> None:
    """Raises unless these are positions in something of that size, none of them twice."""
    require(valid(positions, total), f"{name} must be int64 positions from 0 to {total - 1}, none of them twice")
    sorted_ = not ascending or torch.equal(positions, positions.sort().values)
    require(sorted_, f"{name} must be ascending: sort it, `.sort().values`")


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    applies_with_its_defaults,
    is_reproducible,
    changes_with_the_seed,
    gives_ascending_positions,
    gives_valid_held_out_items,
    compares_like_with_like,
    gives_labels_in_range,
    replaces_labels_on_both_sides,
    does_not_write_on_the_data,
    has_known_columns,
    works_without_a_test_set,
    requirements.restores_global_settings,
)
