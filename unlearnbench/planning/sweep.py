"""A sweep: the cells of a selection, and those with other values of some options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning.cells import planned
from unlearnbench.planning.names import with_parents
from unlearnbench.planning.plan import Plan, Rerun
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import Overrides, Selection, Workspace, by_plugin
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local, entry
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.task import Task

ATTACKS = tuple(protocol.attack for protocol in PROTOCOLS.values())
"""The attacks of every run."""
Sweep = Mapping[str, Mapping[str, Sequence[Any]]]
"""Values to try, by name of a method or task and option."""


def swept(
    selection: Selection,
    workspace: Workspace,
    sweep: Sweep | None = None,
    combinations: bool = False,
    rerun: Rerun = Rerun(),
) -> Plan:
    """Plans a selection, and what each point of a sweep changes in it.

    Args:
        selection: The cells without the sweep. If it names no methods: those of the sweep, if this is given here.
        workspace: Where they are computed.
        sweep: The values to try; None: those of the preset.
        combinations: Try all combinations of the values, instead of one change at a time; the preset says it for its
            own sweep.
        rerun: Which finished cells are computed again.

    Raises:
        UserError: If a name, an option or a value is wrong.
    """
    sweep = by_plugin(sweep or {})
    if not sweep:
        sweep, combinations = selection.preset.sweep, selection.preset.combinations
    elif not selection.methods:
        selection = replace(selection, methods=[name for name in sweep if is_method(name)])
    plan = planned(selection, workspace, rerun)
    roles = {cell.method: cell.info.role for cell in plan.cells}
    tasks = {cell.scenario.task for cell in plan.cells}
    check(sweep, roles, tasks)
    cells = {cell.path: cell for cell in plan.cells}
    for point in points(sweep, combinations):
        methods = [name for name, role in roles.items() if role != "control" and depends(name, point, tasks)]
        if methods:
            overrides = merged(selection.overrides, point, {*with_parents(methods), *tasks, *ATTACKS})
            changed = planned(replace(selection, methods=methods, overrides=overrides), workspace, rerun)
            cells = {cell.path: cell for cell in changed.cells} | cells
    return replace(plan, cells=sorted(cells.values(), key=lambda cell: (cell.depth, -cell.outputs.ep)))


def is_method(name: str) -> bool:
    """Whether a name is that of a method, in a file or installed."""
    if isinstance(name, Local):
        return entry(name).group == "methods"
    return name in registry.entries("methods")


def points(sweep: Sweep, combinations: bool) -> Iterator[Overrides]:
    """The options of each point: one change at a time, or all combinations."""
    axes = [[(name, option, value) for value in values] for name, o in sweep.items() for option, values in o.items()]
    changes = product(*axes) if combinations else ((change,) for axis in axes for change in axis)
    for point in changes:
        overrides: dict[str, dict[str, Any]] = {}
        for name, option, value in point:
            overrides.setdefault(name, {})[option] = value
        yield overrides


def depends(method: str, point: Overrides, tasks: Collection[str]) -> bool:
    """Whether a point changes a method: its options, those of a method that it starts from, or those of a task."""
    return any(name in tasks or name in with_parents([method]) for name in point)


def merged(one: Overrides, other: Overrides, names: Collection[str]) -> Overrides:
    """The options of two sources for some names; the second source wins."""
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in (*one, *other) if name in names}


def check(sweep: Sweep, methods: Collection[str], tasks: Collection[str]) -> None:
    """Raises `UserError` for a name or an option that does not take part, and for an attack."""
    for name, options in sweep.items():
        if name in ATTACKS:
            raise UserError(f"{name} is an attack, whose options all cells of a table share: a sweep has none of these")
        if name not in methods and is_method(name):
            raise UserError(f"a sweep changes {name}, which is not in this run: add -m {name}, or leave out -m")
        if name not in methods and name not in tasks:
            raise unknown("method or task of this run:", name, (*methods, *tasks))
        plugin: Plugin = registry.get(Method, name) if name in methods else registry.get(Task, name)
        for option in options:
            if option not in plugin.defaults:
                raise unknown(f"option of {plugin.kind} {name!r}:", option, plugin.defaults)
