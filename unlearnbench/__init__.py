"""unlearnbench: which machine-unlearning methods really forget?

Run from Python with `run` (`progress=Reporter()` shows how it goes), read with `load` and `table`; write plugins with
`method`, `task`, `dataset`, `model` and `attack`. Names are imported when they are first used, so that the command line
answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearnbench.cli.progress import Reporter
    from unlearnbench.errors import AccessError, NotApplicableError, UserError
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
    from unlearnbench.plugins.task import Split, check_classes, choose, of_classes, task
    from unlearnbench.reporting.frame import load
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
    "Network": "plugins.model",
    "NonNegative": "plugins.ranges",
    "NotApplicableError": "errors",
    "Observed": "plugins.attack",
    "Positive": "plugins.ranges",
    "Problem": "plugins.problem",
    "Range": "plugins.ranges",
    "Recipe": "training.recipe",
    "Reporter": "cli.progress",
    "Samples": "training.samples",
    "Scores": "plugins.attack",
    "Share": "plugins.ranges",
    "Size": "plugins.ranges",
    "Split": "plugins.task",
    "Summary": "operations.run",
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
