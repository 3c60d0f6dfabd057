"""The standard table: means over seeds by method and data set, with ranks by closeness to Retrain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnbench.planning.presets import ELSEWHERE, REFERENCE
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS, Protocol
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.notes import Numbers, overdone, remarks
from unlearnbench.reporting.numbering import place, position
from unlearnbench.reporting.record import Record, column_of
from unlearnbench.reporting.rendering import Number, Row, Table

if TYPE_CHECKING:
    import pandas as pd


def view(cells: Cells, protocol: Protocol) -> Table:
    """The standard table.

    Args:
        cells: What it shows.
        protocol: Which numbers.
    """
    infos = [record.cell for record in cells.records]
    seeds = max(len(cells.preset.seeds), len({info.seed for info in infos}))
    columns = [success_of(protocol) if column == "asr" else column for column in cells.columns]
    names = sorted({info.dataset for info in infos}, key=lambda name: place(name, cells.preset.datasets))
    datasets = {name: next(info.dataset_title for info in infos if info.dataset == name) for name in names}
    methods = {info.method: info for info in infos}
    competing = [m for m, info in methods.items() if info.role in ("method", "ablation") and m != REFERENCE]
    numbers = averages(cells.ok, columns, protocol)
    numbers |= ranked(numbers, competing, datasets, columns)
    too_much = overdone(cells.frame, protocol) if protocol.name == CLEAN.name else ()
    return Table(
        number=cells.number,
        task=cells.task,
        title=cells.title,
        datasets=datasets,
        columns=columns,
        rows=[
            Row(
                m,
                info.method_title,
                info.role,
                {(d, c): numbers.get((d, m, c), Number()) for d in datasets for c in columns},
            )
            for m, info in sorted(methods.items(), key=lambda item: position(item[0], item[1].role))
        ],
        seeds=seeds,
        notes=[*notes(cells.records, seeds, protocol), *remarks(numbers, methods, datasets, columns), *too_much],
    )


def success_of(protocol: Protocol) -> str:
    """The column with the success of a protocol's attack."""
    return "asr" if protocol in PROTOCOLS.values() else f"{protocol.attack}.{protocol.metric}"


def averages(frame: pd.DataFrame, columns: Sequence[str], protocol: Protocol) -> Numbers:
    """Mean and sample standard deviation over seeds, in percent."""
    numbers = {}
    for column in columns:
        name = column if "." in column else column_of(column, protocol.name)
        if name not in frame:  # in records of an older version
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


def notes(records: Sequence[Record], seeds: int, protocol: Protocol) -> Iterator[str]:
    """The notes below a table: what its numbers are, what methods saw, and which cells are stale or missing."""
    several = f"Mean ± sample standard deviation over {seeds} seeds (n where fewer), in percent."
    single = "One seed, in percent: chance contributes to every difference."
    yield f"{several if seeds > 1 else single} Bold: closest to Retrain; underlined: second closest."
    shadows = max(record.shadows for record in records)
    yield protocol.note.format(shadows=shadows, **records[0].attack_options(protocol.attack))
    elsewhere = [record for record in records if record.cell.role == ELSEWHERE]
    if elsewhere:
        yield f"Made elsewhere, with unknown access to training data: {titles_of(elsewhere)}."
    access: dict[str, str] = {}
    for record in records:
        if record.cell.role != ELSEWHERE:
            start = f"; starts from {record.cell.start}" if record.cell.start else ""
            access.setdefault(record.cell.method, f"{record.cell.method_title} ({record.cell.access}{start})")
    yield f"Enforced access to training data: {'; '.join(access.values())}."
    for changed in sorted({record.accepted for record in records} - {""}):
        titles = titles_of(record for record in records if record.accepted == changed)
        yield f"Stale, shown because of --accept-stale: {titles}. Changed since: {changed}."
    for gone in sorted({record.gone for record in records} - {""}):
        titles = titles_of(record for record in records if record.gone == gone)
        yield f"Not checked for changes, because {gone} no longer exists: {titles}."
    for record in records:
        if not record.ok:
            cell = f"{record.cell.method_title} on {record.cell.dataset_title}, seed {record.cell.seed}"
            yield f"Missing: {cell}: {record.state}, {record.why}"


def titles_of(records: Iterable[Record]) -> str:
    """The titles of the methods of records, each once."""
    return ", ".join(dict.fromkeys(record.cell.method_title for record in records))
