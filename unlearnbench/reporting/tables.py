"""From records to the tables of the paper. Nothing here needs torch, a plugin or an artefact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets, protocols
from unlearnbench.planning.presets import ELSEWHERE, NOTHING, REFERENCE, Preset
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS, Protocol
from unlearnbench.plugins import registry
from unlearnbench.reporting import rendering
from unlearnbench.reporting.frame import NOTHING_KNOWN, Known, column_of, differ, record_paths, rows_of
from unlearnbench.reporting.notes import Numbers, overdone, remarks
from unlearnbench.reporting.rendering import GROUPS, Number, Row, Table
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import folder_name

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    1: "data-removal",
    2: "class-removal",
    3: "noisy-label-removal",
    4: "data-removal",
    5: "class-removal",
    6: "noisy-label-removal",
}
"""Which task each table of the paper shows; the table of any other task is called by the task's name."""
ABLATIONS = (4, 5, 6)
"""The tables that show methods without one of their parts."""
ORDER = (
    *("retrain", "neggrad", "boundary", "sisa", "unrolling", "t-s", "scrub"),
    *("laf-none-l1", "laf-none-l2", "laf-r", "laf"),
)
"""The paper's order of methods; others follow by name."""


def table(
    number: int | str,
    preset: str = "demo",
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - the command line calls it so
    protocol: str = CLEAN.name,
    attack: str | None = None,
    metric: str | None = None,
    accept_stale: bool = False,
) -> str:
    """One of the paper's tables from the records that are there.

    Args:
        number: 1 (data removal), 2 (class removal) or 3 (noisy-label removal); 4 to 6: the ablations on these; or the
            name of a task.
        preset: Whose results.
        results: The folder that runs wrote to.
        format: "markdown", "latex", "csv" or "terminal".
        protocol: "clean", or "released" as the code behind the published tables has it.
        attack: Of which attack the last column is, instead of the protocol's.
        metric: Which number of it: "auc" (the default), "balanced_accuracy", "tpr@1%" or "tpr@0.1%".
        accept_stale: Show cells, too, that other code made than the present one, with a footnote.

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    found = numbered(number, preset, Path(results), protocols.get(protocol, attack, metric), accept_stale)
    return "\n".join(rendering.render(t, format) for t in found)


def numbered(
    number: int | str, preset: str, results: Path, protocol: Protocol, accept_stale: bool = False
) -> list[Table]:
    """The tables of one number, the standard one first; raises as `table`."""
    chosen, found = presets.read(preset), numbered_frames(number, preset, results, accept_stale)
    column = success_of(protocol)
    if column != "asr" and not any(column in frame and frame[column].notna().any() for frame in found):
        raise UserError(f"no record has {column}: {why_not(found, preset, protocol)}")
    return [build(number, frame, chosen, protocol) for frame in found]


def why_not(found: Sequence[pd.DataFrame], preset: str, protocol: Protocol) -> str:
    """Why no record has a number of an attack."""
    reasons = [
        reason for frame in found if (name := f"{protocol.attack}.n/a") in frame for reason in frame[name].dropna()
    ]
    if reasons:
        return str(reasons[0])
    if any(f"{protocol.attack}.auc" in frame for frame in found):
        few = "the held-out items are too few for it"
        return few if protocol.metric.startswith("tpr") else "the attack has no threshold here"
    return f"run `unlearnbench measure --preset {preset} --attack {protocol.attack}`"


def numbered_frames(number: int | str, preset: str, results: Path, accept_stale: bool = False) -> list[pd.DataFrame]:
    """The cells of the tables of one number, or of a task; raises as `table`."""
    if isinstance(number, int) and number not in TABLES:
        raise UserError(f"there is no table {number}: choose one of {', '.join(map(str, TABLES))}, or name a task")
    chosen, task = presets.read(preset), task_of(number)
    plain, plus, _ = task.partition("+")  # with other options than the preset's, or whatever they are
    number = name_of(plain) if isinstance(number, str) else number
    named = [frame for name, frame in frames(results, chosen, accept_stale, task=plain) if name == number]
    found = [frame for frame in named if not plus or frame["task"].iloc[0] == task]
    if not found:
        if plain not in registry.entries("tasks"):
            raise unknown("task", plain, registry.entries("tasks"))
        what = f"ablations on {task}" if number in ABLATIONS else task
        raise UserError(
            f"no records of {what} in {results / chosen.name}: run `unlearnbench run --preset {preset} -t {plain}`"
        )
    return found


def task_of(number: int | str) -> str:
    """The task that a table shows."""
    return TABLES[number] if isinstance(number, int) else number


def name_of(number: int | str) -> int | str:
    """What a table is called: by its number in the paper if it has one, otherwise by its task."""
    return next((n for n, task in TABLES.items() if number in (n, task)), number)


def write(results: Path, preset: Preset, accept_stale: bool = False, known: Known = NOTHING_KNOWN) -> dict[str, Table]:
    """Writes all tables for which there are records as markdown, LaTeX and CSV; returns them by name."""
    found = {t.name: t for t in tables_of(results, preset, accept_stale=accept_stale, known=known)}
    for name, made in found.items():
        for form, ending in rendering.FILES.items():
            text = rendering.render(made, form)
            write_atomically(results / preset.name / "tables" / f"{folder_name(name)}{ending}", text.encode())
    return found


def tables_of(
    results: Path, preset: Preset, protocol: Protocol = CLEAN, accept_stale: bool = False, known: Known = NOTHING_KNOWN
) -> list[Table]:
    """The tables for which a preset has records, those with other options after the standard one."""
    return [build(number, frame, preset, protocol) for number, frame in frames(results, preset, accept_stale, known)]


def frames(
    results: Path, preset: Preset, accept_stale: bool = False, known: Known = NOTHING_KNOWN, task: str = ""
) -> Iterator[tuple[int | str, pd.DataFrame]]:
    """The cells of each table, or of those of a task, as in `load`, with its number, or with the name of its task.

    Cells that other code made than the present one, or another recipe or other hyperparameters than the preset's, are
    stale, unless they are accepted; then `accepted` says why.
    """
    import pandas as pd

    models = {dataset: training.model for dataset, training in preset.datasets.items()}
    found = rows_of(record_paths(results, preset.name, task), preset, accept_stale, known)
    rows = [row for row in found if row["model"] == models.get(row["dataset"], row["model"])]
    others = {row["task"].partition("+")[0] for row in rows} - {*TABLES.values()}
    for number, name in [*TABLES.items(), *((name, name) for name in sorted(others))]:
        here = shown([row for row in rows if row["task"].partition("+")[0] == name], number)
        for label in sorted({row["task"] for row in here}, key=lambda t: (t != name, t)):
            yield number, comparable(pd.DataFrame([row for row in here if row["task"] == label]))


def shown(rows: Sequence[Mapping[str, Any]], number: int | str) -> list[Mapping[str, Any]]:
    """The rows of a table: ablations with the controls, Retrain and the methods they are like, or all but ablations."""
    if number not in ABLATIONS:
        return [row for row in rows if row["role"] != "ablation"]
    whole = {row.get("like") for row in rows if row["role"] == "ablation"}
    if not whole:
        return []
    return [row for row in rows if row["role"] == "ablation" or row["method"] in {REFERENCE, NOTHING, *whole}]


def build(number: int | str, frame: pd.DataFrame, preset: Preset, protocol: Protocol) -> Table:
    """Puts a table together from the cells of one task."""
    asked = max(len(preset.seeds), frame["seed"].nunique())
    label = frame["task"].iloc[0]
    columns = [success_of(protocol) if column == "asr" else column for column in frame["columns"].iloc[0]]
    names = sorted(set(frame["dataset"]), key=lambda name: place(name, preset.datasets))
    datasets = {name: frame["dataset_title"][frame["dataset"] == name].iloc[0] for name in names}
    numbers = averages(frame[frame["status"] == "ok"], columns, protocol)
    titles = dict(zip(frame["method"], zip(frame["method_title"], frame["role"], strict=True), strict=True))
    competing = [m for m, (_, role) in titles.items() if role in ("method", "ablation") and m != REFERENCE]
    numbers |= ranked(numbers, competing, datasets, columns)
    ordered = sorted(titles, key=lambda m: position(m, titles[m][1]))
    too_much = overdone(frame, protocol) if protocol.name == CLEAN.name else ()
    return Table(
        number=name_of(number),
        task=label,
        title=titled(number, frame, preset),
        datasets=datasets,
        columns=columns,
        rows=[
            Row(m, title, role, {(d, c): numbers.get((d, m, c), Number()) for d in datasets for c in columns})
            for m, (title, role) in ((m, titles[m]) for m in ordered)
        ],
        asked=asked,
        notes=[*notes(frame, asked, protocol), *remarks(numbers, titles, datasets, columns), *too_much],
    )


def success_of(protocol: Protocol) -> str:
    """The column with the success of a protocol's attack."""
    return "asr" if protocol in PROTOCOLS.values() else f"{protocol.attack}.{protocol.metric}"


def titled(number: int | str, frame: pd.DataFrame, preset: Preset) -> str:
    """What stands above a table."""
    number = name_of(number)
    which = f"Table {number}: " if isinstance(number, int) else ""
    what = ", ablations" if number in ABLATIONS else ""
    return f"{which}{frame['task_title'].iloc[0]}{what}, preset {preset.name}"


def position(method: str, role: str) -> tuple[int, int, str]:
    """Where a method stands in a table, to sort by."""
    return list(dict.fromkeys(GROUPS.values())).index(GROUPS[role]), place(method.partition("+")[0], ORDER), method


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Marks as stale what was made under other conditions than the newest Retrain of its data set.

    What `measure` added under other conditions is left out.
    """
    frame = frame.copy()
    for _, group in frame.groupby("dataset"):
        references = group[(group["method"] == REFERENCE) & (group["status"] == "ok")].sort_values("date")
        if len(references):
            newest = references["world"].iloc[-1]
            elsewhere = group["world"].map(lambda other, w=newest: differ(other, w))
            stale = group.index[elsewhere & (group["status"] == "ok")]
            frame.loc[stale, "status"] = "stale"
            frame.loc[stale, "reason"] = "made with another recipe, data, attack or code than Retrain; run again"
            for name, key in references["more"].iloc[-1].items():
                other = frame.index.isin(group.index) & frame["more"].map(lambda more, n=name, k=key: more.get(n) != k)
                columns = [column for column in map(str, frame.columns) if column.startswith(f"{name}.")]
                frame[columns] = frame[columns].mask(other)
    return frame.copy()  # in one piece: pandas is slow on, and warns of, frames that were changed column by column


def averages(frame: pd.DataFrame, columns: Sequence[str], protocol: Protocol) -> Numbers:
    """Mean and sample standard deviation over seeds, in percent."""
    found = {}
    for column in columns:
        name = column if "." in column else column_of(column, protocol.name)
        if name not in frame:  # records of an older version
            continue
        seeds = (100 * frame[name].astype(float)).groupby([frame["dataset"], frame["method"]])
        for (dataset, method), mean, std, count in seeds.agg(["mean", "std", "count"]).itertuples():
            if count:
                found[dataset, method, column] = Number(mean, std, count)
    return found


def ranked(numbers: Numbers, competing: Sequence[str], datasets: Iterable[str], columns: Sequence[str]) -> Numbers:
    """Marks the closest and the second closest to Retrain's mean, as printed; ties share."""
    marked = {}
    for dataset in datasets:
        for column in columns:
            reference = numbers.get((dataset, REFERENCE, column))
            if reference is None:
                continue
            distances = {
                (dataset, m, column): number.distance(reference)
                for m in competing
                if (number := numbers.get((dataset, m, column)))
            }
            for rank, distance in enumerate(sorted(set(distances.values()))[:2], start=1):
                for key in (k for k, d in distances.items() if d == distance):
                    marked[key] = replace(numbers[key], rank=rank)
    return marked


def notes(frame: pd.DataFrame, asked: int, protocol: Protocol) -> Iterable[str]:
    """What a reader must know to read a table."""
    several = f"Mean ± sample standard deviation over {asked} seeds, or n where there are fewer, in percent."
    single = "One seed, in percent, so chance has a share in every difference."
    yield f"{several if asked > 1 else single} Bold: closest to Retrain; underlined: second closest."
    options = frame["attacks"].iloc[0].get(protocol.attack, {})
    yield protocol.note.format(shadows=frame["shadows"].max(), **options)
    seen = []
    elsewhere = frame["role"] == ELSEWHERE
    if elsewhere.any():
        names = ", ".join(frame.loc[elsewhere, "method_title"].unique())
        yield f"Made elsewhere, with whatever data their makers used: {names}."
    for _, row in frame[~elsewhere].drop_duplicates("method").iterrows():
        start = f"; starts from {row['start']}" if row["start"] else ""
        seen.append(f"{row['method_title']} ({row['access']}{start})")
    yield f"Enforced access to training data: {'; '.join(seen)}."
    accepted = frame[frame["accepted"] != ""]
    for why, group in accepted.groupby("accepted"):
        names = ", ".join(group["method_title"].unique())
        yield f"Accepted though stale (--accept-stale): {names}. Changed since: {why}."
    for gone, group in frame[frame["gone"] != ""].groupby("gone"):
        names = ", ".join(group["method_title"].unique())
        yield f"Whether the code of {names} has changed cannot be known: {gone} is no longer where it was."
    for _, row in frame[frame["status"] != "ok"].iterrows():
        where = f"{row['method_title']} on {row['dataset_title']}, seed {row['seed']}"
        yield f"Missing: {where}: {row['status']}, {row['reason']}"


def place(name: str, order: Iterable[str]) -> int:
    """The position of a name in an order; behind all others if it is not there."""
    names = list(order)
    return names.index(name) if name in names else len(names)
