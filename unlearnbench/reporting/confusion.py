"""Which classes wrong labels still confuse after noisy-label removal, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from unlearnbench.errors import UserError
from unlearnbench.reporting.cells import Cells, Group, groups
from unlearnbench.reporting.distance import shown, summary, tidy
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid
from unlearnbench.reporting.outputs import PARTS, Outputs
from unlearnbench.reporting.samplewise import CONFUSED, confusion_by_class

NOTE = (
    "Interclass confusion (Goel et al., 2022), class by class, in percent: the share of the samples of a class that a "
    "model takes for one of the wrong labels that this class has in the forget set. f: samples of the forget set, "
    "whose wrong labels were memorised; t: test samples, to which they were generalised. Compare with Retrain, which "
    "never saw a wrong label."
)
Shares = Mapping[tuple[str, int], list[float]]
"""Confusion by part and class: in percent, of each seed."""


def view(cells: Cells, outputs: Outputs) -> Grid:
    """The confusion of each method, and of Retrain.

    Args:
        cells: What it shows.
        outputs: A cell without outputs is left out.

    Raises:
        UserError: If there are no outputs, or no class has wrong labels.
    """
    lines = [(group, shares) for group in groups(cells.ok) if (shares := shares_of(group, outputs))]
    if not outputs.keys:
        raise UserError("no outputs of these cells are in the cache: `merge --cache` copies those of other machines")
    if not lines:
        raise UserError(f"no class of {cells.task} has wrong labels: --confusion is for noisy-label removal")
    classes = sorted({one for _, shares in lines for _, one in shares})
    places = list(product(CONFUSED, classes))
    headers = [f"{one}_{PARTS[part]}" for part, one in places]
    rows = [
        [group.dataset_title, group.method_title, *(summary(shares.get(place, [])) for place in places)]
        for group, shares in lines
    ]
    columns = [DATA, METHOD, *(Column(header, shown) for header in headers)]
    return Grid(f"{cells.title}: confusion by wrong labels", columns, rows, [NOTE], tidy(headers, rows))


def shares_of(group: Group, outputs: Outputs) -> Shares:
    """The confusion of a method on a data set; empty without outputs."""
    shares: dict[tuple[str, int], list[float]] = {}
    for seed in sorted(group.cells["seed"]):
        if parts := outputs.parts(group.dataset, group.method, int(seed)):
            for part, by_class in confusion_by_class(parts).items():
                for one, share in by_class.items():
                    shares.setdefault((part, one), []).append(100 * share)
    return shares
