"""How right methods are about the samples that they take for hidden ones."""

from __future__ import annotations

from unlearnbench.errors import UserError
from unlearnbench.reporting.apart import number, shown
from unlearnbench.reporting.cells import Cells, groups
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid

SHARES = {"precision": "Precision", "recall": "Recall"}
NOTE = (
    "Precision: share of the found samples that are hidden, i.e. must be forgotten although they are not in the forget "
    "set; none where nothing was found. Recall: share of the hidden samples that were found. In percent, mean ± sample "
    "standard deviation over seeds. Found, hidden: mean numbers of samples."
)


def view(cells: Cells) -> Grid:
    """Precision and recall of each method that reports what it takes for hidden samples.

    Raises:
        UserError: If no method reports any.
    """
    frame = cells.ok
    if "identification.found" not in frame or frame["identification.found"].isna().all():
        raise UserError(f"no method on {cells.task} reports samples that it takes for hidden ones: tarf does")
    rows = []
    for group in groups(frame[frame["identification.found"].notna()]):
        own = {name: group.cells[f"identification.{name}"].dropna() for name in ("found", "hidden", *SHARES)}
        counts = [float(own[name].mean()) for name in ("found", "hidden")]
        rows.append([group.dataset_title, group.method_title, *(number(own[name]) for name in SHARES), *counts])
    columns = [Column(title, shown) for title in SHARES.values()]
    columns += [Column(title, "{:.1f}".format) for title in ("Found", "Hidden")]
    return Grid(f"{cells.title}: identification", [DATA, METHOD, *columns], rows, [NOTE])
