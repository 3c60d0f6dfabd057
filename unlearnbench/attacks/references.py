"""What attacks on single items need: one number per item, under the unlearned network and under others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unlearnbench.plugins.attack import Audit, Booleans, NotApplicableError, Observed
from unlearnbench.statistics import Floats


@dataclass(frozen=True)
class Answers:
    """A statistic of some items under the unlearned network and under the references.

    Attributes:
        target: float64 [n].
        references: float64 [networks, n].
        inside: bool [networks, n]: which network was trained on which item.
    """

    target: Floats
    references: Floats
    inside: Booleans

    @property
    def without(self) -> Floats:
        """The mean under those networks that were not trained on the item, float64 [n]."""
        return mean_where(self.references, ~self.inside)

    @property
    def within(self) -> Floats:
        """The mean under those that were, float64 [n]."""
        return mean_where(self.references, self.inside)

    def one_left_out(self) -> Iterator[Answers]:
        """Each reference in the place of the unlearned network, which leaves the others."""
        for left_out in range(len(self.references)):
            rest = np.arange(len(self.references)) != left_out
            yield Answers(self.references[left_out], self.references[rest], self.inside[rest])


def answers(audit: Audit, part: str, statistic: Callable[[Observed], Floats]) -> Answers:
    """A statistic of the items of a part: "forgotten", "heldout" or "test".

    Raises:
        NotApplicableError: If there are no references.
    """
    if not audit.references:
        raise NotApplicableError("there are no networks to compare with")
    known = [reference[part] for reference in audit.references]
    references, inside = [statistic(k.observed) for k in known], [k.inside for k in known]
    return Answers(statistic(getattr(audit, part)), np.stack(references), np.stack(inside))


def mean_where(values: Floats, mask: Booleans) -> Floats:
    """The mean over the first axis where `mask`.

    Raises:
        NotApplicableError: If there is nothing for some item.
    """
    count = mask.sum(axis=0)
    if not count.all():
        raise NotApplicableError("some item is in all networks, or in none")
    total: Floats = np.where(mask, values, 0.0).sum(axis=0) / count
    return total
