"""The views of a table: the ways in which `unlearnbench table` shows its cells.

To add a view, write a module of its name in this package with a function `view(cells, ...) -> Grid`, and add a line to
`VIEWS`. The function receives the cells and, as keywords, the needs that the line declares; see `needs.NEEDS`. The
command line makes a flag of the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class View:
    """A view of a table.

    Attributes:
        name: The name of its module and its flag.
        help: The help of its flag.
        needs: The names of what it needs beside the cells.
        options: Those of the options protocol, attack and metric that it has.
        defaults: Values of options that are not given.
        variants: Whether it also shows a task with other options than the preset's.
    """

    name: str
    help: str
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    variants: bool = False


STANDARD = View("standard", "", needs=("protocol",), options=("protocol", "attack", "metric"), variants=True)
"""The paper's table, which has no flag."""
VIEWS = (
    View("apart", "Accuracies on given, hidden and sibling samples apart, for the tasks of label mismatch."),
    View(
        "compare",
        "Ours beside the published numbers.",
        needs=("protocol", "published"),
        options=("protocol",),
        defaults={"preset": "paper", "protocol": "released"},
    ),
    View("confusion", "Which classes wrong labels still confuse, class by class.", needs=("outputs",)),
    View("cost", "What each method costs, beside Retrain."),
    View("distance", "Distances to Retrain, in metrics and sample by sample.", needs=("outputs",)),
    View("identification", "Precision and recall of the hidden samples that methods find."),
    View("features", "What embeddings still know of the forget set; see `measure --features`."),
    View("paired", "Differences to Retrain with the same seed, with intervals and in noise floors."),
    View("sensitivity", "Every column against the values of options that were varied; see `run --sweep`."),
    View("relearning", "How fast forgotten samples are relearned; see `measure --relearn`."),
)
