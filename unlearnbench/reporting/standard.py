"""The standard table: means over seeds of each metric, by method and data set, with ranks by closeness to Retrain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnbench.planning.presets import ELSEWHERE, REFERENCE
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS, Protocol
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.frame import column_of
from unlearnbench.reporting.notes import Numbers, overdone, remarks
from unlearnbench.reporting.numbering import place, position
from unlearnbench.reporting.rendering import Number, Row, Table

if TYPE_CHECKING:
    import pandas as pd


def view(cells: Cells, protocol: Protocol) -> Table:
    """The standard table.

    Args:
        cells: What it shows.
        protocol: Which numbers.
    """
    frame, preset = cells.frame, cells.preset
    asked = max(len(preset.seeds), frame["seed"].nunique())
    columns = [success_of(protocol) if column == "asr" else column for column in cells.columns]
    names = sorted(set(frame["dataset"]), key=lambda name: place(name, preset.datasets))
    datasets = {name: frame["dataset_title"][frame["dataset"] == name].iloc[0] for name in names}
    titles = dict(zip(frame["method"], zip(frame["method_title"], frame["role"], strict=True), strict=True))
    competing = [m for m, (_, role) in titles.items() if role in ("method", "ablation") and m != REFERENCE]
    numbers = averages(cells.ok, columns, protocol)
    numbers |= ranked(numbers, competing, datasets, columns)
    too_much = overdone(frame, protocol) if protocol.name == CLEAN.name else ()
    return Table(
        number=cells.number,
        task=cells.task,
        title=cells.title,
        datasets=datasets,
        columns=columns,
        rows=[
            Row(method, title, role, {(d, c): numbers.get((d, method, c), Number()) for d in datasets for c in columns})
            for method, (title, role) in sorted(titles.items(), key=lambda item: position(item[0], item[1][1]))
        ],
        asked=asked,
        notes=[*notes(frame, asked, protocol), *remarks(numbers, titles, datasets, columns), *too_much],
    )


def success_of(protocol: Protocol) -> str:
    """The column with the success of a protocol's attack."""
    return "asr" if protocol in PROTOCOLS.values() else f"{protocol.attack}.{protocol.metric}"


def averages(frame: pd.DataFrame, columns: Sequence[str], protocol: Protocol) -> Numbers:
    """Mean and sample standard deviation over seeds, in percent."""
    numbers = {}
    for column in columns:
        name = column if "." in column else column_of(column, protocol.name)
        if name not in frame:  # records of an older version
            continue
        seeds = (100 * frame[name].astype(float)).groupby([frame["dataset"], frame["method"]])
        for (dataset, method), mean, std, count in seeds.agg(["mean", "std", "count"]).itertuples():
            if count:
                numbers[dataset, method, column] = Number(mean, std, count)
    return numbers


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
    options: Mapping[str, object] = frame["attacks"].iloc[0].get(protocol.attack, {})
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
