"""The command line: words in, a Python function, text out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import json
import signal
import sys
import tomllib
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from unlearnbench.errors import UserError
from unlearnbench.printing import as_data, default_format, print_rows, show_failures, show_plan, show_result

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
CACHE = click.option(
    "--cache", metavar="DIR", help="Folder of artefacts.  [$UNLEARNBENCH_CACHE or the user's cache folder]"
)
DATA = click.option(
    "--data", metavar="DIR", help="Folder of data sets.  [$UNLEARNBENCH_DATA or the user's data folder]"
)
DRY_RUN = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done and what it takes.")
ACCEPT = click.option("--accept-stale", is_flag=True, help="Take cells of other code as they are, with a footnote.")
ONE_DATASET = click.option("-d", "--dataset", required=True, metavar="NAME", help="The data set.")
ONE_TASK = click.option("-t", "--task", required=True, metavar="NAME", help="The task.")
ONE_SEED = click.option("--seed", type=int, default=0, metavar="N", help="The seed.  [0]")


class TerminatedError(BaseException):
    """A batch system, or whoever, has sent SIGTERM."""


def terminated(*_: object) -> None:
    """Ends a run as Ctrl-C does, so that nothing is left half-way and no process stays behind."""
    raise TerminatedError


class Commands(click.Group):
    """Commands whose `UserError` becomes one message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, TerminatedError) as error:
            click.echo("interrupted: what is finished is kept, and the same command goes on from here", err=True)
            sys.exit(143 if isinstance(error, TerminatedError) else 130)
        except UserError as error:
            raise click.UsageError(str(error)) from error
        except PermissionError as error:
            raise click.UsageError(f"no permission to use {error.filename}: choose another folder") from error
        finally:
            if workers := sys.modules.get("unlearnbench.workers"):
                workers.dismiss()  # a thread that some method left in one would keep this process waiting for ever


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unlearnbench")
def main() -> None:
    """Which machine-unlearning methods really forget?

    \b
    unlearnbench run --all             everything that the preset selects
    unlearnbench table 1               Tables 1-6 from the records
    unlearnbench export DIR, score     for networks that are made elsewhere
    unlearnbench list methods          what is there, and what each may see
    unlearnbench new method NAME       a package for a method of your own
    unlearnbench check NAME            whether it keeps the contract
    """  # noqa: D301 - click looks for this very character
    signal.signal(signal.SIGTERM, terminated)
    gc.set_threshold(100_000)  # plans and records are small objects that stay: to look for garbage there takes long
    warnings.showwarning = lambda message, *_args, **_kwargs: click.echo(f"warning: {message}", err=True)


@main.command()
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
    from unlearnbench.progress import Reporter
    from unlearnbench.run import run as run_plan

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


@main.command()
@click.argument("weights", metavar="WEIGHTS.safetensors")
@ONE_DATASET
@ONE_TASK
@ONE_SEED
@click.option("--name", metavar="NAME", help="What tables call it.  [the file's name]")
@PRESET
@PARAMETERS
@JOBS
@DEVICE
@RESULTS
@CACHE
@DATA
@DRY_RUN
@JSON
def score(weights: str, parameters: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any) -> None:
    """Evaluates a network that was made elsewhere, as a cell of its own beside Retrain.

    The weights are those of the preset's network, as `unlearnbench export` writes them. What the comparison needs and
    is not there (the original, Retrain, the shadow networks) is trained first: see --dry-run. Exit codes as of `run`.
    """
    from unlearnbench.judging import score as score_weights
    from unlearnbench.listing import verdict
    from unlearnbench.progress import Reporter
    from unlearnbench.store import read_record

    summary = score_weights(
        weights, overrides=parse_parameters(parameters), dry_run=dry_run, progress=Reporter(), **options
    )
    if dry_run and as_json:
        click.echo(json.dumps(as_data(summary), indent=1))
        return
    if dry_run:
        show_plan(summary)
        return
    records = [read_record(summary.plan.results / cell.path) for cell in summary.plan.cells]
    reference, record = (record or {} for record in records)
    if as_json:
        click.echo(json.dumps(record, indent=1))
    elif summary.failed:
        show_failures(summary)
    else:
        click.echo(verdict(record, reference))
    sys.exit(1 if summary.failed else 0)


@main.command()
@click.argument("folder", metavar="DIR")
@ONE_DATASET
@ONE_TASK
@ONE_SEED
@PRESET
@PARAMETERS
@DEVICE
@CACHE
@DATA
def export(folder: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Writes the original's weights and what it has to forget, for methods that run elsewhere.

    DIR gets original.safetensors, forget.npy and remain.npy (positions in the training set), train_labels.npy (what the
    original was trained on), and about.json.
    """
    from unlearnbench.judging import export as export_to

    click.echo(export_to(folder, overrides=parse_parameters(parameters), say=partial(click.echo, err=True), **options))


@main.command()
@click.argument("which", metavar="NUMBER|TASK")
@click.option("--preset", metavar="NAME|FILE.toml", help="Whose results.  [demo; paper to compare]")
@RESULTS
@click.option("--format", "form", metavar="markdown|latex|csv", help="[markdown; drawn with bold type in a terminal]")
@click.option("--protocol", metavar="clean|released", help="How networks are evaluated.  [clean; released to compare]")
@click.option("--attack", metavar="NAME", help="The last column is of this attack; see `measure`.  [shadow]")
@click.option("--metric", metavar="auc|balanced_accuracy|tpr@1%|tpr@0.1%", help="Which number of the attack.  [auc]")
@click.option("--compare", is_flag=True, help="Beside the published numbers.")
@click.option("--cost", is_flag=True, help="What each method took, beside Retrain.")
@click.option("--distance", is_flag=True, help="How far each method is from Retrain, item by item too.")
@click.option("--paired", is_flag=True, help="Differences to Retrain seed by seed, beside the noise floor.")
@click.option("--relearning", is_flag=True, help="How soon what was forgotten is back; see `measure --relearn`.")
@ACCEPT
@CACHE
@DATA
def table(
    which: str,
    preset: str | None,
    results: str,
    form: str | None,
    protocol: str | None,
    attack: str | None,
    metric: str | None,
    accept_stale: bool,
    cache: str | None,
    data: str | None,
    **instead: bool,
) -> None:
    """Prints a table from the records: of the paper's, 1-3 the methods and 4-6 the ablations, or that of a task."""
    number = int(which) if which.isdecimal() else which
    form = form or default_format()
    asked = [f"--{name}" for name, wanted in instead.items() if wanted]
    asked += [f"--{name}" for name, value in (("attack", attack), ("metric", metric)) if value][:1]
    asked += ["--protocol"] if protocol and not instead["compare"] and asked else []
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} do not go together: print one after the other")
    if instead["cost"]:
        from unlearnbench.costs import costs

        text = costs(number, preset or "demo", results, form, accept_stale)
    elif instead["distance"]:
        from unlearnbench.distances import distances

        text = distances(number, preset or "demo", results, form, cache, data, accept_stale)
    elif instead["paired"]:
        from unlearnbench.differences import paired

        text = paired(number, preset or "demo", results, form, accept_stale)
    elif instead["relearning"]:
        from unlearnbench.recovery import recovery

        text = recovery(number, preset or "demo", results, form, accept_stale)
    elif instead["compare"]:
        from unlearnbench.comparison import compare

        text = compare(number, preset or "paper", results, form, protocol or "released", accept_stale)
    else:
        from unlearnbench.tables import table as table_of

        text = table_of(number, preset or "demo", results, form, protocol or "clean", attack, metric, accept_stale)
    click.echo(text, nl=False)


@main.command()
@click.argument("method", metavar="METHOD|FILE.py:FUNCTION")
@ONE_DATASET
@ONE_TASK
@PRESET
@click.option(
    "--grid", "grids", multiple=True, metavar="KEY=V1,V2", help="What to try; repeatable.  [the suite's grid]"
)
@JOBS
@DEVICE
@RESULTS
@CACHE
@DATA
def tune(method: str, grids: tuple[str, ...], **options: Any) -> None:
    """Tries at most four points of a method's hyperparameters, and writes a log.

    It works on training images only, some of them held out, with a seed, an original and a Retrain of its own.
    """
    from unlearnbench.tuning import tune as tune_method

    grid = {key: values.split(",") for key, _, values in (text.partition("=") for text in grids)}
    grid = {key: [parse_value(value) for value in values] for key, values in grid.items()}
    found = tune_method(method, grid=grid or None, say=partial(click.echo, err=True), **options)
    click.echo(found.log.read_text(encoding="utf-8"), nl=False)
    click.echo(f"\nwritten to {found.log}", err=True)


@main.command()
@click.option("--preset", default="demo", metavar="NAME|FILE.toml", help="Whose results.  [demo]")
@RESULTS
@click.option("--format", "form", metavar="markdown|latex", help="[markdown; drawn with bold type in a terminal]")
@click.option("--svg", metavar="FILE", help="Also draw the critical-difference diagram.")
@ACCEPT
@JSON
def rank(preset: str, results: str, form: str | None, svg: str | None, accept_stale: bool, as_json: bool) -> None:
    """Ranks methods by their distance to Retrain, with what the number of tasks and seeds can support."""
    from unlearnbench import ranking

    found = ranking.rank(preset, results, accept_stale=accept_stale)
    if svg:
        Path(svg).write_text(ranking.diagram(found), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(ranking.as_data(found), indent=1))
    else:
        click.echo(ranking.printed(found, preset, form or default_format()), nl=False)


@main.command()
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
    from unlearnbench.auditing import measure as measure_cells

    done = measure_cells(attacks, overrides=parse_parameters(parameters), say=partial(click.echo, err=True), **options)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        new = "would be read" if options["dry_run"] else "have something new"
        click.echo(f"{done.cells if options['dry_run'] else len(done.done)} of {done.cells} records {new}")
        for name, reason in {**done.without, **done.failed}.items():
            click.echo(f"not measured: {name}: {reason}", err=True)
    sys.exit(1 if done.without or done.failed else 0)


@main.command()
@RESULTS
@PRESET
@click.option("--rerun", type=int, default=0, metavar="N", help="Also unlearn N cells again, drawn at random.  [0]")
@DEVICE
@CACHE
@DATA
@JSON
def verify(as_json: bool, **options: Any) -> None:
    """Reads all records of a preset and all artefacts again, and recomputes every number from stored outputs.

    All problems are reported at once. Exit code 0: there are none; 1: there are.
    """
    from unlearnbench.verifying import verify as verify_all

    found = verify_all(say=partial(click.echo, err=True), **options)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        for reason, count in found.unmeasured.items():
            click.echo(f"{count} records were read only: {reason}")
        click.echo(
            f"{found.records} records and {found.artefacts} artefacts read, {found.measured} records measured again"
        )
        for problem in found.problems:
            click.echo(f"problem: {problem}")
        click.echo(f"{len(found.problems)} problems" if found.problems else "everything is as it was written")
    sys.exit(1 if found.problems else 0)


@main.command()
@click.option(
    "--results", multiple=True, default=("results",), metavar="DIR", help="A folder of records; repeatable.  [results]"
)
@CACHE
@click.option("--prune", is_flag=True, help="Delete what no record in these results folders was made of.")
@JSON
def cache(results: tuple[str, ...], cache: str | None, prune: bool, as_json: bool) -> None:
    """Shows what the cache holds, and how much of it no record needs; --prune deletes that.

    What is younger than an hour is left alone, because a run may be going on.
    """
    from unlearnbench import folders, housekeeping

    found = housekeeping.holdings(results, cache)
    if as_json:
        click.echo(json.dumps([{**asdict(h), "unneeded": len(h.unneeded)} for h in found], indent=1))
    for h in [] if as_json else found:
        click.echo(f"{h.kind:10} {h.files:6} files {h.size / 1e6:9.1f} MB, not needed {h.freed / 1e6:9.1f} MB")
    if prune:
        freed = housekeeping.prune(found)
        count = sum(len(h.unneeded) for h in found)
        click.echo(f"{count} files, {freed / 1e6:.1f} MB, deleted in {folders.cache(cache)}", err=as_json)


@main.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@RESULTS
def merge(folders: tuple[str, ...], results: str) -> None:
    """Brings the records of several results folders, DIR..., into the one of --results.

    Records of one cell must agree in everything but times and places; if any do not, nothing is changed.
    """
    from unlearnbench.merging import merge as merge_folders

    done = merge_folders(folders, results)
    click.echo(
        f"{done.new} records are new, {done.better} replace failures, {done.more} got more measures, {done.same} were "
        f"there; in {results}"
    )


@main.command()
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


@main.command()
@click.argument("kind", metavar="method|task|dataset|model|attack")
@click.argument("name")
@click.option("--into", default=".", metavar="DIR", help="Where the new folder goes.  [.]")
def new(kind: str, name: str, into: str) -> None:
    """Writes a small package with a plugin that works, a test of it, and what to do with it."""
    from unlearnbench.scaffold import write

    folder, steps = write(kind, name, into)
    click.echo(f"{folder} is a package with a working {kind}, for you to change. Now:\n\n{steps}")


@main.command("list")
@click.argument("what", metavar="methods|tasks|datasets|models|attacks|presets")
@JSON
def list_plugins(what: str, as_json: bool) -> None:
    """Lists what is installed, where it comes from, and what each method may see."""
    from unlearnbench.listing import listing

    print_rows(listing(what), as_json)


@main.command()
@click.argument("dataset")
@click.argument("task")
@click.argument("method")
@click.argument("seed", type=int)
@PRESET
@RESULTS
@JSON
def show(dataset: str, task: str, method: str, seed: int, preset: str, results: str, as_json: bool) -> None:
    """Prints the record of a cell and the command that reproduces it."""
    from unlearnbench.listing import describe, find_record

    record = find_record(Path(results), preset, dataset, task, method, seed)
    click.echo(json.dumps(record, indent=1) if as_json else describe(record))


@main.group("data")
def data_sets() -> None:
    """Says where the data sets are, and downloads them."""


@data_sets.command("list")
@DATA
@JSON
def list_data(data: str | None, as_json: bool) -> None:
    """Lists all data sets: where they are, how large, and whether their checksums are right."""
    from unlearnbench.listing import data_listing

    print_rows(data_listing(data), as_json)


@data_sets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@DATA
def fetch(names: tuple[str, ...], data: str | None) -> None:
    """Downloads data sets, and checks them."""
    from unlearnbench.listing import fetch_data

    for name in names:
        click.echo(fetch_data(name, data))


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
