"""Commands for plugins and data sets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from unlearnbench.cli.options import DATA, JSON, option
from unlearnbench.cli.printing import print_rows
from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from unlearnbench.checks import Result


@click.command("list")
@click.argument("what", metavar="methods|tasks|datasets|models|attacks|presets")
@JSON
def list_plugins(what: str, as_json: bool) -> None:
    """Lists plugins, or presets.

    Shows where each comes from, its options, and the data that a method may access.
    """
    from unlearnbench.operations.listing import listing

    print_rows(listing(what), as_json)


@click.command()
@click.argument("plugin", metavar="NAME|FILE.py:FUNCTION")
@option(
    "--kind", metavar="KIND", help="Kind, if several plugins have this name: method, task, dataset, model or attack."
)
@click.option("--shape", metavar="C,H,W", help="Images that a model is checked with.  [3,32,32, and others]")
@DATA
@JSON
def check(plugin: str, kind: str | None, shape: str | None, data: str | None, as_json: bool) -> None:
    """Checks that a plugin keeps its contract.

    Runs it on a small problem with default options. Exit code 0: all checks passed; 1: some failed, and their messages
    say what to change; 2: wrong usage.
    """
    from unlearnbench.checks import examine

    results: list[Result] = []
    for result in examine(plugin, kind=kind, data=data, shape=shape_of(shape) if shape else None):
        if not as_json and result.status != "skipped":
            click.echo(check_line(result, results))
        results.append(result)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        for line in skipped_lines(results):
            click.echo(line)
        counts = Counter(result.status for result in results)
        rarer = [status for status in ("warning", "expected", "skipped") if counts[status]]
        others = "".join(f", {counts[status]} {status}" for status in rarer)
        click.echo(f"{plugin}: {counts['ok']} ok, {counts['failed']} failed{others}")
    sys.exit(1 if any(result.status == "failed" for result in results) else 0)


def check_line(result: Result, before: Sequence[Result]) -> str:
    """The result of a check; a message that was printed before is not repeated."""
    status = "FAILED" if result.status == "failed" else result.status
    first = next((other.check for other in before if other.message == result.message), "")
    message = f"as {first}" if first and result.message else result.message
    return f"{status:8} {result.check}" + (f": {message}" if message else "")


def skipped_lines(results: Sequence[Result]) -> Iterator[str]:
    """A line for each reason for which checks were skipped."""
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.status == "skipped":
            reasons.setdefault(result.message, []).append(result.check)
    for reason, checks in reasons.items():
        what = checks[0] if len(checks) == 1 else f"{len(checks)} checks"
        yield f"{'skipped':8} {what}: {reason}"


def shape_of(text: str) -> tuple[int, int, int]:
    """Parses C,H,W.

    Raises:
        UserError: If these are not three numbers above 0.
    """
    words = text.split(",")
    if len(words) != 3 or not all(word.strip().isdecimal() and int(word) for word in words):
        raise UserError(f"--shape must be channels, height and width, such as 3,32,32, not {text!r}")
    channels, height, width = map(int, words)
    return channels, height, width


@click.command()
@click.argument("kind", metavar="method|task|dataset|model|attack")
@click.argument("name")
@option("--into", default=".", metavar="DIR", help="Folder to create it in.  [.]")
def new(kind: str, name: str, into: str) -> None:
    """Creates a package with a working plugin and its test."""
    from unlearnbench.plugins.scaffold import write

    folder, steps = write(kind, name, into)
    click.echo(f"{folder} is a package with a working {kind}. Next steps:\n\n{steps}")


@click.group("data")
def data_sets() -> None:
    """Lists and downloads data sets."""


@data_sets.command("list")
@DATA
@JSON
def list_data(data: str | None, as_json: bool) -> None:
    """Lists all data sets: state of their files, folder and size."""
    from unlearnbench.operations.listing import data_listing

    print_rows(data_listing(data), as_json)


@data_sets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@DATA
def fetch(names: tuple[str, ...], data: str | None) -> None:
    """Downloads data sets, and checks their files."""
    from unlearnbench.operations.listing import fetch_data

    for name in names:
        click.echo(fetch_data(name, data))
