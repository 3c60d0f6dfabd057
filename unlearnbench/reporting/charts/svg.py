"""Drawings as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from unlearnbench.reporting.charts.drawing import Dots, Drawing, Item, Line, Marker, Point, corners
from unlearnbench.reporting.charts.styles import Series, css
from unlearnbench.reporting.formats import printable


def element(drawing: Drawing, name: str) -> str:
    """A drawing as an element of a page, whose style sheet has the styles.

    Args:
        drawing: The drawing.
        name: For the ids in it; no other drawing of the page has it.
    """
    head = (
        f'<svg role="img" viewBox="0 0 {drawing.width:g} {drawing.height:g}" width="{drawing.width:g}" '
        f'height="{drawing.height:g}" stroke-width="{Dots.size:g}" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{text(drawing.title)}</title><desc id="{name}-d">{text(drawing.about)}</desc>'
    )
    return head + "".join(map(shape, drawing.items)) + "</svg>"


def file_text(drawing: Drawing, series: Sequence[Series]) -> str:
    """A drawing as the text of a file of its own, readable in both themes."""
    body = element(drawing, "figure").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, mark, rest = body.partition("</desc>")
    background = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return f"{head}{mark}<style>{css(series)}</style>{background}{rest}\n"


def shape(item: Item) -> str:
    """An item as an element."""
    if isinstance(item, Line):
        return titled("path", f'class="{item.style}" d="{path(item.points)}{"z" if item.closed else ""}"', item.title)
    if isinstance(item, Dots):
        d = "".join(f"m{number(x)} {number(y)}h0" for x, y in steps(item.points))
        width = "" if item.size == Dots.size else f' stroke-width="{item.size:g}"'  # otherwise as in `element`
        return f'<path class="{item.style}"{width} d="{d}"/>'
    if isinstance(item, Marker):
        if not (edge := corners(item)):
            at = f'cx="{number(item.at[0])}" cy="{number(item.at[1])}" r="{number(item.size)}"'
            return titled("circle", f'class="{item.style}" {at}', item.title)
        return titled("path", f'class="{item.style}" d="{path(edge)}z"', item.title)
    x, y = number(item.at[0]), number(item.at[1])
    turned = f' transform="rotate(-90 {x} {y})"' if item.upwards else ""
    anchor = "" if item.anchor == "start" else f" {item.anchor}"
    return f'<text class="{item.style or "label"}{anchor}" x="{x}" y="{y}"{turned}>{text(item.text)}</text>'


def titled(tag: str, attributes: str, title: str) -> str:
    """An element, with a title if there is one."""
    return f"<{tag} {attributes}><title>{text(title)}</title></{tag}>" if title else f"<{tag} {attributes}/>"


def path(points: Iterable[Point]) -> str:
    """Points as the data of a path."""
    (x, y), *others = steps(points)
    data = f"M{number(x)} {number(y)}"
    for across, along in others:
        right, down = number(across), number(along)
        data += f"h{right}" if down == "0" else f"v{down}" if right == "0" else f"l{right} {down}"
    return data


def steps(points: Iterable[Point]) -> Iterator[Point]:
    """The first point, and the steps from each to the next: between rounded places, so that they do not drift."""
    here = 0.0, 0.0
    for x, y in points:
        there = round(x, 1), round(y, 1)
        yield there[0] - here[0], there[1] - here[1]
        here = there


def number(value: float) -> str:
    """A number of pixels, short."""
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def text(raw: str) -> str:
    """Text that stays text in XML."""
    return escape(printable(raw), {'"': "&quot;"})
