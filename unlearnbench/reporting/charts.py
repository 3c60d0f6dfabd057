"""Charts: the critical-difference diagram."""

from __future__ import annotations

from unlearnbench.reporting.formats import printable
from unlearnbench.reporting.ranking import Ranking


def diagram(ranking: Ranking) -> str:
    """The critical-difference diagram (Demsar, JMLR 2006) as SVG: methods by mean rank, bars over those alike."""
    from xml.sax.saxutils import escape

    count = len(ranking.methods)
    width, left, right, top, line = 900, 60, 840, 70, 22
    bars = cliques(ranking)
    height = top + 14 * len(bars) + line * ((count + 1) // 2) + 50

    def x(rank: float) -> float:
        return left + (rank - 1) * (right - left) / max(1, count - 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{left} {top}H{right}" stroke="black"/>',
    ]
    for tick in range(1, count + 1):
        parts.append(f'<path d="M{x(tick):.1f} {top - 5}v5" stroke="black"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{top - 10}" text-anchor="middle">{tick}</text>')
    if ranking.critical_difference is not None:
        end = x(1 + ranking.critical_difference)
        parts.append(f'<path d="M{left} 30H{end:.1f}" stroke="black" stroke-width="2"/>')
        parts.append(f'<text x="{left}" y="22">critical difference {ranking.critical_difference:.2f}</text>')
    for number, (first, last) in enumerate(bars):
        y = top + 12 + 14 * number
        ends = f"M{x(ranking.ranks[first]) - 4:.1f} {y}H{x(ranking.ranks[last]) + 4:.1f}"
        parts.append(f'<path d="{ends}" stroke="black" stroke-width="4"/>')
    below = top + 14 * len(bars) + 24
    for place, (name, rank) in enumerate(zip(ranking.methods, ranking.ranks, strict=True)):
        near = place < (count + 1) // 2
        y = below + line * (place if near else count - 1 - place)
        edge, anchor = (left - 10, "start") if near else (right + 10, "end")
        parts.append(f'<path d="M{x(rank):.1f} {top}V{y}H{edge}" fill="none" stroke="gray"/>')
        text = f"{escape(printable(name))} ({rank:.2f})"
        parts.append(f'<text x="{edge}" y="{y - 4}" text-anchor="{anchor}">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


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
