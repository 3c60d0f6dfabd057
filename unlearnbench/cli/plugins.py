"""Commands about what is installed: methods and other plugins, and data sets."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from unlearnbench.cli.options import DATA, JSON
from unlearnbench.cli.printing import print_rows


@click.command("list")
@click.argument("what", metavar="methods|tasks|datasets|models|attacks|presets")
@JSON
def list_plugins(what: str, as_json: bool) -> None:
    """Lists what is installed, where it comes from, and what each method may see."""
    from unlearnbench.operations.listing import listing

    print_rows(listing(what), as_json)


@click.command()
@click.argument("plugin", metavar="NAME|FILE.py:FUNCTION")
@click.option(
    "--kind", metavar="KIND", help="method, task, dataset, model or attack, if there are several of that name."
)
@DATA
@JSON
def check(plugin: str, kind: str | None, data: str | None, as_json: bool) -> None:
    """Checks whether a plugin keeps the contract, on a small problem, with its default options.

    Exit code 0: it does; 1: it does not, and what failed says what to change; 2: wrong usage.
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
        found = [result.status for result in results]
        others = "".join(f", {found.count(status)} {status}" for status in ("expected", "skipped") if status in found)
        click.echo(f"{plugin}: {found.count('ok')} ok, {found.count('failed')} failed{others}")
    sys.exit(1 if any(result.status == "failed" for result in results) else 0)


@click.command()
@click.argument("kind", metavar="method|task|dataset|model|attack")
@click.argument("name")
@click.option("--into", default=".", metavar="DIR", help="Where the new folder goes.  [.]")
def new(kind: str, name: str, into: str) -> None:
    """Writes a small package with a plugin that works, a test of it, and what to do with it."""
    from unlearnbench.plugins.scaffold import write

    folder, steps = write(kind, name, into)
    click.echo(f"{folder} is a package with a working {kind}, for you to change. Now:\n\n{steps}")


@click.group("data")
def data_sets() -> None:
    """Says where the data sets are, and downloads them."""


@data_sets.command("list")
@DATA
@JSON
def list_data(data: str | None, as_json: bool) -> None:
    """Lists all data sets: where they are, how large, and whether their checksums are right."""
    from unlearnbench.operations.listing import data_listing

    print_rows(data_listing(data), as_json)


@data_sets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@DATA
def fetch(names: tuple[str, ...], data: str | None) -> None:
    """Downloads data sets, and checks them."""
    from unlearnbench.operations.listing import fetch_data

    for name in names:
        click.echo(fetch_data(name, data))
