"""Commands that read: tables, ranks, records, and what the cache holds; and those that check or merge records."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from unlearnbench.cli.echo import echo
from unlearnbench.cli.options import (
    ACCEPT,
    ARITHMETIC,
    CACHE,
    DATA,
    DATASETS,
    DEVICE,
    JOBS,
    JSON,
    METHODS,
    PRESET,
    RESULTS,
    SEEDS,
    TASKS,
    effort_of,
    option,
    selection_of,
    workspace_of,
)
from unlearnbench.cli.printing import default_format, show_confirmation
from unlearnbench.errors import UserError, counted
from unlearnbench.reporting.views import STANDARD, VIEWS
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import expanded

MOST_PLACES = 3
"""The number of places of a problem that are printed; --json has all."""


def view_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each view of a table."""
    for view in reversed(VIEWS):
        command = click.option(f"--{view.name}", is_flag=True, help=view.help)(command)
    return command


@click.command()
@click.argument("number", metavar="[NUMBER|TASK]", required=False)
@option("--preset", metavar="NAME|FILE.toml", help="Whose results.  [demo; paper or tarf with --compare]")
@RESULTS
@DATASETS
@TASKS
@METHODS
@SEEDS
@option("--format", "form", metavar="markdown|latex|csv", help="[markdown; bold type in a terminal]")
@option("--protocol", metavar="clean|released", help="How models are evaluated.  [clean; released with --compare]")
@option(
    "--attack", metavar="NAME|FILE.py:FUNCTION", help="Show this attack in the last column; see `measure`.  [shadow]"
)
@option("--metric", metavar="auc|balanced_accuracy|tpr@1%|tpr@0.1%", help="The metric of the attack.  [auc]")
@view_flags
@ACCEPT
@CACHE
@DATA
def table(number: str | None, preset: str | None, results: str, form: str | None, **options: Any) -> None:
    """Prints a table of the records.

    1-3 (methods) and 4-6 (ablations) are the LAF paper's, 7 (label mismatch) is TARF's; other tasks have a table of
    their name. Retrain and the controls are always shown. Variants take part in bold and underlined type if -m names
    them.
    """
    from unlearnbench.reporting.tables import table as table_text

    views = [view.name for view in VIEWS if options.pop(view.name)]
    if len(views) > 1:
        raise UserError(f"{' and '.join(f'--{name}' for name in views)} do not go together: print one after the other")
    view = views[0] if views else STANDARD.name
    which = int(number) if number and number.isdecimal() else number
    click.echo(table_text(which, preset, results, form or default_format(), view, **options), nl=False)


@click.command()
@option("--preset", default="demo", metavar="NAME|FILE.toml", help="Whose results.  [demo]")
@RESULTS
@DATASETS
@TASKS
@METHODS
@SEEDS
@option("--format", "form", metavar="markdown|latex|csv", help="[markdown; bold type in a terminal]")
@option("--svg", metavar="FILE", help="Also draw the critical-difference diagram.")
@ACCEPT
@JSON
def rank(
    preset: str, results: str, form: str | None, svg: str | None, accept_stale: bool, as_json: bool, **options: Any
) -> None:
    """Ranks methods by their distance to Retrain over all tasks.

    Claims only the significance that the number of tasks and seeds supports. Methods that lack a task or a dataset are
    left out and named. Variants are ranked if -m names them.
    """
    from unlearnbench.reporting import ranking
    from unlearnbench.reporting.charts import ranks
    from unlearnbench.reporting.charts import svg as svg_text
    from unlearnbench.reporting.choice import Choice
    from unlearnbench.reporting.rendering import render

    ranked = ranking.rank(preset, results, accept_stale, Choice.of(**options))
    for note in ranked.absent if as_json or form == "csv" else ():
        echo(f"warning: {note}", err=True)
    if svg:
        write_atomically(expanded(svg), svg_text.file_text(ranks.diagram(ranked), []).encode())
    if as_json:
        click.echo(json.dumps(ranking.as_data(ranked), indent=1))
    else:
        click.echo(render(ranking.view(ranked), form or default_format()), nl=False)


@click.command()
@PRESET
@option("--out", metavar="FILE", help="The HTML file.  [report.html in the folder of the preset's results]")
@RESULTS
@DATASETS
@TASKS
@METHODS
@SEEDS
@click.option("--embed", is_flag=True, help="Put the records into the file, to share it alone.")
@ACCEPT
def report(preset: str, out: str | None, results: str, embed: bool, accept_stale: bool, **options: Any) -> None:
    """Writes a report: one HTML file for any browser.

    It has answers, tables, charts and records, and needs no network.

    Each `run` writes it, too; write it again after `measure` or `merge`.
    """
    from unlearnbench.operations.report import report as write_report
    from unlearnbench.reporting.choice import Choice

    choice = Choice.of(**options)
    click.echo(write_report(preset, results, out=out, choice=choice, accept_stale=accept_stale, embed=embed))


@click.command()
@click.argument("name", metavar="representation|tradeoff|roc|ranks|sensitivity")
@PRESET
@DATASETS
@TASKS
@METHODS
@SEEDS
@option("--seed", type=int, default=0, metavar="N", help="The seed of maps.  [0]")
@option("--out", metavar="FILE", help="File that ends in .svg or .pdf.  [SVG files beside the records]")
@RESULTS
@ACCEPT
def figure(
    name: str, preset: str, seed: int, out: str | None, results: str, accept_stale: bool, **options: Any
) -> None:
    """Draws a figure for a paper from records.

    representation: maps of the original, of methods and of Retrain, after `measure --features`; tradeoff: forgetting
    against utility; roc: ROC curves of the attack; ranks: the critical-difference diagram; sensitivity: gaps against
    hyperparameters, after runs with several values of -p.
    """
    from unlearnbench.operations.figure import figure as draw
    from unlearnbench.reporting.choice import Choice

    choice = Choice.of(**options)
    for path in draw(name, preset, results, choice=choice, seed=seed, out=out, accept_stale=accept_stale):
        click.echo(path)


@click.command()
@click.argument("dataset")
@click.argument("task")
@click.argument("method")
@click.argument("seed", type=int)
@PRESET
@RESULTS
@JSON
def show(dataset: str, task: str, method: str, seed: int, preset: str, results: str, as_json: bool) -> None:
    """Prints the record of a cell, and how to reproduce it."""
    from unlearnbench.planning import presets
    from unlearnbench.reporting.show import describe, find_record

    record = find_record(expanded(results), preset, dataset, task, method, seed)
    if as_json:
        click.echo(json.dumps(record, indent=1))
    else:
        for line in describe(record, presets.read(preset), results).splitlines():
            (click.echo if "  unlearnbench " in line else echo)(line)  # commands stay in one piece, to be copied


@click.command()
@click.option("--bump", multiple=True, metavar="GROUP.NAME", help="Raise this version, e.g. methods.laf; repeatable.")
@option("--because", default="", metavar="TEXT", help="Why numbers change; written to CHANGELOG.md.")
@click.option("--check", is_flag=True, help="Write nothing.")
@click.option(
    "--new-libraries",
    is_flag=True,
    help="Store the outputs of other versions of libraries as golden, if they are near.",
)
@JOBS
@ARITHMETIC
@JSON
def confirm(bump: tuple[str, ...], because: str, as_json: bool, **options: Any) -> None:
    """Checks that this machine gives the published bits.

    Computes a small plan, and compares its outputs with the published ones. After editing code: confirms that it still
    gives them, or raises the versions of the code that no longer does. Exit code 0: outputs are equal, or changes are
    explained; 1: otherwise.
    """
    from unlearnbench.operations.confirm import confirm as confirm_all
    from unlearnbench.operations.progress import Reporter

    progress = Reporter() if sys.stderr.isatty() else None  # a log needs no line for each of hundreds of steps
    done = confirm_all(bump, because, say=partial(echo, err=True), progress=progress, **options)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        show_confirmation(done)
    sys.exit(1 if done.problem else 0)


@click.command()
@RESULTS
@PRESET
@option("--rerun", type=int, default=0, metavar="N", help="Also unlearn N random cells again.  [0]")
@JOBS
@DEVICE
@ARITHMETIC
@CACHE
@DATA
@JSON
def verify(rerun: int, as_json: bool, **options: Any) -> None:
    """Recomputes all numbers of records from stored outputs.

    Reads all records of a preset and all artefacts, and reports all problems at once. Exit code 0: no problems; 1:
    problems.
    """
    from unlearnbench.operations.verify import verify as verify_all

    done = verify_all(
        selection_of(options),
        workspace_of(options),
        rerun=rerun,
        effort=effort_of(options),
        say=partial(echo, err=True),
    )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        for reason, count in done.unmeasured.items():
            echo(f"{counted(count, 'record')} read but not recomputed: {reason}")
        echo(
            f"{counted(done.records, 'record')} and {counted(done.artefacts, 'artefact')} read, "
            f"{counted(done.measured, 'record')} recomputed"
        )
        for problem in done.problems:
            echo(f"problem: {problem}")
        echo(counted(len(done.problems), "problem") if done.problems else "no problems")
    sys.exit(1 if done.problems else 0)


@click.command(name="check-results")
@RESULTS
@PRESET
@DATASETS
@TASKS
@METHODS
@SEEDS
@click.option("--write", is_flag=True, help="First write tables and README.md from the records.")
@CACHE
@DATA
@JSON
def check_results(write: bool, as_json: bool, **options: Any) -> None:
    """Checks whether records can be published.

    Prints everything that is wrong with the records of a preset. All of them are checked; -d, -t, -m and --seeds say
    which must be there. Nothing is computed again. Exit code 0: no problems; 1: problems.
    """
    from unlearnbench.operations.check_results import check_results as check

    done = check(selection_of(options), workspace_of(options), write=write)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        places: dict[str, list[str]] = {}
        for problem in done.problems:
            places.setdefault(problem.what, []).append(problem.where)
        for what, where in places.items():
            echo(f"problem: {what}\n  in {listed(where)}")
        number = len(done.problems)
        found = f"{number} problem{'' if number == 1 else 's'}" if number else "no problems"
        echo(f"{done.records} records, {done.missing} missing cells: {found}")
    sys.exit(1 if done.problems else 0)


def listed(places: Sequence[str]) -> str:
    """The first of some places, and how many there are more."""
    more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
    return "\n     ".join(places[:MOST_PLACES]) + more


@click.command()
@PRESET
@RESULTS
@click.option("-d", "--dataset", "datasets", multiple=True, metavar="NAME", help="Only of this data set; repeatable.")
@click.option("-t", "--task", "tasks", multiple=True, metavar="LABEL", help="Only of this task; repeatable.")
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="LABEL|FILE.py:FUNCTION",
    help="Those of this method, e.g. laf+tau=5.0; patterns such as 'laf+*'; repeatable.",
)
@option("--seeds", metavar="0-4|0,2,5", help="Only of these seeds.  [all]")
@click.option("--failed", is_flag=True, help="Only records without numbers.")
@click.option("-n", "--dry-run", is_flag=True, help="Only print which records fit.")
def remove(dry_run: bool, **options: Any) -> None:
    """Removes records, and writes the tables anew.

    Tables and ranks no longer show them. Artefacts stay in the cache: the same run brings a record back, and `cache
    --prune` deletes what no record needs.
    """
    from unlearnbench.operations.remove import remove as remove_records

    done = remove_records(dry_run=dry_run, **options)
    for cell in done.cells:
        click.echo(cell)
    fit, others = ("would be removed", "others") if dry_run else ("removed", "left")
    echo(f"{len(done.cells)} records {fit}, {done.left} {others}")


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@RESULTS
@click.option(
    "--cache", "caches", multiple=True, metavar="DIR", help="Also copy the artefacts of this cache; repeatable."
)
@option("--into-cache", "cache", metavar="DIR", help="Where to.  [$UNLEARNBENCH_CACHE or the user's cache folder]")
def merge(folders: tuple[str, ...], results: str, caches: tuple[str, ...], cache: str | None) -> None:
    """Copies records of other machines.

    DIR... are results folders. Records of the same cell must agree in everything but times and places; otherwise
    nothing is changed.
    """
    from unlearnbench.operations.merge import merge as merge_folders
    from unlearnbench.storage.folders import cache as cache_folder

    done = merge_folders(folders, results, caches=caches, cache=cache)
    echo(
        f"{results}: {counted(done.new, 'record')} added, {counted(done.better, 'failure')} replaced, "
        f"{counted(done.more, 'record')} extended, "
        f"{done.same} already there"
    )
    if caches:
        echo(f"{cache_folder(cache)}: {counted(done.artefacts, 'artefact')} copied")
    if done.incomplete:
        echo(
            f"{done.incomplete} of these records lack outputs in {cache_folder(cache)}: `measure`, `verify` and "
            "`table --distance` leave them out; `merge --cache DIR` copies artefacts of other machines",
            err=True,
        )


@click.command()
@click.option(
    "--results", multiple=True, default=("results",), metavar="DIR", help="A folder of records; repeatable.  [results]"
)
@CACHE
@click.option("--prune", is_flag=True, help="Delete artefacts that no record in these folders needs.")
@JSON
def cache(results: tuple[str, ...], cache: str | None, prune: bool, as_json: bool) -> None:
    """Lists what the cache holds, and deletes what no record needs.

    Only --prune deletes. Artefacts younger than an hour are kept, because a run may be using them.
    """
    from unlearnbench.operations.prune import cache_usage
    from unlearnbench.operations.prune import prune as prune_cache
    from unlearnbench.storage import folders

    usages = cache_usage(results, cache)
    if as_json:
        click.echo(json.dumps([{**asdict(usage), "unneeded": len(usage.unneeded)} for usage in usages], indent=1))
    else:
        if not usages:
            echo(f"no artefacts in {folders.cache(cache)}")
        for u in usages:
            echo(f"{u.kind:10} {u.files:6} files {u.size / 1e6:9.1f} MB, not needed {u.freed / 1e6:9.1f} MB")
    if prune:
        freed = prune_cache(usages)
        count = sum(len(usage.unneeded) for usage in usages)
        echo(f"{counted(count, 'file')}, {freed / 1e6:.1f} MB, deleted in {folders.cache(cache)}", err=as_json)
