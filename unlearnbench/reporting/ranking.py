"""Ranks of methods by their distance to Retrain, and what the number of seeds and blocks supports."""

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
from unlearnbench.storage.folders import expanded

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
        seeds: The smallest number of seeds in a block that all methods have; gaps are means over these.
        dropped: Blocks that are left out, each with the methods that it lacks.
        ranks: Mean rank of each method, float64 [methods].
        low: The lower end of the central 95 % of resamples of the seeds, float64 [methods].
        high: The upper end.
        first: The share of resamples in which a method is first, float64 [methods].
        friedman: The p-value of the hypothesis that all methods are alike; None for too few blocks.
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
        """The smallest significant difference of mean ranks; None for fewer than two blocks."""
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
    gaps, titles, role_of = gathered(preset, expanded(results), roles, accept_stale)
    methods = sorted(titles)
    shared = {block: table for block in sorted(gaps) if len(table := in_common(gaps[block], methods))}
    if len(methods) < 2:
        only = f"only {titles[methods[0]]} has" if methods else "none has"
        folder = expanded(results) / presets.read(preset).name
        raise UserError(f"a ranking needs two methods, but {only} up-to-date records in {folder}")
    if not shared:
        raise UserError(f"no task and data set has a seed of all of {', '.join(titles.values())}: run them first")
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
    """The gaps of the seeds that all methods have, float64 [seeds, methods]; empty if a method is missing."""
    seeds = set.intersection(*(set(block.get(method, {})) for method in methods)) if methods else set()
    return np.array([[block[method][seed] for method in methods] for seed in sorted(seeds)])


def resamples(blocks: Sequence[Floats]) -> Iterator[Floats]:
    """Bootstraps mean ranks: draws the seeds of each block with replacement, the same for all methods.

    Args:
        blocks: Gaps, float64 [seeds, methods].

    Yields:
        Mean ranks, float64 [methods].
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


def notes(ranking: Ranking) -> Sequence[str]:
    """What a ranking is, and what it cannot show."""
    blocks = len(ranking.blocks)
    text = [
        f"Ranked in each of {blocks} blocks ({', '.join(' on '.join(block) for block in ranking.blocks)}) by the mean "
        "absolute difference to Retrain over the columns of the table; 1 is the closest."
    ]
    if ranking.seeds > 1:
        text.append(
            f"Seeds drawn again: the central 95 % of {RESAMPLES} resamples of the {ranking.seeds} seeds; First: the "
            "share of resamples in which a method is first. Both show how stable ranks are; with so few seeds, the "
            "range is narrower than a confidence interval."
        )
    else:
        text.append("One seed cannot show how stable ranks are: two or more are needed.")
    for block, missing in ranking.dropped.items():
        text.append(f"Left out: {' on '.join(block)}, which lacks {', '.join(missing)}.")
    significant = [f"{a} before {b}" for (a, b), p in ranking.pairs.items() if p < LEVEL]
    tests = len(ranking.pairs)
    enough = next(n for n in range(2, 100) if tests * statistics.least_p(n) < LEVEL)
    if significant and tests * statistics.least_p(blocks) < LEVEL:
        text.append(f"Different at {LEVEL:.0%} over blocks (Wilcoxon, Holm): {'; '.join(significant)}.")
    elif tests * statistics.least_p(blocks) >= LEVEL:
        text.append(
            f"No pair can differ at {LEVEL:.0%} with {blocks} blocks, whatever the numbers: {tests} pairs need "
            f"{enough} blocks (Wilcoxon, Holm)."
        )
    else:
        text.append(f"No pair differs at {LEVEL:.0%} over blocks (Wilcoxon, Holm).")
    if ranking.friedman is not None:
        text.append(
            f"Hypothesis that all methods are alike: p = {ranking.friedman:.3g} (Friedman over {blocks} blocks)."
        )
    if ranking.critical_difference is not None:
        text.append(
            f"Mean ranks closer than {ranking.critical_difference:.2f} do not differ significantly (Nemenyi, 95 %)."
        )
    return text


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
        "dropped": [[*block, list(missing)] for block, missing in ranking.dropped.items()],
        "friedman": ranking.friedman,
        "critical_difference": ranking.critical_difference,
        "pairs": [[a, b, p] for (a, b), p in ranking.pairs.items()],
    }
