"""The options that several commands have, and how their values are read."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import click

from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from unlearnbench.operations.work import Effort
    from unlearnbench.planning.selection import Selection, Workspace

RESULTS = click.option("--results", default="results", metavar="DIR", help="Folder of records and tables.")
PRESET = click.option("--preset", default="demo", metavar="NAME|FILE.toml", help="What to run, and how. [demo]")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
PARAMETERS = click.option(
    "-p", "--param", "parameters", multiple=True, metavar="NAME.KEY=VALUE", help="E.g. laf.tau=5; repeatable."
)
DATASETS = click.option(
    "-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only this data set; repeatable."
)
TASKS = click.option("-t", "--task", "tasks", multiple=True, metavar="NAME", help="Only this task; repeatable.")
METHODS = click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="NAME|FILE.py:FUNCTION",
    help="Only this one, installed or in a file, and Retrain; repeatable.",
)
SEEDS = click.option("--seeds", metavar="0-4|0,2,5", help="Which seeds.  [the preset's]")
JOBS = click.option("-j", "--jobs", type=int, metavar="N", help="Workers, one thread each.  [number of cores]")
DEVICE = click.option("--device", default="auto", metavar="auto|cpu|cuda", help="Where to compute.  [auto]")
ARITHMETIC = click.option(
    "--arithmetic",
    default="auto",
    metavar="auto|portable|native",
    help="portable: the same numbers on every x86-64 processor with AVX2; native: faster.  [portable if possible]",
)
CACHE = click.option(
    "--cache", metavar="DIR", help="Folder of artefacts.  [$UNLEARNBENCH_CACHE or the user's cache folder]"
)
DATA = click.option(
    "--data", metavar="DIR", help="Folder of data sets.  [$UNLEARNBENCH_DATA or the user's data folder]"
)
DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done and what it takes.")
ACCEPT = click.option("--accept-stale", is_flag=True, help="Reuse stale results, with a footnote.")
ONE_DATASET = click.option("-d", "--dataset", required=True, metavar="NAME", help="The data set.")
ONE_TASK = click.option("-t", "--task", required=True, metavar="NAME", help="The task.")
ONE_SEED = click.option("--seed", type=int, default=0, metavar="N", help="The seed.  [0]")


def selection_of(options: dict[str, Any]) -> Selection:
    """The selection that a command's options describe; removes them from `options`."""
    from unlearnbench.planning.selection import Selection

    overrides = parse_parameters(options.pop("parameters", ()))
    one = {"datasets": "dataset", "tasks": "task", "seeds": "seed"}
    values = {
        name: options.pop(key)
        for name in ("preset", "datasets", "tasks", "methods", "seeds")
        for key in (name, one.get(name, name))
        if key in options
    }
    return Selection.of(**values, overrides=overrides)


def workspace_of(options: dict[str, Any]) -> Workspace:
    """The workspace that a command's options describe; removes them from `options`."""
    from unlearnbench.planning.selection import Workspace

    names = ("results", "cache", "data", "device", "arithmetic")
    return Workspace.of(**{name: options.pop(name) for name in names if name in options})


def effort_of(options: dict[str, Any]) -> Effort:
    """The effort that a command's options describe; removes them from `options`."""
    from unlearnbench.operations.work import Effort

    return Effort(**{name: options.pop(name) for name in ("jobs", "timeout", "fail_fast") if name in options})


def parse_parameters(parameters: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Reads NAME.KEY=VALUE; a value is TOML, or a word as it stands."""
    overrides: dict[str, dict[str, Any]] = {}
    for text in parameters:
        left, equals, right = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot and name and key):
            raise UserError(f"-p wants NAME.KEY=VALUE such as laf.tau=5, not {text!r}")
        overrides.setdefault(name, {})[key] = parse_value(right)
    return overrides


def parse_value(text: str) -> Any:
    """A value as TOML has it, or a word as it stands."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
