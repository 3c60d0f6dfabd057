"""The standard table: means over seeds by method and data set, with ranks by closeness to Retrain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnbench.planning.presets import ELSEWHERE, REFERENCE
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS, Protocol
from unlearnbench.reporting import absent
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.degenerate import degenerate
from unlearnbench.reporting.degenerate import notes as degenerate_notes
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
    columns = [success_of(protocol) if column == "asr" else column for column in cells.columns]
    names = sorted({info.dataset for info in infos}, key=lambda name: place(name, cells.preset.datasets))
    datasets = {name: next(info.dataset_title for info in infos if info.dataset == name) for name in names}
    methods = {info.method: info for info in infos}
    competing = [m for m, info in methods.items() if cells.choice.ranks(info)]
    numbers = averages(cells.ok, columns, protocol)
    useless = {(record.cell.dataset, record.cell.method) for record in cells.records if record.not_applicable}
    requested = max(len(cells.choice.seeds or cells.preset.seeds), len({info.seed for info in infos}))
    seeds = seeds_of(numbers, requested)
    faults = degenerate(cells.frame, protocol)
    unranked = {(dataset, method, success_of(protocol)) for dataset in faults for method in faults[dataset].unranked}
    numbers |= ranked(numbers, competing, datasets, columns, unranked)
    too_much = overdone(cells.frame, protocol) if protocol.name == CLEAN.name else ()
    warnings = [*degenerate_notes(faults), *remarks(numbers, methods, datasets, columns), *too_much]
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
                {
                    (d, c): numbers.get((d, m, c), Number(absent="n/a" if (d, m) in useless else "-"))
                    for d in datasets
                    for c in columns
                },
            )
            for m, info in sorted(methods.items(), key=lambda item: position(item[0], item[1].role))
        ],
        seeds=seeds,
        notes=[*notes(cells.records, seeds, requested, protocol), *warnings],
        warnings=warnings,
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


def ranked(
    numbers: Numbers,
    competing: Sequence[str],
    datasets: Iterable[str],
    columns: Sequence[str],
    unranked: Container[tuple[str, str, str]] = (),
) -> Numbers:
    """Marks the closest and the second closest to Retrain's mean, as printed; ties share.

    Args:
        numbers: Of the table.
        competing: Labels of the methods that are ranked.
        datasets: Names.
        columns: Of the table.
        unranked: Data set, method and column of numbers that are not ranked.
    """
    marked = {}
    for dataset in datasets:
        for column in columns:
            reference = numbers.get((dataset, REFERENCE, column))
            if reference is None:
                continue
            distances = {
                (dataset, m, column): number.distance(reference)
                for m in competing
                if (number := numbers.get((dataset, m, column))) and (dataset, m, column) not in unranked
            }
            for rank, distance in enumerate(sorted(set(distances.values()))[:2], start=1):
                for key in (k for k, d in distances.items() if d == distance):
                    marked[key] = replace(numbers[key], rank=rank)
    return marked


def seeds_of(numbers: Numbers, requested: int) -> int:
    """The number of seeds of a table: that of all its numbers, or the requested one if these differ."""
    counts = {number.n for number in numbers.values()}
    return counts.pop() if len(counts) == 1 else requested


def notes(records: Sequence[Record], seeds: int, requested: int, protocol: Protocol) -> Iterator[str]:
    """The notes below a table: what its numbers are, what methods saw, and which cells are stale or missing."""
    of = f" of {requested}" if seeds < requested else ""
    several = f"Mean ± sample standard deviation over {seeds} seeds{of} (n where fewer), in percent."
    single = f"One seed{of}, in percent: chance contributes to every difference."
    yield f"{several if seeds > 1 else single} Bold: closest to Retrain; underlined: second closest."
    shadows = max(record.shadows for record in records)
    if shadows or protocol.attack != CLEAN.attack:
        options = {"shadows": shadows, **records[0].attack_options(protocol.attack)}
        yield protocol.note.format_map(
            defaultdict(lambda: "an unknown library", options)
        )  # old records have no options
    else:
        yield "Protocol clean: no augmentation. There is no ASR, because there are no shadow models (shadows = 0)."
    elsewhere = [record for record in records if record.cell.role == ELSEWHERE]
    if elsewhere:
        yield f"Made elsewhere, with unknown access to training data: {absent.titles_of(elsewhere)}."
    yield accesses(records)
    yield from absent.notes(records)


def accesses(records: Iterable[Record]) -> str:
    """What each method was allowed to see."""
    access: dict[str, str] = {}
    for record in records:
        if record.cell.role != ELSEWHERE:
            start = f"; starts from {record.cell.start}" if record.cell.start else ""
            origin = f"; from {record.origin}" if record.origin else ""
            access.setdefault(record.cell.method, f"{record.cell.method_title} ({record.cell.access}{start}{origin})")
    return f"Enforced access to training data: {'; '.join(access.values())}."
