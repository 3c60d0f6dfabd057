"""Plugins in keys: name, options, and the version or the source of their code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from unlearnbench.artefacts.splits import digests_of
from unlearnbench.artefacts.versions import of_plugin
from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.fingerprint import CORE, fingerprint
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.task import Task


def plugin_key(kind: type[Plugin], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that stands for a plugin; with its distribution's version if it is a third party's.

    Options that are None by default, and are None, are left out: a plugin that gets such an option keeps its keys.
    """
    plugin, entry = registry.get(kind, name), registry.entry(f"{kind.kind}s", name)
    values = {
        option: list(value) if isinstance(value, tuple) else value
        for option, value in options.items()
        if not (value is None and plugin.defaults.get(option) is None)
    }
    code = of_plugin(entry.group, name, fingerprint(plugin.__module__))
    key = {"name": name, "options": values, "code": code}
    return key if entry.origin == CORE else {**key, "from": f"{entry.origin} {entry.version}"}


def task_key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that stands for a task: as for any plugin, with the content of the files that it reads."""
    task = registry.get(Task, name)
    key = plugin_key(Task, name, {option: value for option, value in options.items() if option not in task.files})
    return {**key, "files": digests_of(task, options)} if task.files else key


def attack_key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that stands for an attack: as for any plugin, with the releases of the libraries it uses.

    Raises:
        UserError: If a library is not installed.
    """
    libraries = registry.get(Attack, name).libraries(**options)
    try:
        return {
            **plugin_key(Attack, name, options),
            "with": {library: minor(release(library)) for library in libraries},
        }
    except PackageNotFoundError as error:
        raise UserError(f"attack {name} with {options} needs {error.name}: run `pip install {error.name}`") from error


@cache
def release(library: str) -> str:
    """The installed version of a distribution; a lookup takes a millisecond."""
    return version(library)


def minor(release: str) -> str:
    """The part of a version that numbers depend on, e.g. "2.13" of "2.13.0+cpu"."""
    return ".".join(release.split(".")[:2])
