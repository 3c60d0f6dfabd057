"""Commands that compute: cells of a preset, networks from elsewhere, more attacks, hyperparameters."""

from __future__ import annotations

import json
import sys
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
    DRY_RUN,
    JOBS,
    JSON,
    METHODS,
    ONE_DATASET,
    ONE_SEED,
    ONE_TASK,
    PARAMETERS,
    PRESET,
    RESULTS,
    SEEDS,
    TASKS,
    parse_parameters,
    parse_value,
)
from unlearnbench.cli.printing import as_data, show_failures, show_plan, show_result


@click.command()
@click.option(
    "--all", "everything", is_flag=True, help="All that the preset selects, less what -d, -t and -m leave out."
)
@PRESET
@DATASETS
@TASKS
@METHODS
@PARAMETERS
@SEEDS
@JOBS
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
@click.option("--force", is_flag=True, help="Unlearn and measure finished cells again.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that failed before.")
@ACCEPT
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Give a cell up after so long.  [never]")
@JSON
def run(
    everything: bool,  # what happens anyway: the flag is for saying so
    datasets: tuple[str, ...],
    parameters: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Runs the cells of a preset that have no valid record yet, and writes the tables.

    A run that was stopped goes on where it was. Exit code 0: all cells are done; 1: some failed; 2: wrong usage.
    """
    from unlearnbench.cli.progress import Reporter
    from unlearnbench.operations.run import run as run_plan

    summary = run_plan(
        datasets=datasets, overrides=parse_parameters(parameters), dry_run=dry_run, progress=Reporter(), **options
    )
    if as_json:
        click.echo(json.dumps(as_data(summary), indent=1))
    elif dry_run:
        show_plan(summary)
    else:
        show_result(summary)
    sys.exit(1 if summary.failed else 0)


@click.command()
@click.argument("weights", metavar="WEIGHTS.safetensors")
@ONE_DATASET
@ONE_TASK
@ONE_SEED
@click.option("--name", metavar="NAME", help="What tables call it.  [the file's name]")
@PRESET
@PARAMETERS
@JOBS
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
@JSON
def score(weights: str, parameters: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any) -> None:
    """Evaluates a network that was made elsewhere, as a cell of its own beside Retrain.

    The weights are those of the preset's network, as `unlearnbench export` writes them. What the comparison needs and
    is not there (the original, Retrain, the shadow models) is trained first: see --dry-run. Exit codes as of `run`.
    """
    from unlearnbench.cli.progress import Reporter
    from unlearnbench.operations.score import score as score_weights
    from unlearnbench.reporting.show import verdict
    from unlearnbench.storage.records import read_record

    summary = score_weights(
        weights, overrides=parse_parameters(parameters), dry_run=dry_run, progress=Reporter(), **options
    )
    if dry_run and as_json:
        click.echo(json.dumps(as_data(summary), indent=1))
        return
    if dry_run:
        show_plan(summary)
        return
    records = [read_record(cell.path) for cell in summary.plan.cells]
    reference, record = (record or {} for record in records)
    if as_json:
        click.echo(json.dumps(record, indent=1))
    elif summary.failed:
        show_failures(summary)
    else:
        click.echo(verdict(record, reference))
    sys.exit(1 if summary.failed else 0)


@click.command()
@click.argument("folder", metavar="DIR")
@ONE_DATASET
@ONE_TASK
@ONE_SEED
@PRESET
@PARAMETERS
@DEVICE
@ARITHMETIC
@CACHE
@DATA
def export(folder: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Writes the original's weights and what it has to forget, for methods that run elsewhere.

    DIR gets original.safetensors, forget.npy and retain.npy (positions in the training set), train_labels.npy (what the
    original was trained on), and about.json.
    """
    from unlearnbench.operations.export import export as export_to

    click.echo(export_to(folder, overrides=parse_parameters(parameters), say=partial(click.echo, err=True), **options))


@click.command()
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Only this attack; repeatable.")
@PRESET
@DATASETS
@TASKS
@METHODS
@PARAMETERS
@SEEDS
@click.option("--fleet", type=int, default=0, metavar="N", help="Train N networks for attack u-lira.  [none]")
@click.option("--relearn", is_flag=True, help="Unlearn again, and see how soon what was forgotten is back.")
@JOBS
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
@JSON
def measure(attacks: tuple[str, ...], parameters: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Adds attacks to the records of finished cells, out of stored outputs: nothing is trained for that.

    All that are installed if none is named. `table N --attack NAME --metric auc` shows what they found. Only --fleet
    and --relearn make networks: say --dry-run first. Exit code 0: all is measured; 1: something could not be.
    """
    from unlearnbench.operations.measure import measure as measure_cells

    done = measure_cells(attacks, overrides=parse_parameters(parameters), say=partial(click.echo, err=True), **options)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        new = "would be read" if options["dry_run"] else "have something new"
        click.echo(f"{done.cells if options['dry_run'] else len(done.done)} of {done.cells} records {new}")
        for name, reason in {**done.without, **done.failed}.items():
            click.echo(f"not measured: {name}: {reason}", err=True)
    sys.exit(1 if done.without or done.failed else 0)


@click.command()
@click.argument("method", metavar="METHOD|FILE.py:FUNCTION")
@ONE_DATASET
@ONE_TASK
@PRESET
@click.option(
    "--grid", "grids", multiple=True, metavar="KEY=V1,V2", help="What to try; repeatable.  [the suite's grid]"
)
@JOBS
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
def tune(method: str, grids: tuple[str, ...], **options: Any) -> None:
    """Tries at most four points of a method's hyperparameters, and writes a log.

    It works on training images only, some of them held out, with a seed, an original and a Retrain of its own.
    """
    from unlearnbench.operations.tune import tune as tune_method

    grid = {key: values.split(",") for key, _, values in (text.partition("=") for text in grids)}
    grid = {key: [parse_value(value) for value in values] for key, values in grid.items()}
    found = tune_method(method, grid=grid or None, say=partial(click.echo, err=True), **options)
    click.echo(found.log.read_text(encoding="utf-8"), nl=False)
    click.echo(f"\nwritten to {found.log}", err=True)
