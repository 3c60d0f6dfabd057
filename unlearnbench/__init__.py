"""unlearnbench: which machine-unlearning methods really forget?

Run from Python with `run` (`progress=Reporter()` shows how it goes), read with `load` and `table`; write plugins with
`method`, `task`, `dataset`, `model` and `attack`. Names are imported when they are first used, so that the command line
answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearnbench.attacks import Audit, Observed, Scores, attack
    from unlearnbench.checkpoints import Checkpoint, packed, unpacked
    from unlearnbench.data import Dataset, dataset
    from unlearnbench.errors import AccessError, UserError
    from unlearnbench.method import Access, method
    from unlearnbench.models import Network, model
    from unlearnbench.problem import Problem
    from unlearnbench.progress import Reporter
    from unlearnbench.records import load
    from unlearnbench.run import Summary, run
    from unlearnbench.samples import Batch, Samples, concat
    from unlearnbench.tables import table
    from unlearnbench.task import Split, check_classes, choose, of_classes, task

_HOMES = {
    "attacks": ("Audit", "Observed", "Scores", "attack"),
    "checkpoints": ("Checkpoint", "packed", "unpacked"),
    "data": ("Dataset", "dataset"),
    "errors": ("AccessError", "UserError"),
    "method": ("Access", "method"),
    "models": ("Network", "model"),
    "problem": ("Problem",),
    "progress": ("Reporter",),
    "records": ("load",),
    "run": ("Summary", "run"),
    "samples": ("Batch", "Samples", "concat"),
    "tables": ("table",),
    "task": ("Split", "check_classes", "choose", "of_classes", "task"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Access",
    "AccessError",
    "Audit",
    "Batch",
    "Checkpoint",
    "Dataset",
    "Network",
    "Observed",
    "Problem",
    "Reporter",
    "Samples",
    "Scores",
    "Split",
    "Summary",
    "UserError",
    "attack",
    "check_classes",
    "choose",
    "concat",
    "dataset",
    "load",
    "method",
    "model",
    "of_classes",
    "packed",
    "run",
    "table",
    "task",
    "unpacked",
]


class _Package(ModuleType):
    """This package. Importing its module `run` must not hide its function `run` (likewise `method` and `task`)."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
