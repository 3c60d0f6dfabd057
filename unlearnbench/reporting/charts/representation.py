"""Maps of how networks represent samples: before unlearning, after it, and Retrain (as LAF's Figure 1, ICLR 2024)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.artefacts.features_rule import FEATURES, NEIGHBOURS
from unlearnbench.planning.presets import ORIGINAL, REFERENCE
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Point, Text
from unlearnbench.reporting.record import Measure
from unlearnbench.statistics import Floats

SIDE, GAP, TOP = 240.0, 16.0, 26.0
COLUMNS = 4
Map = tuple[Floats, NDArray[np.int64], int]
"""Points float64 [n, 2], classes int64 [n], and the number of forgotten samples, which come first."""


def chart(block: Block, methods: Sequence[str], seed: int) -> Drawing | None:
    """The maps of the original, of some methods and of Retrain.

    Args:
        block: The task and the data set.
        methods: Labels.
        seed: The seed.

    Returns:
        The chart; None unless there is a map of Retrain and of another network.
    """
    ordered = [ORIGINAL, *(method for method in methods if method not in (ORIGINAL, REFERENCE)), REFERENCE]
    measured = {method: measure for method in ordered if (measure := measure_of(block, method, seed))}
    if REFERENCE not in measured or len(measured) < 2:
        return None
    onto = decoded(measured[REFERENCE].map)
    rows = -(-len(measured) // COLUMNS)
    width = GAP + min(len(measured), COLUMNS) * (SIDE + GAP)
    height = rows * (SIDE + TOP + 44) + 24
    drawing = Drawing(
        width,
        height,
        f"{block.title}, seed {seed}: maps of the representation",
        "Each dot is a training sample, coloured by class; forgotten samples are dark and in front. Maps are turned "
        "onto Retrain's. Distances between groups in a map mean little: read the numbers below it.",
    )
    for place, (method, measure) in enumerate(measured.items()):
        left = GAP + (place % COLUMNS) * (SIDE + GAP)
        top = TOP + (place // COLUMNS) * (SIDE + TOP + 44)
        title = f"{block.series[method].title}" + {ORIGINAL: " (before)", REFERENCE: ""}.get(method, " (after)")
        drawing.add(Text((left, top - 8), title, "start", "heading"))
        draw_map(drawing, (left, top), aligned(decoded(measure.map), onto))
        for line, text in enumerate(numbers(measure.numbers)):
            drawing.add(Text((left, top + SIDE + 16 + 14 * line), text, "start", "note"))
    note = f"purity: forgotten samples among the {NEIGHBOURS} nearest neighbours of forgotten ones; CKA: 1 is alike"
    drawing.add(Text((GAP, height - 8), note, "start", "note"))
    return drawing


def measure_of(block: Block, method: str, seed: int) -> Measure | None:
    """The features of a method in the records, if it has a map."""
    for record in block.records(method):
        measure = record.more.get(FEATURES)
        if record.ok and record.cell.seed == seed and measure and measure.map:
            return measure
    return None


def decoded(drawing: Mapping[str, Any]) -> Map:
    """The map in a record; see `evaluation.representation.drawing`."""
    points = np.frombuffer(base64.b64decode(drawing["points"]), dtype=np.uint8).reshape(-1, 2).astype(np.float64)
    forgotten, others = drawing["classes"]
    classes = [np.repeat(np.arange(len(counts)), counts) for counts in (forgotten, others)]
    return points, np.concatenate(classes), sum(forgotten)


def aligned(own: Map, onto: Map) -> Map:
    """A map, turned or mirrored so that the means of its classes lie as near as possible to those of another one.

    Args:
        own: The map.
        onto: The other one.
    """
    points, classes, forgotten = own
    kinds = np.unique(classes)
    centres = [np.array([p[c == kind].mean(axis=0) for kind in kinds]) for p, c, _ in (own, onto)]
    middle = [centre.mean(axis=0) for centre in centres]
    left, _, right = np.linalg.svd((centres[0] - middle[0]).T @ (centres[1] - middle[1]))
    turned = (points - middle[0]) @ (left @ right)
    return turned, classes, forgotten


def draw_map(drawing: Drawing, corner: Point, shown: Map) -> None:
    """Draws a map into a square: a colour for each class, forgotten samples in front.

    Args:
        drawing: Where.
        corner: The upper left corner of the square.
        shown: The map.
    """
    (left, top), (points, classes, forgotten) = corner, shown
    drawing.box(left, top, left + SIDE, top + SIDE, "grid")
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    inside = (points - low) / span
    inside += (1 - np.ptp(inside, axis=0)) / 2  # in the middle
    pixels = [(left + 6 + x * (SIDE - 12), top + SIDE - 6 - y * (SIDE - 12)) for x, y in inside]
    is_forgotten = np.arange(len(classes)) < forgotten
    for kind in np.unique(classes[~is_forgotten]):
        drawing.add(
            Dots([pixels[i] for i in np.flatnonzero(~is_forgotten & (classes == kind))], f"c{kind % 10} sample", 4)
        )
    drawing.add(Dots([pixels[i] for i in np.flatnonzero(is_forgotten)], "forgotten", 4.5))


def numbers(found: Mapping[str, Any]) -> list[str]:
    """The numbers beside a map."""
    first = f"purity {100 * found['purity']:.1f} %, {found['forgotten']} of {found['samples']} forgotten"
    names = {"cka_retrain": "Retrain", "cka_original": "original"}
    alike = [f"{name} {found[key]:.3f}" for key, name in names.items() if found[key] is not None]
    return [first, f"CKA to {', to '.join(alike)}" if alike else ""]
