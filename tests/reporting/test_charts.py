"""Charts draw the numbers of tables where they belong, and figures are files that other programs read."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up import path_of, record, write_all

from unlearnbench import UserError
from unlearnbench.operations.figure import figure
from unlearnbench.planning import presets
from unlearnbench.reporting.block import Block, blocks_of, drawn_methods
from unlearnbench.reporting.cells import cells_of_preset
from unlearnbench.reporting.charts import gaps, representation, roc, seeds, sensitivity, svg, tradeoff
from unlearnbench.reporting.charts.axes import Panel, Scale, linear, logarithmic, overlap, signed
from unlearnbench.reporting.charts.drawing import Drawing, Line, Marker, Text
from unlearnbench.reporting.charts.styles import COLOURS, series_of
from unlearnbench.storage.records import write_record

METHODS = {"laf": ("LAF", 0.05), "neggrad": ("NegGrad", 0.2), "scrub": ("SCRUB", 0.03)}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("charts")
    write_all(folder, METHODS, tasks=["data-removal", "class-removal"])
    return folder


@pytest.fixture(scope="module")
def block(made: Path) -> Block:
    """Data removal."""
    tables = list(cells_of_preset(made / "results", presets.read(str(made / "mine.toml"))))
    return next(blocks_of(tables, drawn_methods(tables)))


def markers(drawing: Drawing) -> dict[str, Marker]:
    """The marks of a drawing by the title in front of the colon."""
    return {item.title.partition(":")[0]: item for item in drawing.items if isinstance(item, Marker)}


@pytest.mark.parametrize(
    "scale", [linear([0.2, 7.3]), logarithmic([0.003, 40]), signed([-30, 2]), signed([5], sign=False)]
)
def test_scales_are_monotone_and_reach_from_end_to_end(scale: Scale) -> None:
    values = np.linspace(scale.low, scale.high, 50)
    places = [scale.place(value) for value in values]
    assert places[0] == 0
    assert places[-1] == pytest.approx(1)
    assert all(one < other for one, other in pairwise(places))
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert len(scale.ticks) >= 2
    assert scale.place(scale.high + 5) == pytest.approx(1)


@pytest.mark.parametrize("values", [[], [0.0], [3.0, 3.0], [math.nan, 1.0], [1e-9], [-5.0, -5.0]])
def test_scales_of_few_or_equal_values_have_an_extent(values: list[float]) -> None:
    for scale in (linear(values), logarithmic(values), signed(values)):
        assert scale.low < scale.high
        assert scale.ticks


def test_marks_are_where_the_numbers_of_the_table_belong(block: Block) -> None:
    drawing = tradeoff.chart(block)
    found = markers(drawing)
    assert set(found) == {"Retrain", "LAF", "NegGrad", "SCRUB", "Original", "Retrain again"}
    centre = found["Retrain"].at
    for title, method in (("LAF", "laf"), ("NegGrad", "neggrad"), ("Original", "original")):
        difference = block.paired[method]
        assert difference["test"]
        assert difference["train_f"]
        assert difference["test"].mean < 0 < difference["train_f"].mean
        assert found[title].at[0] < centre[0]
        assert found[title].at[1] < centre[1]
        assert f"Test {difference['test'].mean:+.2f}, Train_f {difference['train_f'].mean:+.2f}" in found[title].title
    assert found["NegGrad"].at[0] < found["LAF"].at[0] < found["SCRUB"].at[0]


def test_methods_are_sorted_by_their_gap(block: Block) -> None:
    drawing = gaps.chart(block)
    rows = sorted(markers(drawing).items(), key=lambda item: item[1].at[1])
    by_title = {
        series.title: block.gaps[method].mean for method, series in block.series.items() if method in block.gaps
    }
    assert [title for title, _ in rows] == sorted(by_title, key=lambda title: by_title[title])
    texts = {item.text for item in drawing.items if isinstance(item, Text)}
    assert {f"{gap:.2f}" for gap in by_title.values()} <= texts


def test_intervals_and_noise_floors_are_those_of_paired(block: Block) -> None:
    titles = {item.title for item in seeds.chart(block).items if isinstance(item, Marker)}
    assert f"LAF, ASR: {block.paired['laf']['asr']}" in titles
    assert block.noise_floor("asr") == block.paired["laf"]["asr"].floor  # type: ignore[union-attr]


def test_a_roc_curve_is_the_mean_over_seeds(block: Block) -> None:
    curves = block.curves()
    mean = dict(roc.mean_curve(curves["neggrad"]))
    assert set(mean) == set(curves["neggrad"][0]["fpr"])
    fpr = list(mean)[3]
    assert mean[fpr] == pytest.approx(np.mean([curve["tpr"][3] for curve in curves["neggrad"].values()]))
    drawing = roc.chart(block)
    assert drawing
    assert sum(isinstance(item, Line) and item.style.endswith(" seed") for item in drawing.items) == 18


def test_labels_overlap_neither_each_other_nor_marks() -> None:
    drawing = Drawing(400, 300, "t")
    panel = Panel(drawing, 40, 20, 380, 260, linear([0, 1]), linear([0, 1]))
    marks = [Marker(panel.at(0.5 + 0.01 * n, 0.5), "circle", "m0 mark") for n in range(12)]
    for marker in marks:
        panel.mark(marker)
    for n, marker in enumerate(marks):
        panel.label(marker, f"Method {n}", "m0 tag")
    assert len(panel.taken) > 20
    labels = panel.taken[12:]
    assert not any(overlap(one, other) for n, one in enumerate(labels) for other in [*labels[:n], *panel.taken[:12]])


def test_no_two_of_thirty_methods_look_alike() -> None:
    series = series_of((f"m{n}", f"M{n}", "method") for n in range(30)).values()
    assert len({(one.colour, one.shape) for one in series}) == 30
    assert {one.colour for one in series} == set(COLOURS)


def test_a_map_is_turned_back_onto_the_one_that_it_was_turned_from() -> None:
    generator = np.random.default_rng(0)
    points, classes = generator.normal(size=(60, 2)), np.repeat(np.arange(6), 10)
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])  # turned and mirrored
    turned, _, forgotten = representation.aligned((points @ turn + 3, classes, 5), (points, classes, 5))
    assert forgotten == 5
    centre = np.array([points[classes == kind].mean(axis=0) for kind in range(6)]).mean(axis=0)
    assert turned == pytest.approx(points - centre)


def test_every_figure_is_svg_and_pdf(made: Path) -> None:
    preset, results = str(made / "mine.toml"), made / "results"
    choice = gaps_choice("data-removal")
    for name in ("tradeoff", "roc", "ranks"):
        paths = figure(name, preset, results)
        assert len(paths) == (1 if name == "ranks" else 2)
        for path in paths:
            root = ElementTree.parse(path).getroot()
            assert root.find(f"{SVG}title") is not None
            assert "NegGrad" in "".join(root.itertext())
        out = made / f"{name}.pdf"
        assert figure(name, preset, results, choice=choice, out=out) == [out]
        content = out.read_bytes()
        assert content.startswith(b"%PDF")
        figure(name, preset, results, choice=choice, out=out)
        assert out.read_bytes() == content


@pytest.mark.parametrize("name", ["tradeoff", "roc", "sensitivity", "representation"])
def test_a_figure_of_stale_records_says_that_they_are_stale(
    name: str, tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "tiny.toml"
    changed.write_text(tiny.read_text().replace("lr = 2e-3", "lr = 1e-3"))
    with pytest.raises(UserError, match=r"records, all stale because of changes in recipe.lr"):
        figure(name, str(changed), tiny_run)


def gaps_choice(task: str) -> object:
    from unlearnbench.reporting.choice import Choice

    return Choice.of(tasks=task)


def test_wrong_figures_say_what_to_do(made: Path) -> None:
    preset, results = str(made / "mine.toml"), made / "results"
    with pytest.raises(UserError, match="unknown figure 'rocs': did you mean 'roc'"):
        figure("rocs", preset, results)
    with pytest.raises(UserError, match=r"--out must end in .svg or .pdf, not 'a.png'"):
        figure("roc", preset, results, out="a.png")
    with pytest.raises(UserError, match="2 figures do not fit into one file; choose one with -d, -t or -m"):
        figure("roc", preset, results, out=made / "a.svg")
    with pytest.raises(UserError, match="run `unlearnbench measure --features` first"):
        figure("representation", preset, results)
    with pytest.raises(UserError, match="no method has records with several values of a hyperparameter"):
        figure("sensitivity", preset, results)


def test_a_sweep_is_drawn_by_its_values(tmp_path: Path) -> None:
    results = write_all(tmp_path, METHODS, tasks=["data-removal"])
    for value, distance in ((1e-5, 0.4), (1e-3, 0.1)):
        for seed in range(3):
            label = f"laf+lr={value:g}"
            made = record("data-removal", label, f"LAF (lr={value:g})", "variant", seed, distance)
            made["cell"]["hyperparameters"] = {"lr": value, "epochs": 2}
            write_record(path_of(results, made), made)
    (path,) = figure("sensitivity", str(tmp_path / "mine.toml"), results)
    assert path.name == "sensitivity-data-removal-digits-8x8-laf-lr.svg"
    tables = list(cells_of_preset(results, presets.read(str(tmp_path / "mine.toml"))))
    (block,) = blocks_of(tables, drawn_methods(tables))
    labels = sensitivity.swept(block, "laf")
    assert labels == {"lr": {1e-5: "laf+lr=1e-05", 1e-4: "laf", 1e-3: "laf+lr=0.001"}}
    marks = [item for item in sensitivity.chart(block, "laf", "lr", labels["lr"]).items if isinstance(item, Marker)]
    assert [mark.title.partition(":")[0] for mark in marks] == ["lr = 1e-05", "lr = 0.0001", "lr = 0.001"]
    assert marks[0].at[0] < marks[1].at[0] < marks[2].at[0]
    assert marks[0].at[1] < marks[2].at[1] < marks[1].at[1]


def test_texts_in_drawings_are_escaped() -> None:
    drawing = Drawing(10, 10, '<script>"&', items=[Text((1, 1), "</svg><script>")])
    root = ElementTree.fromstring(svg.file_text(drawing, []))
    assert "".join(root.find(f"{SVG}text").itertext()) == "</svg><script>"  # type: ignore[union-attr]
    assert root.findtext(f"{SVG}title") == '<script>"&'
