"""What attacks on single samples need: a statistic of each sample under the unlearned network and under references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unlearnbench.plugins.attack import Audit, Booleans, NotApplicableError, Observed
from unlearnbench.statistics import Floats


@dataclass(frozen=True)
class Statistics:
    """A statistic of some samples under the unlearned network and under the references.

    Attributes:
        target: float64 [n], under the unlearned network.
        references: float64 [networks, n].
        inside: bool [networks, n]; True where the network was trained on the sample.
    """

    target: Floats
    references: Floats
    inside: Booleans

    @property
    def mean_inside(self) -> Floats:
        """The mean over the references that were trained on the sample, float64 [n]."""
        return mean_where(self.references, self.inside)

    @property
    def mean_outside(self) -> Floats:
        """The mean over the references that were not, float64 [n]."""
        return mean_where(self.references, ~self.inside)

    def leave_one_out(self) -> Iterator[Statistics]:
        """Each reference in turn in place of the unlearned network, with the other references."""
        for left_out in range(len(self.references)):
            rest = np.arange(len(self.references)) != left_out
            yield Statistics(self.references[left_out], self.references[rest], self.inside[rest])


def statistics_of(audit: Audit, part: str, statistic: Callable[[Observed], Floats]) -> Statistics:
    """A statistic of the samples of a part of an audit: "forgotten", "heldout" or "test".

    Raises:
        NotApplicableError: If there are no references.
    """
    if not audit.references:
        raise NotApplicableError("there are no networks to compare with")
    known = [reference[part] for reference in audit.references]
    references, inside = [statistic(k.observed) for k in known], [k.inside for k in known]
    return Statistics(statistic(getattr(audit, part)), np.stack(references), np.stack(inside))


def mean_where(values: Floats, mask: Booleans) -> Floats:
    """The mean over the first axis where `mask`.

    Raises:
        NotApplicableError: If the mask is False for all entries of a sample.
    """
    count = mask.sum(axis=0)
    if not count.all():
        raise NotApplicableError("some sample is in all networks, or in none")
    mean: Floats = np.where(mask, values, 0.0).sum(axis=0) / count
    return mean
