"""Commands that compute: run, score, export, measure and tune."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from unlearnbench.cli.echo import echo
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
    SCHEDULER,
    SEEDS,
    SWEEP,
    TASKS,
    TIMEOUT,
    effort_of,
    option,
    parse_parameters,
    parse_sweeps,
    parse_value,
    selection_of,
    workspace_of,
)
from unlearnbench.cli.printing import as_data, show_failures, show_plan, show_reproduction, show_result
from unlearnbench.errors import UserError, counted

if TYPE_CHECKING:
    from unlearnbench.operations.tune import Tuning


@click.command()
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Run all cells that the preset, -d, -t and -m select; this is the default.",
)
@PRESET
@DATASETS
@TASKS
@METHODS
@PARAMETERS
@SWEEP
@click.option("--combinations", is_flag=True, help="Run all combinations of the values of --sweep.")
@SEEDS
@JOBS
@SCHEDULER
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
@click.option("--force", is_flag=True, help="Unlearn and measure finished cells again.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that failed in an earlier run.")
@ACCEPT
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@TIMEOUT
@JSON
def run(
    everything: bool,  # the default; the flag makes it explicit
    datasets: tuple[str, ...],
    parameters: tuple[str, ...],
    sweeps: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    scheduler: str | None,
    **options: Any,
) -> None:
    """Runs the cells of a preset, and writes its tables.

    Cells with a valid record are not run again, so the same command continues an interrupted run. Exit code 0: all
    cells are done; 1: some failed; 2: wrong usage.
    """
    from unlearnbench.operations.progress import Reporter
    from unlearnbench.operations.run import run as run_plan

    summary = run_plan(
        datasets=datasets,
        overrides=parse_parameters(parameters),
        sweep=parse_sweeps(sweeps),
        dry_run=dry_run,
        progress=Reporter(),
        engine=scheduler,
        **options,
    )
    if as_json:
        click.echo(json.dumps(as_data(summary), indent=1))
    elif dry_run:
        show_plan(summary)
    else:
        show_result(summary)
    sys.exit(1 if summary.failed else 0)


@click.command()
@click.argument("weights", metavar="WEIGHTS.safetensors|.pt")
@ONE_DATASET
@ONE_TASK
@ONE_SEED
@option("--name", metavar="NAME", help="Name in tables.  [name of the file]")
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
def score(weights: str, name: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Evaluates weights that were made outside of the suite.

    They become a cell beside Retrain. The weights must be those of the preset's model, as `unlearnbench export` writes
    them. Missing artefacts (the original, Retrain, the shadow models) are trained first: see --dry-run. Exit codes as
    for `run`.
    """
    from unlearnbench.operations.progress import Reporter
    from unlearnbench.operations.score import score as score_weights
    from unlearnbench.reporting.show import verdict
    from unlearnbench.storage.records import read_record

    summary = score_weights(
        weights,
        selection_of(options),
        workspace_of(options),
        name=name,
        effort=effort_of(options),
        dry_run=dry_run,
        progress=Reporter(),
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
        echo(verdict(record, reference))
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
def export(folder: str, **options: Any) -> None:
    """Writes the original and its forget set, for external methods.

    DIR gets original.safetensors, forget.npy and retain.npy (positions in the training set), train_labels.npy (the
    labels that the original was trained on), and about.json.
    """
    from unlearnbench.operations.export import export as export_to

    click.echo(export_to(folder, selection_of(options), workspace_of(options), say=partial(click.echo, err=True)))


@click.command()
@click.option(
    "--attack", "attacks", multiple=True, metavar="NAME|FILE.py:FUNCTION", help="Only this attack; repeatable."
)
@PRESET
@DATASETS
@TASKS
@METHODS
@PARAMETERS
@SEEDS
@option(
    "--unlearned-shadows",
    type=int,
    default=0,
    metavar="N",
    help="Train and unlearn N shadow models for attack u-lira.  [0]",
)
@click.option("--relearn", is_flag=True, help="Unlearn again, and measure how fast the forget set is relearned.")
@click.option("--features", is_flag=True, help="Unlearn again, and keep embeddings for `figure representation`.")
@JOBS
@SCHEDULER
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
@JSON
def measure(
    attacks: tuple[str, ...],
    unlearned_shadows: int,
    relearn: bool,
    features: bool,
    dry_run: bool,
    as_json: bool,
    scheduler: str | None,
    **options: Any,
) -> None:
    """Adds attacks to the records of finished cells.

    Computes them from stored outputs. The default is all installed attacks. `table N --attack NAME --metric auc` shows
    the numbers. Only --unlearned-shadows, --relearn and --features train networks: see --dry-run. Exit code 0: all
    cells are measured; 1: something failed.
    """
    from unlearnbench.engines.choice import opened
    from unlearnbench.operations.measure import measure as measure_cells

    with opened(scheduler, options["jobs"], partial(echo, err=True)) as engine:
        result = measure_cells(
            selection_of(options),
            workspace_of(options, engine),
            attacks=attacks,
            unlearned_shadows=unlearned_shadows,
            relearn=relearn,
            features=features,
            effort=effort_of(options, engine),
            dry_run=dry_run,
            say=partial(echo, err=True),
        )
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
    else:
        measured = f"{len(result.done)} of {counted(result.cells, 'record')} got new numbers"
        echo(f"{counted(result.cells, 'cell')} selected" if dry_run else measured)
        for name, reason in {**result.without, **result.failed}.items():
            echo(f"not measured: {name}: {reason}", err=True)
    sys.exit(1 if result.without or result.failed else 0)


@click.command()
@click.argument("methods", nargs=-1, metavar="[METHOD|FILE.py:FUNCTION]...")
@click.option("--all", "every", is_flag=True, help="All methods of the preset that have a declared space.")
@PRESET
@DATASETS
@TASKS
@PARAMETERS
@click.option(
    "--space", "space", multiple=True, metavar="KEY=LOW:HIGH|V1,V2", help="A log-uniform range, or choices; repeatable."
)
@option("--points", metavar="N1,N2", help="Number of points on each tuning split.  [the preset's]")
@click.option("--write", is_flag=True, help="Write the choices to PRESET.tuned.toml, from which tables take them.")
@JOBS
@SCHEDULER
@TIMEOUT
@DEVICE
@ARITHMETIC
@RESULTS
@CACHE
@DATA
@DRY_RUN
def tune(
    methods: tuple[str, ...],
    every: bool,
    space: tuple[str, ...],
    points: str | None,
    write: bool,
    dry_run: bool,
    scheduler: str | None,
    **options: Any,
) -> None:
    """Tunes the hyperparameters of all methods by one rule.

    Every method has the same number of points. Draws points from the methods' declared spaces, and takes the one that
    is closest to Retrain on tuning splits, which have training images only. Writes a log of all trials, as CSV and as
    markdown; a run that was interrupted continues from it.
    """
    from unlearnbench.engines.choice import opened
    from unlearnbench.operations.tune import tune as tune_methods
    from unlearnbench.plugins.files import named
    from unlearnbench.tuning.spaces import parsed

    if bool(methods) == every:
        raise UserError("name the methods to tune, or use --all")
    with opened(scheduler, options["jobs"], partial(echo, err=True)) as engine:
        tunings = tune_methods(
            named(methods),
            selection_of(options),
            workspace_of(options, engine),
            space={key: parsed(key, as_space(value)) for key, _, value in (text.partition("=") for text in space)},
            budget=parse_points(points),
            effort=effort_of(options, engine),
            dry_run=dry_run,
            write=write,
            say=partial(echo, err=True),
        )
    if len(tunings) == 1:
        click.echo(tunings[0].page, nl=False)
    elif tunings:
        echo(overview_of(tunings))


def overview_of(tunings: Sequence[Tuning]) -> str:
    """The choices of several studies, a line each."""
    lines = []
    for tuning in tunings:
        choice = tuning.choice
        values = ", ".join(f"{name}={value}" for name, value in choice.values.items())
        gain = f"{choice.gain:.2f} points closer to Retrain" if choice.gain > 0 else "no better than doing nothing"
        lines.append(f"{choice.task} {choice.method}: {values} ({gain})")
    return "\n".join(lines)


def as_space(text: str) -> object:
    """A range LOW:HIGH, or values V1,V2, as `spaces.parsed` takes them."""
    low, colon, high = text.partition(":")
    return {"low": parse_value(low), "high": parse_value(high)} if colon else [parse_value(v) for v in text.split(",")]


def parse_points(text: str | None) -> tuple[int, ...]:
    """The numbers of points on each split; empty if none are given."""
    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise UserError(f"--points takes numbers such as 12,12,12, not {text!r}") from None


@click.command()
@click.argument("cell", nargs=-1, metavar="[DATASET TASK METHOD SEED]")
@option("--random", "count", type=int, default=0, metavar="N", help="Draw N cells at random instead.")
@PRESET
@JOBS
@RESULTS
@DATA
@JSON
def reproduce(cell: tuple[str, ...], count: int, as_json: bool, **options: Any) -> None:
    """Computes a recorded cell again, and compares all numbers.

    Uses an empty cache: the original, the shadow models and the unlearned network are made again. Exit code 0: every
    number equals that of the record to the last bit; 1: some differ, or a cell could not be computed.
    """
    from unlearnbench.operations.progress import Reporter
    from unlearnbench.operations.reproduce import drawn, record_of
    from unlearnbench.operations.reproduce import reproduce as reproduce_cells

    if bool(cell) == bool(count) or len(cell) not in (0, 4):
        raise UserError("name one cell, DATASET TASK METHOD SEED, or use --random N")
    if count < 0:
        raise UserError(f"--random must be a number of cells, not {count}")
    selection, workspace, effort = selection_of(options), workspace_of(options), effort_of(options)
    paths = drawn(selection, workspace, count) if count else [record_of(selection, workspace, *cell)]
    done = []
    for reproduction in reproduce_cells(paths, selection, workspace, effort=effort, progress=Reporter()):
        done.append(reproduction)
        if not as_json:
            show_reproduction(reproduction)
    if as_json:
        click.echo(
            json.dumps([{**asdict(one), "path": str(one.path), "verdict": one.verdict} for one in done], indent=1)
        )
    elif count:
        echo(f"\n{len([one for one in done if one.equal])} of {counted(len(done), 'cell')} reproduced to the last bit")
    sys.exit(0 if all(one.equal for one in done) else 1)
