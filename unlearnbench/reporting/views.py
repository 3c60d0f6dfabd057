"""The views of a table: the ways in which `unlearnbench table` shows its cells.

A new view is a line of `VIEWS` and a module of its name in this package, with a function

    def view(cells: Cells, ...) -> Grid

that gets what the view needs as keywords; see `needs.NEEDS`. Its flag on the command line is made of that line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class View:
    """A view of a table.

    Attributes:
        name: Of its module and its flag.
        help: What its flag does.
        needs: Names of what it needs beside the cells.
        options: Which of the options protocol, attack and metric it has.
        defaults: Values of options that are not given.
        variants: Whether it also shows the cells of a task with other options than the preset's.
    """

    name: str
    help: str
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    variants: bool = False


STANDARD = View("standard", "", ("protocol",), ("protocol", "attack", "metric"), variants=True)
"""The paper's table, which has no flag."""
VIEWS = (
    View(
        "compare",
        "Ours beside the published numbers.",
        ("protocol", "published"),
        ("protocol",),
        {"preset": "paper", "protocol": "released"},
    ),
    View("cost", "What each method costs, beside Retrain."),
    View("distance", "Distances to Retrain, in metrics and sample by sample.", ("outputs",)),
    View("paired", "Differences to Retrain with the same seed, with intervals and in noise floors."),
    View("relearning", "How fast forgotten samples are learned again; see `measure --relearn`."),
)
