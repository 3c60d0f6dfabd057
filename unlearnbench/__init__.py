"""unlearnbench: which machine-unlearning methods really forget?

Run from Python with `run`, read with `load` and `table`, draw with `plot_tradeoff` and `plot_sensitivity`; write
plugins with `method`, `task`, `dataset`, `model` and `attack`. Names are imported when they are first used, so that the
command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearnbench.errors import AccessError, NotApplicableError, UserError
    from unlearnbench.operations.progress import Reporter
    from unlearnbench.operations.run import Summary, run
    from unlearnbench.plugins.access import Access
    from unlearnbench.plugins.attack import Audit, Observed, Scores, attack
    from unlearnbench.plugins.checkpoints import Checkpoint, packed, unpacked
    from unlearnbench.plugins.dataset import Dataset, dataset
    from unlearnbench.plugins.method import method
    from unlearnbench.plugins.model import Network, model
    from unlearnbench.plugins.positions import read_positions
    from unlearnbench.plugins.problem import Problem
    from unlearnbench.plugins.ranges import Count, NonNegative, Positive, Range, Share, Size
    from unlearnbench.plugins.task import Domain, Split, check_classes, choose, of_classes, task
    from unlearnbench.plugins.taxonomy import Taxonomy
    from unlearnbench.reporting.frame import load
    from unlearnbench.reporting.plots import plot_sensitivity, plot_tradeoff
    from unlearnbench.reporting.tables import table
    from unlearnbench.training.recipe import Recipe
    from unlearnbench.training.samples import Batch, Samples, concat
    from unlearnbench.training.steps import descend, divergence

_HOMES = {
    "Access": "plugins.access",
    "AccessError": "errors",
    "Audit": "plugins.attack",
    "Batch": "training.samples",
    "Checkpoint": "plugins.checkpoints",
    "Count": "plugins.ranges",
    "Dataset": "plugins.dataset",
    "Domain": "plugins.task",
    "Network": "plugins.model",
    "NonNegative": "plugins.ranges",
    "NotApplicableError": "errors",
    "Observed": "plugins.attack",
    "Positive": "plugins.ranges",
    "Problem": "plugins.problem",
    "Range": "plugins.ranges",
    "Recipe": "training.recipe",
    "Reporter": "operations.progress",
    "Samples": "training.samples",
    "Scores": "plugins.attack",
    "Share": "plugins.ranges",
    "Size": "plugins.ranges",
    "Split": "plugins.task",
    "Summary": "operations.run",
    "Taxonomy": "plugins.taxonomy",
    "UserError": "errors",
    "attack": "plugins.attack",
    "check_classes": "plugins.task",
    "choose": "plugins.task",
    "concat": "training.samples",
    "dataset": "plugins.dataset",
    "descend": "training.steps",
    "divergence": "training.steps",
    "load": "reporting.frame",
    "method": "plugins.method",
    "model": "plugins.model",
    "of_classes": "plugins.task",
    "packed": "plugins.checkpoints",
    "plot_sensitivity": "reporting.plots",
    "plot_tradeoff": "reporting.plots",
    "read_positions": "plugins.positions",
    "run": "operations.run",
    "table": "reporting.tables",
    "task": "plugins.task",
    "unpacked": "plugins.checkpoints",
}
"""The public names, and the module that each is imported from when it is first used."""

__all__ = [
    "Access",
    "AccessError",
    "Audit",
    "Batch",
    "Checkpoint",
    "Count",
    "Dataset",
    "Domain",
    "Network",
    "NonNegative",
    "NotApplicableError",
    "Observed",
    "Positive",
    "Problem",
    "Range",
    "Recipe",
    "Reporter",
    "Samples",
    "Scores",
    "Share",
    "Size",
    "Split",
    "Summary",
    "Taxonomy",
    "UserError",
    "attack",
    "check_classes",
    "choose",
    "concat",
    "dataset",
    "descend",
    "divergence",
    "load",
    "method",
    "model",
    "of_classes",
    "packed",
    "plot_sensitivity",
    "plot_tradeoff",
    "read_positions",
    "run",
    "table",
    "task",
    "unpacked",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
