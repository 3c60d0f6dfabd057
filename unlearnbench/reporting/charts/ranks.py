"""The critical-difference diagram: methods by mean rank, bars over those that the blocks cannot tell apart."""

from __future__ import annotations

from unlearnbench.reporting.charts.drawing import Drawing, Line, Text
from unlearnbench.reporting.ranking import Ranking

WIDTH, LEFT, RIGHT, TOP, LINE = 900.0, 60.0, 840.0, 70.0, 22.0


def diagram(ranking: Ranking) -> Drawing:
    """The critical-difference diagram (Demsar, JMLR 2006)."""
    count = len(ranking.methods)
    bars = cliques(ranking)
    height = TOP + 14 * len(bars) + LINE * ((count + 1) // 2) + 50

    def x(rank: float) -> float:
        return LEFT + (rank - 1) * (RIGHT - LEFT) / max(1, count - 1)

    title = f"Mean ranks by the gap to Retrain, preset {ranking.preset}"
    drawing = Drawing(WIDTH, height, title, "Rank 1 is the closest to Retrain; a bar joins methods that do not differ.")
    add = drawing.add
    add(Line([(LEFT, TOP), (RIGHT, TOP)], "axis"))
    for tick in range(1, count + 1):
        add(Line([(x(tick), TOP - 5), (x(tick), TOP)], "axis"), Text((x(tick), TOP - 10), f"{tick}", "middle"))
    difference = ranking.critical_difference
    if difference is not None:
        end = min(x(1 + difference), WIDTH)
        add(Line([(LEFT, 30), (end, 30)], "zero"), Text((LEFT, 22), f"critical difference {difference:.2f}"))
    for number, (first, last) in enumerate(bars):
        y = TOP + 12 + 14 * number
        add(Line([(x(ranking.ranks[first]) - 4, y), (x(ranking.ranks[last]) + 4, y)], "bar"))
    below = TOP + 14 * len(bars) + 24
    for place, (name, rank) in enumerate(zip(ranking.methods, ranking.ranks, strict=True)):
        near = place < (count + 1) // 2
        y = below + LINE * (place if near else count - 1 - place)
        edge, anchor = (LEFT - 10, "start") if near else (RIGHT + 10, "end")
        add(Line([(x(rank), TOP), (x(rank), y), (edge, y)], "leader"))
        add(Text((edge, y - 4), f"{name} ({rank:.2f})", anchor))
    return drawing


def cliques(ranking: Ranking) -> list[tuple[int, int]]:
    """The longest runs of methods whose mean ranks lie within the critical difference.

    Returns:
        Positions of the first and the last method of each run.
    """
    limit = ranking.critical_difference
    if limit is None:
        return [(0, len(ranking.methods) - 1)]
    runs: list[tuple[int, int]] = []
    for first, start in enumerate(ranking.ranks):
        last = max(i for i, rank in enumerate(ranking.ranks) if rank - start <= limit)
        if last > first and not any(f <= first and last <= l_ for f, l_ in runs):
            runs.append((first, last))
    return runs
