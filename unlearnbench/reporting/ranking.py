"""Ranks of methods by their distance to Retrain, and what the number of seeds and blocks supports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from unlearnbench import statistics
from unlearnbench.errors import UserError, counted
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.presets import REFERENCE, Preset, PresetLike
from unlearnbench.reporting import absent
from unlearnbench.reporting.cells import Cells, cells_of_preset
from unlearnbench.reporting.choice import EVERYTHING, Choice
from unlearnbench.reporting.degenerate import of_attack
from unlearnbench.reporting.distance import by_records
from unlearnbench.reporting.grid import METHOD, Column, Data, Grid
from unlearnbench.reporting.numbering import ABLATIONS
from unlearnbench.reporting.record import Record
from unlearnbench.statistics import Floats
from unlearnbench.storage.folders import expanded

LEVEL = 0.05
RESAMPLES = 2000
"""How many resamples of the seeds are drawn where there are too many to take each."""
MOST_WAYS = 20_000
"""Up to how many ways to draw the seeds again, each is taken: five seeds of a block have 3,125."""
Block = tuple[str, str]
"""Task and data set."""
Gaps = dict[Block, dict[str, dict[int, float]]]
"""Gaps in percentage points, by block, method and seed."""


@dataclass(frozen=True)
class Ranking:
    """Mean ranks by the gap to Retrain.

    Attributes:
        preset: The name of the preset.
        methods: Titles, the best first.
        roles: Their roles.
        blocks: Tasks and data sets, each of which ranks all methods.
        seeds: The smallest number of seeds in a block that all methods have; gaps are means over these.
        dropped: Titles of the methods that are left out, each with the blocks that it lacks; none if it only has no
            seed in common with the others.
        few: Blocks that are left out, because less than half of the methods have them.
        ranks: Mean rank of each method, float64 [methods].
        ways: The number of ways to draw the seeds of all blocks with replacement.
        resamples: How many of them were taken.
        low: The lower end of the central 95 % of the resamples, float64 [methods].
        high: The upper end.
        first: The share of resamples in which a method is first, float64 [methods].
        friedman: The p-value of the hypothesis that all methods are alike; None for too few blocks.
        pairs: Holm-corrected p-values of pairs of methods over blocks, by their titles.
        absent: Which records have no numbers, and why.
    """

    preset: str
    methods: Sequence[str]
    roles: Sequence[str]
    blocks: Sequence[Block]
    seeds: int
    dropped: Mapping[str, Sequence[Block]]
    few: Sequence[Block]
    ranks: Floats
    ways: int
    resamples: int
    low: Floats
    high: Floats
    first: Floats
    friedman: float | None
    pairs: Mapping[tuple[str, str], float]
    absent: Sequence[str]

    @property
    def resampled(self) -> str:
        """The resamples in words."""
        if self.resamples == self.ways:
            return f"all {self.ways:,} ways to draw the {self.seeds} seeds again"
        return f"{self.resamples:,} resamples of the {self.seeds} seeds"

    @property
    def critical_difference(self) -> float | None:
        """The smallest significant difference of mean ranks; None for fewer than two blocks."""
        if len(self.blocks) < 2:
            return None
        return statistics.critical_difference(len(self.methods), len(self.blocks))


@dataclass(frozen=True)
class Gathered:
    """What a ranking is computed from.

    Attributes:
        gaps: In percentage points, by block, method and seed.
        titles: Of the methods, by label.
        roles: Likewise.
        absent: Which records have no numbers, and why.
    """

    gaps: Gaps
    titles: Mapping[str, str]
    roles: Mapping[str, str]
    absent: Sequence[str]


def rank(
    preset: PresetLike = "demo",
    results: str | Path = "results",
    accept_stale: bool = False,
    choice: Choice = EVERYTHING,
) -> Ranking:
    """Ranks methods by their mean absolute gap to Retrain, over tasks and data sets.

    A block, a task on a data set, counts if at least half of the methods have it. A method that lacks such a block is
    left out.

    Args:
        preset: Whose results, as in `run`.
        results: The folder of the records.
        accept_stale: As in `table`.
        choice: Which cells. Variants and networks that were made elsewhere take part if it names them.

    Raises:
        UserError: If there are no records with numbers, or fewer than two methods have all blocks.
    """
    chosen, folder = presets.read(preset), expanded(results)
    tables = list(cells_of_preset(folder, chosen, accept_stale, choice=choice))
    return rank_cells(tables, chosen, folder)


def rank_cells(tables: Sequence[Cells], preset: Preset, results: Path) -> Ranking:
    """Ranks the methods of some tables as `rank` does.

    Args:
        tables: The cells of each table.
        preset: Whose they are.
        results: The folder of the records, for messages.

    Raises:
        UserError: As `rank`.
    """
    source = gathered(tables, preset, results)
    blocks = [block for block in sorted(source.gaps) if 2 * len(source.gaps[block]) >= len(source.titles)]
    methods = comparable_methods(source.gaps, blocks, sorted(source.titles))
    dropped = {source.titles[m]: lacking(source.gaps, blocks, m) for m in sorted(source.titles) if m not in methods}
    if len(methods) < 2:
        raise too_few([source.titles[m] for m in methods], dropped, results / preset.name)
    shared = {block: in_common(source.gaps[block], methods) for block in blocks}
    means = np.array([table.mean(axis=0) for table in shared.values()])
    ranks = statistics.mean_ranks(means)
    order = np.argsort(ranks, kind="stable")
    ranks, means, methods = ranks[order], means[:, order], [methods[i] for i in order]
    resampled = resamples(list(shared.values()))[:, order]
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    names = [source.titles[method] for method in methods]
    return Ranking(
        preset=preset.name,
        methods=names,
        roles=[source.roles[method] for method in methods],
        blocks=blocks,
        seeds=min(map(len, shared.values())),
        dropped=dropped,
        few=[block for block in sorted(source.gaps) if block not in blocks],
        ranks=ranks,
        ways=ways_to_draw(list(shared.values())),
        resamples=len(resampled),
        low=low,
        high=high,
        first=(resampled == resampled.min(axis=1, keepdims=True)).mean(axis=0),
        friedman=statistics.friedman(means),
        pairs=pairwise(names, means),
        absent=source.absent,
    )


def too_few(titles: Sequence[str], dropped: Mapping[str, Sequence[Block]], folder: Path) -> UserError:
    """The error for fewer than two methods with all blocks.

    Args:
        titles: Of the methods that have them.
        dropped: Of the others, with the blocks that they lack.
        folder: Of the records.
    """
    only = f"only {titles[0]} has" if titles else "none has"
    if not dropped:
        return UserError(f"a ranking needs two methods, but {only} up-to-date records in {folder}")
    others = "; ".join(f"{title} {lack_text(blocks)}" for title, blocks in dropped.items())
    return UserError(f"a ranking needs two methods, but {only} all tasks and datasets: {others}; choose with -t and -d")


def comparable_methods(gaps: Gaps, blocks: Sequence[Block], methods: Sequence[str]) -> list[str]:
    """The methods that have all blocks, and in each of them a seed in common.

    Where there is none, the method with the fewest seeds that others have is left out, until there is one.
    """
    kept = [method for method in methods if all(method in gaps[block] for block in blocks)]
    for block in blocks:
        while len(kept) > 1 and not len(in_common(gaps[block], kept)):
            seeds = {method: set(gaps[block][method]) for method in kept}
            shared = {m: sum(len(seeds[m] & seeds[other]) for other in kept if other != m) for m in kept}
            kept.remove(min(kept, key=lambda m: (shared[m], m)))
    return kept


def lacking(gaps: Gaps, blocks: Sequence[Block], method: str) -> list[Block]:
    """The blocks that a method lacks; none if it only shares no seed with the others."""
    return [block for block in blocks if method not in gaps[block]]


def pairwise(names: Sequence[str], means: Floats) -> dict[tuple[str, str], float]:
    """Holm-corrected p-values of all pairs of methods.

    Args:
        names: Titles of the methods.
        means: Gaps, float64 [blocks, methods].
    """
    together = list(combinations(range(len(names)), 2))
    p_values = statistics.holm([statistics.signed_rank(means[:, a] - means[:, b]) for a, b in together])
    return {(names[a], names[b]): p for (a, b), p in zip(together, p_values, strict=True)}


def gathered(tables: Sequence[Cells], preset: Preset, results: Path) -> Gathered:
    """The gaps of the methods that take part in a ranking; see `rank`."""
    gaps: Gaps = {}
    infos: dict[str, CellInfo] = {}
    records: list[Record] = []
    for cells in tables:
        if cells.number in ABLATIONS:
            continue
        records += cells.records
        by_seed = by_records(cells.ok)
        for record in cells.records:
            key = (record.cell.dataset, record.cell.method, record.cell.seed)
            if cells.choice.ranks(record.cell) and key in by_seed:
                infos[record.cell.method] = record.cell
                block = gaps.setdefault((cells.task, record.cell.dataset), {})
                block.setdefault(record.cell.method, {})[record.cell.seed] = by_seed[key]["gap"]
    if not gaps:
        nothing = f"there are no records to rank in {results / preset.name}: run `unlearnbench run --preset"
        why = absent.stale_message(records) or " ".join(absent.left_out(records))
        raise UserError(why or f"{nothing} {preset.source}`")
    titles = {method: info.method_title for method, info in infos.items()}
    roles = {method: info.role for method, info in infos.items()}
    of_interest = [*titles, REFERENCE]
    frames = ((cells.task_title, cells.frame[cells.frame["method"].isin(of_interest)]) for cells in tables)
    blind = [f"{title}: {note}" for title, frame in frames for note in of_attack(frame)]
    return Gathered(gaps, titles, roles, [*absent.left_out(records), *blind])


def in_common(block: Mapping[str, Mapping[int, float]], methods: Sequence[str]) -> Floats:
    """The gaps of the seeds that all methods have, float64 [seeds, methods]; empty if a method is missing."""
    seeds = set.intersection(*(set(block.get(method, {})) for method in methods)) if methods else set()
    return np.array([[block[method][seed] for method in methods] for seed in sorted(seeds)])


def ways_to_draw(blocks: Sequence[Floats]) -> int:
    """The number of ways to draw the seeds of each block with replacement; see `resamples`."""
    return math.prod(len(gaps) ** len(gaps) for gaps in blocks)


def resamples(blocks: Sequence[Floats]) -> Floats:
    """Bootstraps mean ranks: draws the seeds of each block with replacement, the same for all methods.

    Takes every way to draw them, each once, where these are at most `MOST_WAYS`.

    Args:
        blocks: Gaps, float64 [seeds, methods].

    Returns:
        Mean ranks, float64 [resamples, methods].
    """
    if ways_to_draw(blocks) <= MOST_WAYS:
        draws = [list(product(range(len(gaps)), repeat=len(gaps))) for gaps in blocks]
        drawn = list(product(*(gaps[np.array(ways)].mean(axis=1) for gaps, ways in zip(blocks, draws, strict=True))))
    else:
        generator = np.random.default_rng(0)
        drawn = [
            tuple(gaps[generator.integers(0, len(gaps), len(gaps))].mean(axis=0) for gaps in blocks)
            for _ in range(RESAMPLES)
        ]
    return statistics.mean_ranks(np.array(drawn))


def view(ranking: Ranking) -> Grid:
    """A ranking as a table."""
    stable = ranking.seeds > 1
    columns = [
        METHOD,
        Column("Mean rank", "{:.2f}".format),
        Column("Seeds drawn again", lambda ends: "{:.2f} to {:.2f}".format(*ends) if stable else "-"),
        Column("First", lambda share: f"{100 * share:.0f} %" if stable else "-"),
    ]
    each = list(zip(ranking.methods, ranking.ranks, ranking.low, ranking.high, ranking.first, strict=True))
    rows = [(name, rank, (low, high), first) for name, rank, low, high, first in each]
    tidy = Data(["method", "rank", "low", "high", "first"], each)
    return Grid(f"Ranks by the gap to Retrain, preset {ranking.preset}", columns, rows, notes(ranking), tidy)


def notes(ranking: Ranking) -> Sequence[str]:
    """What a ranking is, and what it cannot show."""
    blocks = len(ranking.blocks)
    text = [
        f"Ranked in each of {counted(blocks, 'block')} ({blocks_text(ranking.blocks)}) by the mean "
        "absolute difference to Retrain over the columns of the table; 1 is the closest."
    ]
    if ranking.seeds > 1:
        text.append(
            f"Seeds drawn again: the central 95 % of {ranking.resampled}; First: the share of these in which a method "
            "is first. Both show how stable ranks are; with so few seeds, the range is narrower than a confidence "
            "interval."
        )
    else:
        text.append("One seed cannot show how stable ranks are: two or more are needed.")
    for title, lacked in ranking.dropped.items():
        text.append(f"Left out: {title}, which {lack_text(lacked)}.")
    if ranking.few:
        text.append(f"Left out: {blocks_text(ranking.few)}, which less than half of the methods have.")
    text += ranking.absent
    significant = [f"{a} before {b}" for (a, b), p in ranking.pairs.items() if p < LEVEL]
    tests = len(ranking.pairs)
    enough = next(n for n in range(2, 100) if tests * statistics.least_p(n) < LEVEL)
    if significant and tests * statistics.least_p(blocks) < LEVEL:
        text.append(f"Different at {LEVEL:.0%} over blocks (Wilcoxon, Holm): {'; '.join(significant)}.")
    elif tests * statistics.least_p(blocks) >= LEVEL:
        text.append(
            f"No pair can differ at {LEVEL:.0%} with {counted(blocks, 'block')}, whatever the numbers: "
            f"{counted(tests, 'pair')} need{'s' * (tests == 1)} "
            f"{enough} blocks (Wilcoxon, Holm)."
        )
    else:
        text.append(f"No pair differs at {LEVEL:.0%} over blocks (Wilcoxon, Holm).")
    if ranking.friedman is not None:
        over = counted(blocks, "block")
        text.append(f"Hypothesis that all methods are alike: p = {ranking.friedman:.3g} (Friedman over {over}).")
    if ranking.critical_difference is not None:
        text.append(
            f"Mean ranks closer than {ranking.critical_difference:.2f} do not differ significantly (Nemenyi, 95 %)."
        )
    return text


def blocks_text(blocks: Sequence[Block]) -> str:
    """Blocks in words."""
    return ", ".join(" on ".join(block) for block in blocks)


def lack_text(blocks: Sequence[Block]) -> str:
    """What a method lacks, in words; see `lacking`."""
    return f"lacks {blocks_text(blocks)}" if blocks else "has no seed in common with the others"


def as_data(ranking: Ranking) -> dict[str, Any]:
    """A ranking as JSON values."""
    columns = {"rank": ranking.ranks, "low": ranking.low, "high": ranking.high, "first": ranking.first}
    return {
        "methods": [
            {"method": name, **{key: float(values[i]) for key, values in columns.items()}}
            for i, name in enumerate(ranking.methods)
        ],
        "blocks": [list(block) for block in ranking.blocks],
        "seeds": ranking.seeds,
        "dropped": [[title, [list(block) for block in blocks]] for title, blocks in ranking.dropped.items()],
        "few": [list(block) for block in ranking.few],
        "absent": list(ranking.absent),
        "friedman": ranking.friedman,
        "critical_difference": ranking.critical_difference,
        "pairs": [[a, b, p] for (a, b), p in ranking.pairs.items()],
    }
