"""Commands that read: tables, ranks, records, and what the cache holds; and those that check or merge records."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import click

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
    selection_of,
    workspace_of,
)
from unlearnbench.cli.printing import default_format
from unlearnbench.errors import UserError
from unlearnbench.reporting.views import STANDARD, VIEWS
from unlearnbench.storage.folders import expanded


def view_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each view of a table."""
    for view in reversed(VIEWS):
        command = click.option(f"--{view.name}", is_flag=True, help=view.help)(command)
    return command


@click.command()
@click.argument("number", metavar="[NUMBER|TASK]", required=False)
@click.option("--preset", metavar="NAME|FILE.toml", help="Whose results.  [demo; paper with --compare]")
@RESULTS
@DATASETS
@TASKS
@METHODS
@SEEDS
@click.option("--format", "form", metavar="markdown|latex|csv", help="[markdown; bold type in a terminal]")
@click.option(
    "--protocol", metavar="clean|released", help="How models are evaluated.  [clean; released with --compare]"
)
@click.option("--attack", metavar="NAME", help="Show this attack in the last column; see `measure`.  [shadow]")
@click.option("--metric", metavar="auc|balanced_accuracy|tpr@1%|tpr@0.1%", help="The metric of the attack.  [auc]")
@view_flags
@ACCEPT
@CACHE
@DATA
def table(number: str | None, preset: str | None, results: str, form: str | None, **options: Any) -> None:
    """Prints a table of the records: 1-3 (methods) and 4-6 (ablations) as in the paper, or that of a task.

    Retrain and the controls are always shown. Variants take part in bold and underlined type if -m names them.
    """
    from unlearnbench.reporting.tables import table as table_text

    views = [view.name for view in VIEWS if options.pop(view.name)]
    if len(views) > 1:
        raise UserError(f"{' and '.join(f'--{name}' for name in views)} do not go together: print one after the other")
    view = views[0] if views else STANDARD.name
    which = int(number) if number and number.isdecimal() else number
    click.echo(table_text(which, preset, results, form or default_format(), view, **options), nl=False)


@click.command()
@click.option("--preset", default="demo", metavar="NAME|FILE.toml", help="Whose results.  [demo]")
@RESULTS
@DATASETS
@TASKS
@METHODS
@SEEDS
@click.option("--format", "form", metavar="markdown|latex|csv", help="[markdown; bold type in a terminal]")
@click.option("--svg", metavar="FILE", help="Also draw the critical-difference diagram.")
@ACCEPT
@JSON
def rank(
    preset: str, results: str, form: str | None, svg: str | None, accept_stale: bool, as_json: bool, **options: Any
) -> None:
    """Ranks methods by their distance to Retrain, with the significance that the number of tasks and seeds supports.

    Methods that lack a task or a dataset are left out and named. Variants are ranked if -m names them.
    """
    from unlearnbench.reporting import charts, ranking
    from unlearnbench.reporting.choice import Choice
    from unlearnbench.reporting.rendering import render

    ranked = ranking.rank(preset, results, accept_stale, Choice.of(**options))
    for note in ranked.absent if as_json or form == "csv" else ():
        click.echo(f"warning: {note}", err=True)
    if svg:
        expanded(svg).write_text(charts.diagram(ranked), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(ranking.as_data(ranked), indent=1))
    else:
        click.echo(render(ranking.view(ranked), form or default_format()), nl=False)


@click.command()
@click.argument("dataset")
@click.argument("task")
@click.argument("method")
@click.argument("seed", type=int)
@PRESET
@RESULTS
@JSON
def show(dataset: str, task: str, method: str, seed: int, preset: str, results: str, as_json: bool) -> None:
    """Prints the record of a cell and the command that reproduces it."""
    from unlearnbench.reporting.show import describe, find_record

    record = find_record(expanded(results), preset, dataset, task, method, seed)
    click.echo(json.dumps(record, indent=1) if as_json else describe(record))


@click.command()
@click.option("--bump", multiple=True, metavar="GROUP.NAME", help="Raise this version, e.g. methods.laf; repeatable.")
@click.option("--because", default="", metavar="TEXT", help="Why numbers change; written to CHANGELOG.md.")
@click.option("--check", is_flag=True, help="Write nothing.")
@JOBS
@ARITHMETIC
@JSON
def confirm(bump: tuple[str, ...], because: str, as_json: bool, **options: Any) -> None:
    """Computes a small plan and compares its outputs with the published ones, bit by bit.

    Shows whether this machine gives the published numbers. After editing code: confirms that it still gives them, or
    raises the versions of the code that no longer does. Exit code 0: outputs are equal, or changes are explained; 1:
    otherwise.
    """
    from unlearnbench.operations.confirm import confirm as confirm_all

    done = confirm_all(bump, because, say=partial(click.echo, err=True), **options)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    elif done.problem:
        click.echo(done.problem)
    elif done.bits:
        changed = f"{len(done.different)} of {done.outputs} outputs changed" if done.different else "equal bits"
        click.echo(f"{done.outputs} outputs of the golden plan: {changed}")
        for change, names in (("raised", done.raised), ("confirmed", done.confirmed), ("new", done.new)):
            if names:
                click.echo(f"{change}: {', '.join(names)}")
    else:
        click.echo(f"{done.outputs} outputs are near the golden ones; bits were not compared, because {done.why}")
    sys.exit(1 if done.problem else 0)


@click.command()
@RESULTS
@PRESET
@click.option("--rerun", type=int, default=0, metavar="N", help="Also unlearn N random cells again.  [0]")
@JOBS
@DEVICE
@ARITHMETIC
@CACHE
@DATA
@JSON
def verify(rerun: int, as_json: bool, **options: Any) -> None:
    """Checks all records of a preset and all artefacts, and recomputes every number from stored outputs.

    Reports all problems at once. Exit code 0: no problems; 1: problems.
    """
    from unlearnbench.operations.verify import verify as verify_all

    done = verify_all(
        selection_of(options),
        workspace_of(options),
        rerun=rerun,
        effort=effort_of(options),
        say=partial(click.echo, err=True),
    )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        for reason, count in done.unmeasured.items():
            click.echo(f"{count} records were read but not recomputed: {reason}")
        click.echo(f"{done.records} records and {done.artefacts} artefacts read, {done.measured} records recomputed")
        for problem in done.problems:
            click.echo(f"problem: {problem}")
        click.echo(f"{len(done.problems)} problems" if done.problems else "no problems")
    sys.exit(1 if done.problems else 0)


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
@click.option("--seeds", metavar="0-4|0,2,5", help="Only of these seeds.  [all]")
@click.option("--failed", is_flag=True, help="Only records without numbers.")
@click.option("-n", "--dry-run", is_flag=True, help="Only print which records fit.")
def remove(dry_run: bool, **options: Any) -> None:
    """Removes records, such as those of experiments that failed, and writes the tables anew.

    Tables and ranks no longer show them. Artefacts stay in the cache: the same run brings a record back, and `cache
    --prune` deletes what no record needs.
    """
    from unlearnbench.operations.remove import remove as remove_records

    done = remove_records(dry_run=dry_run, **options)
    for cell in done.cells:
        click.echo(cell)
    fit, others = ("would be removed", "others") if dry_run else ("removed", "left")
    click.echo(f"{len(done.cells)} records {fit}, {done.left} {others}")


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@RESULTS
@click.option(
    "--cache", "caches", multiple=True, metavar="DIR", help="Also copy the artefacts of this cache; repeatable."
)
@click.option(
    "--into-cache", "cache", metavar="DIR", help="Where to.  [$UNLEARNBENCH_CACHE or the user's cache folder]"
)
def merge(folders: tuple[str, ...], results: str, caches: tuple[str, ...], cache: str | None) -> None:
    """Copies the records of results folders DIR... into that of --results.

    Records of the same cell must agree in everything but times and places; otherwise nothing is changed.
    """
    from unlearnbench.operations.merge import merge as merge_folders
    from unlearnbench.storage.folders import cache as cache_folder

    done = merge_folders(folders, results, caches=caches, cache=cache)
    click.echo(
        f"{results}: {done.new} records added, {done.better} failures replaced, {done.more} records extended, "
        f"{done.same} already there"
    )
    if caches:
        click.echo(f"{cache_folder(cache)}: {done.artefacts} artefacts copied")
    if done.incomplete:
        click.echo(
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
    """Lists the artefacts in the cache, and how many no record needs; --prune deletes the latter.

    Artefacts younger than an hour are kept, because a run may be using them.
    """
    from unlearnbench.operations.prune import cache_usage
    from unlearnbench.operations.prune import prune as prune_cache
    from unlearnbench.storage import folders

    usages = cache_usage(results, cache)
    if as_json:
        click.echo(json.dumps([{**asdict(usage), "unneeded": len(usage.unneeded)} for usage in usages], indent=1))
    else:
        for u in usages:
            click.echo(f"{u.kind:10} {u.files:6} files {u.size / 1e6:9.1f} MB, not needed {u.freed / 1e6:9.1f} MB")
    if prune:
        freed = prune_cache(usages)
        count = sum(len(usage.unneeded) for usage in usages)
        click.echo(f"{count} files, {freed / 1e6:.1f} MB, deleted in {folders.cache(cache)}", err=as_json)
