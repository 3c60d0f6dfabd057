"""The tables of the paper: their numbers, their tasks, and the order of their methods."""

from __future__ import annotations

from collections.abc import Iterable

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import plugin_name
from unlearnbench.planning.presets import ELSEWHERE

TABLES = {
    1: "data-removal",
    2: "class-removal",
    3: "noisy-label-removal",
    4: "data-removal",
    5: "class-removal",
    6: "noisy-label-removal",
}
"""The task of each table of the paper; the table of any other task has the task's name."""
ABLATIONS = (4, 5, 6)
"""The tables that show methods without one of their parts."""
MISMATCH = 7
"""The number of TARF's table, which has a block for each of the following tasks."""
SCENARIOS = ("all-matched", "model-mismatch", "target-mismatch", "data-mismatch")
ORDER = (
    *("retrain", "neggrad", "boundary", "sisa", "unrolling", "t-s", "scrub"),
    *("laf-none-l1", "laf-none-l2", "laf-r", "laf"),
)
"""The paper's order of methods; others follow by name."""
GROUPS = {"method": "", "ablation": "", "variant": "Variants", ELSEWHERE: "Made elsewhere", "control": "Controls"}
"""Roles in the order of tables, with the heading of each."""


def task_of(number: int | str) -> str:
    """The task of a table.

    Raises:
        UserError: If no table of one task has the number.
    """
    if isinstance(number, str):
        return number
    if number not in TABLES:
        numbers = ", ".join(map(str, (*TABLES, MISMATCH)))
        raise UserError(f"there is no table {number}: choose one of {numbers}, or name a task")
    return TABLES[number]


def number_of(table: int | str) -> int | str:
    """The number of a table in the paper if it has one, otherwise the name of its task."""
    return next((n for n, task in TABLES.items() if table in (n, task)), table)


def position(method: str, role: str, order: Iterable[str] = ORDER) -> tuple[int, int, str]:
    """The sort key of a method in a table."""
    return list(dict.fromkeys(GROUPS.values())).index(GROUPS[role]), place(plugin_name(method), order), method


def place(name: str, order: Iterable[str]) -> int:
    """The position of a name in an order; behind all others if it is not there."""
    names = list(order)
    return names.index(name) if name in names else len(names)
