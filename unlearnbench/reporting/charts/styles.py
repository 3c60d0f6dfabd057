"""The styles of drawings by name, for both themes of SVG and for PDF; and which method is drawn how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from unlearnbench.planning.presets import ORIGINAL, REFERENCE, SECOND_RETRAIN
from unlearnbench.reporting.numbering import position

COLOURS = (
    ("#0067a5", "#5ab2f0"),
    ("#c44601", "#ff8a4c"),
    ("#00795b", "#3ecfa0"),
    ("#a1428a", "#e58ac9"),
    ("#846200", "#e0b53b"),
    ("#7b4b2f", "#cfa688"),
)
"""Colours on white and on black that people with colour-blindness can tell apart (after Okabe & Ito), 3:1 or more."""
INK, MUTED, FAINT = ("#1b1f24", "#e8eaed"), ("#5b6570", "#a2abb5"), ("#d5dae0", "#3a4149")
"""Of texts and Retrain, of axes and controls, and of grids; likewise."""
SHAPES = ("circle", "square", "triangle", "diamond", "wedge", "cross")
DASHES = ("", "6 3", "2 3", "9 3 2 3", "12 4")


@dataclass(frozen=True)
class Style:
    """How something is drawn.

    Attributes:
        stroke: Colour of lines, on white and on black; None: none.
        fill: Colour of areas and texts.
        width: Of lines, in pixels.
        opacity: In (0, 1].
        dash: Lengths of dashes and gaps.
        size: Of texts, in pixels.
        bold: Whether texts are.
    """

    stroke: tuple[str, str] | None = None
    fill: tuple[str, str] | None = None
    width: float = 1.0
    opacity: float = 1.0
    dash: str = ""
    size: float = 12.0
    bold: bool = False


NAMED: Mapping[str, Style] = {
    "axis": Style(stroke=MUTED),
    "grid": Style(stroke=FAINT),
    "zero": Style(stroke=INK, width=1.5),
    "diagonal": Style(stroke=MUTED, dash="4 3"),
    "front": Style(stroke=MUTED, dash="2 3"),
    "bar": Style(stroke=INK, width=4.0),
    "leader": Style(stroke=MUTED),
    "band": Style(fill=MUTED, opacity=0.22),
    "label": Style(fill=INK),
    "note": Style(fill=MUTED, size=11.0),
    "heading": Style(fill=INK, bold=True),
}
"""Styles of everything but methods."""
CLASSES = (
    *("#6fa8dc", "#e8a263", "#79c08a", "#dd8a8a", "#b394d6", "#bf9678", "#dd9cc9", "#a9a9a9", "#c4c05f", "#6fc7d0"),
)
"""Colours of classes in maps, in both themes; forgotten samples stand out from them as ink."""
SERIES = {"curve": 2.0, "seed": 0.8, "interval": 1.5, "thick": 3.0}
"""The width of lines in the colour of a method; seeds are pale."""
PALE = 0.55
"""The opacity of seeds."""


@dataclass(frozen=True)
class Series:
    """How a method is drawn.

    Attributes:
        method: Its label.
        title: Its title.
        number: Its position; `mN` is the name of its style.
        colour: On white and on black.
        shape: Of its marks.
        dash: Of its lines.
        is_control: Whether it is Retrain or a control.
    """

    method: str
    title: str
    number: int
    colour: tuple[str, str]
    shape: str
    dash: str
    is_control: bool = False

    @property
    def name(self) -> str:
        """The name of its style."""
        return f"m{self.number}"


CONTROLS = {REFERENCE: (INK, "star"), SECOND_RETRAIN: (MUTED, "diamond"), ORIGINAL: (MUTED, "square")}
"""Colours and shapes of what methods are compared with; other controls are grey triangles."""


def series_of(methods: Iterable[tuple[str, str, str]]) -> dict[str, Series]:
    """How each method is drawn: colours and shapes change together, so that no two of thirty are alike.

    Args:
        methods: Labels, titles and roles.

    Returns:
        By label, in the order of tables.
    """
    drawn: dict[str, Series] = {}
    competing = 0
    for number, (method, title, role) in enumerate(sorted(set(methods), key=lambda m: position(m[0], m[2]))):
        if method == REFERENCE or role == "control":
            colour, shape = CONTROLS.get(method, (MUTED, "triangle"))
            dash = "" if method in (REFERENCE, ORIGINAL) else "2 3"
            drawn[method] = Series(method, title, number, colour, shape, dash, is_control=True)
        else:
            row = competing // len(COLOURS)
            shape = SHAPES[(competing + row) % len(SHAPES)]
            colour, dash = COLOURS[competing % len(COLOURS)], DASHES[row % len(DASHES)]
            drawn[method] = Series(method, title, number, colour, shape, dash)
            competing += 1
    return drawn


def css(series: Sequence[Series]) -> str:
    """The styles of drawings as a style sheet, for both themes."""
    light, dark = theme(series, 0), theme(series, 1)
    fixed = [rule(name, style) for name, style in NAMED.items()]
    fixed += [
        "svg{font:12px system-ui,sans-serif}",
        ".mark{fill:var(--k);stroke:var(--paper);stroke-width:.8}",
        ".tag{fill:var(--k)}",
        ".middle{text-anchor:middle}.end{text-anchor:end}",
        f".dot{{stroke:var(--k);stroke-linecap:round;opacity:{PALE};fill:none}}",
        *(f".{name}{{stroke:var(--k);stroke-width:{width};fill:none}}" for name, width in SERIES.items()),
        f".seed{{opacity:{PALE}}}",
        ".sample,.forgotten{stroke:var(--k);stroke-linecap:round;fill:none}.forgotten{--k:var(--ink)}",
        *(f".c{number}{{--k:{colour}}}" for number, colour in enumerate(CLASSES)),
        *(f".{one.name}.curve{{stroke-dasharray:{one.dash}}}" for one in series if one.dash),
    ]
    return "\n".join([*fixed, light, f"@media (prefers-color-scheme:dark){{{dark}}}"])


def theme(series: Iterable[Series], side: int) -> str:
    """The colours of one theme: 0 on white, 1 on black."""
    names = {"ink": INK, "muted": MUTED, "faint": FAINT, "paper": ("#ffffff", "#14171a")}
    root = ";".join(f"--{name}:{colour[side]}" for name, colour in names.items())
    return f":root{{{root}}}" + "".join(f".{one.name}{{--k:{one.colour[side]}}}" for one in series)


def rule(name: str, style: Style) -> str:
    """The rule of a named style."""
    variables = {INK: "var(--ink)", MUTED: "var(--muted)", FAINT: "var(--faint)"}
    parts = []
    if style.stroke:
        parts += [f"stroke:{variables[style.stroke]}", f"stroke-width:{style.width:g}", "fill:none"]
    if style.fill:
        parts.append(f"fill:{variables[style.fill]}")
    parts += [f"stroke-dasharray:{style.dash}"] if style.dash else []
    parts += [f"opacity:{style.opacity:g}"] if style.opacity < 1 else []
    parts += [f"font-size:{style.size:g}px"] if style.size != Style().size else []
    parts += ["font-weight:600"] if style.bold else []
    return f".{name}{{{';'.join(parts)}}}"


def resolved(names: str, series: Sequence[Series]) -> Style:
    """The style of some names on white, for formats without style sheets."""
    own = next((one for one in series if one.name in names.split()), None)
    colour = own.colour if own else INK
    for name in names.split():
        if name in NAMED:
            return NAMED[name]
        if name in SERIES:
            opacity = PALE if name == "seed" else 1.0
            dash = own.dash if own and name == "curve" else ""
            return Style(stroke=colour, width=SERIES[name], dash=dash, opacity=opacity)
        if name == "dot":
            return Style(fill=colour, opacity=PALE)
        if name in ("mark", "tag", "forgotten"):
            return Style(fill=colour)
        if name == "sample":
            kind = CLASSES[int(names.split()[0].removeprefix("c"))]
            return Style(fill=(kind, kind))
    return Style(fill=INK)
