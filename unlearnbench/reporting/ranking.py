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
from unlearnbench.reporting import rendering
from unlearnbench.reporting.distances import by_records
from unlearnbench.reporting.tables import ABLATIONS, frames
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
    gaps, titles, taking_part = gathered(preset, Path(results), roles, accept_stale)
    methods = sorted(titles)
    shared = {block: table for block in sorted(gaps) if len(table := in_common(gaps[block], methods))}
    blocks = list(shared)
    if len(methods) < 2:
        only = f"only {titles[methods[0]]} has" if methods else "none has"
        raise UserError(f"to rank takes two methods, and {only} up-to-date records in {Path(results) / preset}")
    if not blocks:
        raise UserError(f"no task and data set has all of {', '.join(titles.values())} with one seed: run them first")
    means = np.array([table.mean(axis=0) for table in shared.values()])
    ranks = statistics.mean_ranks(means)
    resampled = np.array(list(resamples(list(shared.values()))))
    order = np.argsort(ranks, kind="stable")
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    first = (resampled == resampled.min(axis=1, keepdims=True)).mean(axis=0)
    names = [titles[methods[i]] for i in order]
    together = list(combinations(range(len(order)), 2))
    p_values = statistics.holm([statistics.signed_rank(means[:, order[a]] - means[:, order[b]]) for a, b in together])
    return Ranking(
        methods=names,
        roles=[taking_part[methods[i]] for i in order],
        blocks=blocks,
        seeds=min(map(len, shared.values())),
        dropped={
            block: [titles[m] for m in methods if m not in gaps[block]] or ["a seed that all have"]
            for block in sorted(gaps.keys() - shared.keys())
        },
        ranks=ranks[order],
        low=low[order],
        high=high[order],
        first=first[order],
        friedman=statistics.friedman(means),
        pairs={(names[a], names[b]): p for (a, b), p in zip(together, p_values, strict=True)},
    )


def gathered(
    preset: str, results: Path, roles: Sequence[str], accept_stale: bool
) -> tuple[Gaps, dict[str, str], dict[str, str]]:
    """The gaps by block, method and seed, and the methods' titles and roles."""
    gaps: Gaps = {}
    titles: dict[str, str] = {}
    taking_part: dict[str, str] = {}
    for number, frame in frames(results, presets.read(preset), accept_stale):
        if number in ABLATIONS:
            continue
        frame = frame[frame["status"] == "ok"]
        about = frame.drop_duplicates("method").set_index("method")
        for (dataset, method, seed), values in sorted(by_records(frame).items()):
            role = str(about.loc[method, "role"])
            if method != REFERENCE and role in roles:
                titles[method], taking_part[method] = str(about.loc[method, "method_title"]), role
                block = str(frame["task"].iloc[0]), dataset
                gaps.setdefault(block, {}).setdefault(method, {})[seed] = values["gap"]
    if not gaps:
        raise UserError(f"there are no records to rank in {results}: run `unlearnbench run --preset {preset}`")
    return gaps, titles, taking_part


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


def printed(found: Ranking, preset: str, form: str) -> str:
    """A ranking as text."""
    headers = ["Method", "Mean rank", "Seeds drawn again", "First"]
    told = found.seeds > 1
    lines = [
        [name, f"{rank:.2f}", f"{low:.2f} to {high:.2f}" if told else "-", f"{100 * first:.0f} %" if told else "-"]
        for name, rank, low, high, first in zip(
            found.methods, found.ranks, found.low, found.high, found.first, strict=True
        )
    ]
    title = f"Ranks by the gap to Retrain, preset {preset}"
    return rendering.grid(title, headers, lines, list(notes(found)), form)


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
