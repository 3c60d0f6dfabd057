"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import tomllib
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from unlearnbench.engines.lanes import Engine
    from unlearnbench.operations.work import Effort
    from unlearnbench.planning.selection import Selection, Workspace


class Once(click.Option):
    """An option that may be given once; of several, click would take the last one without a word."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        if settings.get("default") is not None:
            settings["default"] = [settings["default"]]
        super().__init__(*names, **{**settings, "multiple": True})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value; None if there is none."""
        values = super().process_value(ctx, value)
        if values and len(values) > 1:
            given = " and ".join(map(str, values))
            raise click.UsageError(f"{self.opts[-1]} can be given once, not as {given}: use one of them", ctx)
        return values[0] if values else None


option = partial(click.option, cls=Once)
"""As `click.option`, for options with one value."""
RESULTS = option("--results", default="results", metavar="DIR", help="Folder of records and tables.  [results]")
PRESET = option("--preset", default="demo", metavar="NAME|FILE.toml", help="Name or file of the preset.  [demo]")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
PARAMETERS = click.option(
    "-p",
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME.KEY=VALUE",
    help="Set an option, e.g. laf.tau=5; repeatable.",
)
DATASETS = click.option(
    "-d",
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME|FILE.py:FUNCTION",
    help="Only this data set; repeatable.",
)
TASKS = click.option(
    "-t",
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME|FILE.py:FUNCTION",
    help="Only this task; repeatable.",
)
METHODS = click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="NAME|FILE.py:FUNCTION",
    help="Only this method, and Retrain; repeatable.",
)
SWEEP = click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME.KEY=V1,V2",
    help="Run NAME with these values of an option, too, one change at a time; repeatable.  [those of the preset]",
)
SEEDS = option("--seeds", metavar="0-4|0,2,5", help="Which seeds.  [those of the preset]")
JOBS = option(
    "-j", "--jobs", type=int, metavar="N", help="Number of workers, or of each GPU.  [number of cores; 1 of each GPU]"
)
SCHEDULER = option(
    "--scheduler", metavar="ADDRESS|FILE.json", help="Use the workers of this Dask scheduler.  [this machine's]"
)
TIMEOUT = option(
    "--timeout", type=float, metavar="SECONDS", help="Stop a method or an attack after this time.  [never]"
)
DEVICE = option("--device", default="auto", metavar="auto|cpu|cuda", help="Device.  [auto]")
ARITHMETIC = option(
    "--arithmetic",
    default="auto",
    metavar="auto|portable|native",
    help="portable: same numbers on all x86-64 CPUs with AVX2; native: faster.  [portable if possible]",
)
CACHE = option(
    "--cache", metavar="DIR|URL", help="Folder of artefacts.  [$UNLEARNBENCH_CACHE or the user's cache folder]"
)
DATA = option("--data", metavar="DIR", help="Folder of data sets.  [$UNLEARNBENCH_DATA or the user's data folder]")
DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Print what would be run, and its cost.")
ACCEPT = click.option("--accept-stale", is_flag=True, help="Reuse stale results, with a footnote.")
ONE_DATASET = option("-d", "--dataset", required=True, metavar="NAME", help="The data set.")
ONE_TASK = option("-t", "--task", required=True, metavar="NAME", help="The task.")
ONE_SEED = option("--seed", type=int, default=0, metavar="N", help="The seed.  [0]")


def selection_of(options: dict[str, Any]) -> Selection:
    """The selection that options describe; removes these from `options`."""
    from unlearnbench.planning.selection import Selection

    overrides = parse_parameters(options.pop("parameters", ()))
    singular = {"datasets": "dataset", "tasks": "task", "seeds": "seed"}
    values = {
        name: options.pop(key)
        for name in ("preset", "datasets", "tasks", "methods", "seeds")
        for key in (name, singular.get(name, name))
        if key in options
    }
    return Selection.of(**values, overrides=overrides)


def workspace_of(options: dict[str, Any], engine: Engine | None = None) -> Workspace:
    """The workspace that options describe, for the workers of an engine; removes these from `options`."""
    from unlearnbench.engines.local import LOCAL
    from unlearnbench.planning.selection import Workspace

    names = ("results", "cache", "data", "device", "arithmetic")
    given = {name: options.pop(name) for name in names if name in options}
    return Workspace.of(**given, engine=engine or LOCAL)


def effort_of(options: dict[str, Any], engine: Engine | None = None) -> Effort:
    """The effort that options describe, with the workers of an engine; removes these from `options`."""
    from unlearnbench.engines.local import LOCAL
    from unlearnbench.operations.work import Effort

    given = {name: options.pop(name) for name in ("jobs", "timeout", "fail_fast") if name in options}
    return Effort(**given, engine=engine or LOCAL)


def parse_parameters(parameters: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Parses NAME.KEY=VALUE; a value is TOML, or a plain word."""
    overrides: dict[str, dict[str, Any]] = {}
    for text in parameters:
        left, equals, right = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot and name and key):
            raise UserError(f"-p must be NAME.KEY=VALUE, such as laf.tau=5, not {text!r}")
        if key in overrides.setdefault(name, {}):
            raise UserError(f"-p {left} can be given once: {overrides[name][key]!r} and {right} contradict each other")
        overrides[name][key] = parse_value(right)
    return overrides


def parse_sweeps(sweeps: tuple[str, ...]) -> dict[str, dict[str, list[Any]]]:
    """Parses NAME.KEY=V1,V2; values are TOML, or plain words."""
    parsed: dict[str, dict[str, list[Any]]] = {}
    for text in sweeps:
        left, equals, right = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot and name and key and right):
            raise UserError(f"--sweep must be NAME.KEY=V1,V2, such as laf.tau=5,20, not {text!r}")
        values = parse_value(f"[{right}]")
        listed = values if isinstance(values, list) else [parse_value(value) for value in right.split(",")]
        if key in parsed.setdefault(name, {}):
            raise UserError(f"--sweep {left} can be given once: give all values together, separated by commas")
        parsed[name][key] = listed
    return parsed


def parse_value(text: str) -> Any:
    """Parses a TOML value; text that is none stays a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
