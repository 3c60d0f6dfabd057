"""Who comes closest to Retrain, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from unlearnbench import statistics
from unlearnbench.errors import UserError
from unlearnbench.planning import presets
from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.cells import cells_of_preset, groups
from unlearnbench.reporting.distance import by_records
from unlearnbench.reporting.grid import Column, Data, Grid
from unlearnbench.reporting.numbering import ABLATIONS
from unlearnbench.statistics import Floats

LEVEL = 0.05
RESAMPLES = 2000
Block = tuple[str, str]
"""Task and data set."""
Gaps = dict[Block, dict[str, dict[int, float]]]
"""Gaps in percentage points, by block, method and seed."""


@dataclass(frozen=True)
class Ranking:
    """Mean ranks by the gap to Retrain.

    Attributes:
        methods: Titles, the best first.
        roles: Their roles.
        blocks: Tasks and data sets, each of which ranks all methods.
        seeds: The smallest number of seeds that a block's gaps are means of: those that all methods have.
        dropped: Blocks that do not count, each with the methods that it lacks.
        ranks: Mean rank of each method.
        low: The lower end of the range of 95 % of resamples of the seeds.
        high: The upper end.
        first: The share of resamples in which a method is first.
        friedman: The p-value for all methods being alike; None where the blocks are too few.
        pairs: Holm-corrected p-values of pairs of methods over blocks, by their titles.
    """

    methods: Sequence[str]
    roles: Sequence[str]
    blocks: Sequence[Block]
    seeds: int
    dropped: Mapping[Block, Sequence[str]]
    ranks: Floats
    low: Floats
    high: Floats
    first: Floats
    friedman: float | None
    pairs: Mapping[tuple[str, str], float]

    @property
    def critical_difference(self) -> float | None:
        """How far apart mean ranks must be; None where the blocks are too few."""
        if len(self.blocks) < 2:
            return None
        return statistics.critical_difference(len(self.methods), len(self.blocks))


def rank(
    preset: str = "demo",
    results: str | Path = "results",
    roles: Sequence[str] = ("method", "variant"),
    accept_stale: bool = False,
) -> Ranking:
    """Ranks methods by their mean absolute gap to Retrain, over all tasks and data sets that have all of them.

    Args:
        preset: Whose results.
        results: The folder of the records.
        roles: Which methods take part.
        accept_stale: As in `table`.

    Raises:
        UserError: If there are no records, or fewer than two methods in any block.
    """
    gaps, titles, role_of = gathered(preset, Path(results), roles, accept_stale)
    methods = sorted(titles)
    shared = {block: table for block in sorted(gaps) if len(table := in_common(gaps[block], methods))}
    if len(methods) < 2:
        only = f"only {titles[methods[0]]} has" if methods else "none has"
        raise UserError(f"to rank takes two methods, and {only} up-to-date records in {Path(results) / preset}")
    if not shared:
        raise UserError(f"no task and data set has all of {', '.join(titles.values())} with one seed: run them first")
    means = np.array([table.mean(axis=0) for table in shared.values()])
    ranks = statistics.mean_ranks(means)
    order = np.argsort(ranks, kind="stable")
    ranks, means, methods = ranks[order], means[:, order], [methods[i] for i in order]
    resampled = np.array(list(resamples(list(shared.values()))))[:, order]
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    names = [titles[method] for method in methods]
    lacking = {
        block: [titles[m] for m in sorted(methods) if m not in gaps[block]] or ["a seed that all have"]
        for block in sorted(gaps.keys() - shared.keys())
    }
    return Ranking(
        methods=names,
        roles=[role_of[method] for method in methods],
        blocks=list(shared),
        seeds=min(map(len, shared.values())),
        dropped=lacking,
        ranks=ranks,
        low=low,
        high=high,
        first=(resampled == resampled.min(axis=1, keepdims=True)).mean(axis=0),
        friedman=statistics.friedman(means),
        pairs=pairwise(names, means),
    )


def pairwise(names: Sequence[str], means: Floats) -> dict[tuple[str, str], float]:
    """Holm-corrected p-values of all pairs of methods.

    Args:
        names: Titles of the methods.
        means: Gaps, float64 [blocks, methods].
    """
    together = list(combinations(range(len(names)), 2))
    p_values = statistics.holm([statistics.signed_rank(means[:, a] - means[:, b]) for a, b in together])
    return {(names[a], names[b]): p for (a, b), p in zip(together, p_values, strict=True)}


def gathered(
    preset: str, results: Path, roles: Sequence[str], accept_stale: bool
) -> tuple[Gaps, dict[str, str], dict[str, str]]:
    """The gaps by block, method and seed, and the methods' titles and roles."""
    gaps: Gaps = {}
    titles: dict[str, str] = {}
    role_of: dict[str, str] = {}
    for cells in cells_of_preset(results, presets.read(preset), accept_stale):
        if cells.number in ABLATIONS:
            continue
        by_seed = by_records(cells.ok)
        for group in groups(cells.ok):
            role = str(group.cells["role"].iloc[0])
            seeds = {seed: by_seed[key] for seed in group.cells["seed"] if (key := (*group[:2], seed)) in by_seed}
            if group.method != REFERENCE and role in roles and seeds:
                titles[group.method], role_of[group.method] = group.method_title, role
                block = gaps.setdefault((cells.task, group.dataset), {})
                block[group.method] = {seed: distances["gap"] for seed, distances in sorted(seeds.items())}
    if not gaps:
        raise UserError(f"there are no records to rank in {results}: run `unlearnbench run --preset {preset}`")
    return gaps, titles, role_of


def in_common(block: Mapping[str, Mapping[int, float]], methods: Sequence[str]) -> Floats:
    """The gaps of the seeds that all methods have, float64 [seeds, methods]; none if a method is not there at all."""
    seeds = set.intersection(*(set(block.get(method, {})) for method in methods)) if methods else set()
    return np.array([[block[method][seed] for method in methods] for seed in sorted(seeds)])


def resamples(blocks: Sequence[Floats]) -> Iterator[Floats]:
    """Mean ranks after the seeds of each block were drawn again, with replacement and the same for all methods.

    Args:
        blocks: Gaps, float64 [seeds, methods].
    """
    generator = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        drawn = [gaps[generator.integers(0, len(gaps), len(gaps))].mean(axis=0) for gaps in blocks]
        yield statistics.mean_ranks(np.array(drawn))


def view(ranking: Ranking, preset: str) -> Grid:
    """A ranking as a table.

    Args:
        ranking: What it shows.
        preset: The name of the preset.
    """
    stable = ranking.seeds > 1
    columns = [
        Column("Method"),
        Column("Mean rank", "{:.2f}".format),
        Column("Seeds drawn again", lambda ends: "{:.2f} to {:.2f}".format(*ends) if stable else "-"),
        Column("First", lambda share: f"{100 * share:.0f} %" if stable else "-"),
    ]
    each = list(zip(ranking.methods, ranking.ranks, ranking.low, ranking.high, ranking.first, strict=True))
    rows = [(name, rank, (low, high), first) for name, rank, low, high, first in each]
    tidy = Data(["method", "rank", "low", "high", "first"], each)
    return Grid(f"Ranks by the gap to Retrain, preset {preset}", columns, rows, notes(ranking), tidy)


def notes(found: Ranking) -> Sequence[str]:
    """What a ranking can and cannot say."""
    blocks = len(found.blocks)
    text = [
        f"Ranked in each of {blocks} blocks ({', '.join(' on '.join(block) for block in found.blocks)}) by the mean "
        "absolute difference to Retrain over the columns of the table; 1 is the closest."
    ]
    if found.seeds > 1:
        text.append(
            f"Seeds drawn again: where 95 % of {RESAMPLES} resamples of the {found.seeds} seeds lie, and First the "
            "share of them in which a method leads. That says how stable ranks are; with so few seeds it is no "
            "confidence interval, but narrower."
        )
    else:
        text.append("One seed cannot say how stable ranks are: it takes two, and more are better.")
    for block, missing in found.dropped.items():
        text.append(f"Left out: {' on '.join(block)}, which lacks {', '.join(missing)}.")
    significant = [f"{a} before {b}" for (a, b), p in found.pairs.items() if p < LEVEL]
    tests = len(found.pairs)
    enough = next(n for n in range(2, 100) if tests * statistics.least_p(n) < LEVEL)
    if significant and tests * statistics.least_p(blocks) < LEVEL:
        text.append(f"Different at {LEVEL:.0%} over blocks (Wilcoxon, Holm): {'; '.join(significant)}.")
    elif tests * statistics.least_p(blocks) >= LEVEL:
        text.append(
            f"No pair can be told apart at {LEVEL:.0%} with {blocks} blocks, whatever their numbers: for {tests} pairs "
            f"it takes {enough} blocks."
        )
    else:
        text.append(f"No pair differs at {LEVEL:.0%} over blocks (Wilcoxon, Holm).")
    if found.friedman is not None:
        text.append(f"All methods alike: p = {found.friedman:.3g} (Friedman over {blocks} blocks).")
    if found.critical_difference is not None:
        text.append(f"Mean ranks closer than {found.critical_difference:.2f} cannot be told apart (Nemenyi, 95 %).")
    return text


def as_data(found: Ranking) -> dict[str, Any]:
    """A ranking as JSON values."""
    columns = {"rank": found.ranks, "low": found.low, "high": found.high, "first": found.first}
    return {
        "methods": [
            {"method": name, **{key: float(values[i]) for key, values in columns.items()}}
            for i, name in enumerate(found.methods)
        ],
        "blocks": [list(block) for block in found.blocks],
        "seeds": found.seeds,
        "dropped": [[*block, list(missing)] for block, missing in found.dropped.items()],
        "friedman": found.friedman,
        "critical_difference": found.critical_difference,
        "pairs": [[a, b, p] for (a, b), p in found.pairs.items()],
    }
