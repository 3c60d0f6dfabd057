"""Commands for plugins and data sets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict

import click

from unlearnbench.cli.options import DATA, JSON
from unlearnbench.cli.printing import print_rows


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
@click.option(
    "--kind", metavar="KIND", help="Kind, if several plugins have this name: method, task, dataset, model or attack."
)
@DATA
@JSON
def check(plugin: str, kind: str | None, data: str | None, as_json: bool) -> None:
    """Checks that a plugin keeps its contract.

    Runs it on a small problem with default options. Exit code 0: all checks passed; 1: some failed, and their messages
    say what to change; 2: wrong usage.
    """
    from unlearnbench.checks import examine

    results = []
    for result in examine(plugin, kind=kind, data=data):
        results.append(result)
        if not as_json:
            status = "FAILED" if result.status == "failed" else result.status
            click.echo(f"{status:8} {result.check}" + (f": {result.message}" if result.message else ""))
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        counts = Counter(result.status for result in results)
        rarer = [status for status in ("warning", "expected", "skipped") if counts[status]]
        others = "".join(f", {counts[status]} {status}" for status in rarer)
        click.echo(f"{plugin}: {counts['ok']} ok, {counts['failed']} failed{others}")
    sys.exit(1 if any(result.status == "failed" for result in results) else 0)


@click.command()
@click.argument("kind", metavar="method|task|dataset|model|attack")
@click.argument("name")
@click.option("--into", default=".", metavar="DIR", help="Folder to create it in.  [.]")
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
