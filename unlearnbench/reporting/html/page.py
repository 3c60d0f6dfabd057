"""What is on the page of a report, and the page as text."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import DEFAULT, CellStatus
from unlearnbench.planning.presets import REFERENCE, Preset
from unlearnbench.planning.protocols import COLUMNS, PROTOCOLS, RELEASED
from unlearnbench.reporting import (
    absent,
    apart,
    compare,
    cost,
    distance,
    features,
    identification,
    mismatch,
    mismatch_compare,
    paired,
    published,
    relearning,
    show,
    standard,
)
from unlearnbench.reporting.block import Block, blocks_of, drawn_methods
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.charts import cost as cost_chart
from unlearnbench.reporting.charts import gaps, ranks, representation, roc, seeds, svg, tradeoff
from unlearnbench.reporting.charts import relearning as relearning_chart
from unlearnbench.reporting.charts.drawing import Drawing
from unlearnbench.reporting.charts.styles import Series, css
from unlearnbench.reporting.formats import FILES, printable
from unlearnbench.reporting.grid import Grid
from unlearnbench.reporting.html import missing
from unlearnbench.reporting.html.answers import Answer, answer_of
from unlearnbench.reporting.html.texts import Texts
from unlearnbench.reporting.numbering import ABLATIONS, SCENARIOS
from unlearnbench.reporting.ranking import Ranking, rank_cells
from unlearnbench.reporting.ranking import view as ranking_grid
from unlearnbench.reporting.record import Record
from unlearnbench.reporting.rendering import Row, Table
from unlearnbench.reporting.tables import with_notes

TEMPLATES = Path(__file__).with_name("templates")
IMPLIED = re.compile(r"</(?:td|th|tr|li|tbody)>\s*")
"""What HTML does not need: a tenth of a page. Texts are escaped, so none is in them."""
QUOTED = re.compile(r"""\b(class|href|id|scope)="([-\w#]+)"(?=[ >])""")
"""Attributes that need no quotation marks."""
MOST_MAPS = 11
"""How many methods have a map in a report, at most, beside the original and Retrain."""


@dataclass(frozen=True)
class Group:
    """The records of a method in a block.

    Attributes:
        name: Of its place in the page.
        series: The method.
        records: By seed.
    """

    name: str
    series: Series
    records: Sequence[Record]

    @property
    def all_ok(self) -> bool:
        """Whether all of its records have numbers and are as they should be."""
        return {record.state for record in self.records} <= {CellStatus.OK}

    @property
    def states(self) -> str:
        """How many of its records are in which state, in words."""
        return ", ".join(f"{count} {state}" for state, count in missing.counts(self.records).items())

    @property
    def commands(self) -> list[str]:
        """The commands that repeat its records; one for all seeds if they differ in the seed alone."""
        seeds_of: dict[tuple[str, str, str], list[int]] = {}
        for record in self.records:
            command = str(record.observed.get("command", "unknown"))
            parts = f"{command} ".partition(f" --seeds {record.cell.seed} ")
            seeds_of.setdefault((parts[0], "--seeds" if parts[1] else "", parts[2]), []).append(record.cell.seed)
        return [
            " ".join(
                filter(None, (before.strip(), option and f"{option} {','.join(absent.runs_of(seeds))}", after.strip()))
            )
            for (before, option, after), seeds in seeds_of.items()
        ]


@dataclass(frozen=True)
class Figure:
    """A chart of the page: its drawing and the name of its place."""

    name: str
    drawing: Drawing

    @property
    def svg(self) -> str:
        """The chart as an element."""
        return svg.element(self.drawing, self.name)


@dataclass(frozen=True)
class BlockPart:
    """What the page says of a block.

    Attributes:
        name: Of its place in the page.
        block: The block.
        answer: Who is closest to Retrain; None for ablations.
        groups: Its records, by method.
    """

    name: str
    block: Block
    answer: Answer | None
    groups: Mapping[str, Group]

    def target(self, row: Row) -> str:
        """The place of the records behind a row of its table; "" if there is none."""
        return self.groups[row.method].name if row.method in self.groups else ""

    @cached_property
    def gaps(self) -> Figure | None:
        """The chart that answers who is closest to Retrain."""
        return Figure(f"{self.name}-gap", gaps.chart(self.block)) if self.block.gaps else None

    @cached_property
    def figures(self) -> list[Figure]:
        """Its other charts."""
        block = self.block
        if not block.paired:
            return []
        drawings = {
            "tradeoff": tradeoff.chart(block),
            "roc": roc.chart(block),
            "seeds": seeds.chart(block),
            "cost": cost_chart.chart(block),
            "relearning": relearning_chart.chart(block),
        }
        return [Figure(f"{self.name}-{name}", drawing) for name, drawing in drawings.items() if drawing]

    def warnings(self, table: Table) -> list[str]:
        """The notes below a table that name methods, on this data set."""
        start = f"{table.datasets[self.block.dataset]}: "
        return [note.removeprefix(start) for note in table.warnings if note.startswith(start)]

    @cached_property
    def maps(self) -> Figure | None:
        """The maps of the first seed that has any."""
        methods = [series.method for series in self.block.methods if not series.is_control][:MOST_MAPS]
        for seed in sorted({record.cell.seed for record in self.block.cells.records}):
            if drawing := representation.chart(self.block, methods, seed):
                return Figure(f"{self.name}-maps", drawing)
        return None


@dataclass(frozen=True)
class Part:
    """What the page says of a table.

    Attributes:
        name: Of its place in the page.
        cells: The cells of the table.
        blocks: Its data sets.
    """

    name: str
    cells: Cells
    blocks: Sequence[BlockPart]

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The standard table under each protocol."""
        return {name: standard.view(self.cells, protocol) for name, protocol in PROTOCOLS.items()}

    @cached_property
    def grids(self) -> list[tuple[str, Table | Grid]]:
        """Further tables with their headings, those that have something to show."""
        found = []
        for heading, function in FURTHER.items() if len(self.cells.ok) else ():
            with suppress(UserError):  # nothing to show
                found.append((heading, with_notes(function(self.cells), absent.notes(self.cells.records))))
        return found


def beside_published(cells: Cells) -> Grid:
    """Our numbers beside the published ones; raises `UserError` if there are none."""
    return compare.view(cells, RELEASED, published.read(cells.number))


FURTHER: Mapping[str, Callable[[Cells], Grid]] = {
    "Differences to Retrain with intervals, and the noise floor": paired.view,
    "Gap to Retrain, in points and in noise floors": distance.in_metrics,
    "Cost of each method": cost.view,
    "Beside the published numbers": beside_published,
    "Relearning": relearning.view,
    "Embeddings of the forget set": features.view,
    "Given, hidden and sibling samples apart": apart.view,
    "Hidden samples that methods found": identification.view,
}
"""Further tables by their headings."""


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        preset: Whose results.
        tables: All cells, by table.
        results: The folder of the records.
        folder: The folder of the report, from which links to records start.
        embed: Whether records are in the page.
    """

    preset: Preset
    tables: Sequence[Cells]
    results: Path
    folder: Path
    embed: bool = False

    @cached_property
    def series(self) -> dict[str, Series]:
        """How each method is drawn, by label."""
        return drawn_methods(self.tables)

    @cached_property
    def by_title(self) -> dict[str, Series]:
        """How each method is drawn, by title."""
        return {series.title: series for series in self.series.values()}

    @cached_property
    def parts(self) -> list[Part]:
        """The tables of the page."""
        return list(self.made_parts())

    def made_parts(self) -> Iterator[Part]:
        """Makes the tables of the page."""
        places = 0
        for number, cells in enumerate(self.tables, start=1):
            blocks = []
            for count, block in enumerate(blocks_of([cells], self.series), start=1):
                groups = {}
                for method in self.series:
                    if records := block.records(method):
                        places += 1
                        groups[method] = Group(f"r{places}", self.series[method], records)
                answer = None if cells.number in ABLATIONS else answer_of(block, self.results)
                blocks.append(BlockPart(f"t{number}-{count}", block, answer, groups))
            yield Part(f"t{number}", cells, blocks)

    @cached_property
    def mismatch(self) -> Table | None:
        """Table 7; None without records of its scenarios."""
        own = {cells.task: cells for cells in self.tables}
        scenarios = [own[name] for name in SCENARIOS if name in own]
        return mismatch.view(scenarios) if scenarios else None

    @cached_property
    def mismatch_grid(self) -> Grid | None:
        """Table 7 beside the published numbers; None if there are none of these."""
        try:
            return mismatch_compare.view(self.mismatch) if self.mismatch else None
        except UserError:
            return None

    def targets(self, dataset: str) -> Callable[[Row], str]:
        """The function that gives the place of the records behind a row of Table 7, for a data set."""
        here = ((part.cells.task, block) for part in self.parts for block in part.blocks)
        blocks = {task: block for task, block in here if block.block.dataset == dataset}
        return lambda row: blocks[row.task].target(row) if row.task in blocks else ""

    @property
    def about(self) -> dict[str, str]:
        """What the columns of its tables mean, by name."""
        return ABOUT | OF_MISMATCH if self.mismatch else ABOUT

    @property
    def answers(self) -> list[BlockPart]:
        """The blocks with an answer."""
        return [block for part in self.parts for block in part.blocks if block.answer]

    @cached_property
    def ranking(self) -> Ranking | None:
        """The ranking over all blocks, as of `rank`; None for a single block or too few methods."""
        if len(self.answers) < 2:
            return None
        try:
            return rank_cells(self.tables, self.preset, self.results)
        except UserError:
            return None

    @property
    def ranking_grid(self) -> Grid | None:
        """That ranking as a table."""
        return ranking_grid(self.ranking) if self.ranking else None

    @property
    def diagram(self) -> Figure | None:
        """That ranking as a diagram."""
        return Figure("ranks", ranks.diagram(self.ranking)) if self.ranking else None

    @cached_property
    def records(self) -> list[Record]:
        """All records, each once: some are in two tables."""
        return list({record.path: record for cells in self.tables for record in cells.records}.values())

    @property
    def counts(self) -> dict[str, int]:
        """The number of records by state."""
        return missing.counts(self.records)

    @property
    def problems(self) -> list[tuple[str, list[str]]]:
        """What is missing, by name."""
        return list(missing.problems(self.tables, self.preset))

    @property
    def facts(self) -> dict[str, str]:
        """What was run."""
        infos = [record.cell for record in self.records]
        dates = sorted({record.date[:10] for record in self.records if record.date})
        made = sorted({show.software({"observed": r.observed, "key": r.key}) for r in self.records})
        processors = sorted({str(r.observed.get("processor", "unknown processor")) for r in self.records})
        return {
            "Data": listed(f"{info.dataset_title} ({info.model})" for info in infos),
            "Tasks": listed(info.task_title for info in infos),
            "Methods": f"{len({info.method for info in infos})}, with Retrain and controls",
            "Seeds": absent.seeds_text([info.seed for info in infos]),
            "Made": " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "unknown",
            "With": "; ".join(made[:3]) + (f" and {len(made) - 3} more" if len(made) > 3 else ""),
            "On": "; ".join(processors[:3]) + (f" and {len(processors) - 3} more" if len(processors) > 3 else ""),
            "Command": f"unlearnbench run --preset {self.preset.source}",
        }

    def link(self, record: Record) -> str:
        """Where a record is, seen from the report."""
        assert record.path is not None
        path = os.path.relpath(record.path.absolute(), self.folder.absolute())
        return Path(path).as_posix().replace("%", "%25").replace("#", "%23").replace("?", "%3F")

    def text_of(self, record: Record) -> str:
        """The content of a record."""
        assert record.path is not None
        return record.path.read_text(encoding="utf-8")


def listed(names: Iterator[str]) -> str:
    """Names, each once, in order."""
    return ", ".join(dict.fromkeys(names))


def render_page(page: Page) -> str:
    """The page as the text of an HTML file; the same for the same records."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    series = list(page.series.values())
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8") + css(series) + hiding(series)
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment.filters |= {"printable": printable, "percent": percent, "value": value_text, "kind": kind_of_source}
    text: str = environment.get_template("report.html").render(
        page=page,
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        style_hash=sha256_of(style),
        script_hash=sha256_of(script),
        svg=lambda figure: Markup(figure.svg),  # noqa: S704 - it escapes texts itself
        body_groups=body_groups,
        columns=COLUMNS,
        default=DEFAULT,
        reference=REFERENCE,
        about=page.about,
        forms=tuple(FILES),
        texts=Texts(),
    )
    return QUOTED.sub(r"\1=\2", IMPLIED.sub("", text))


ABOUT = {
    "train_r": "accuracy on the retain set",
    "train_f": "accuracy on the forget set",
    "test": "accuracy on the test set",
    "test_r": "accuracy on test samples of the classes that stay",
    "test_f": "accuracy on test samples of the classes that must go",
    "asr": "success rate of a membership-inference attack on the forget set; 50 is a guess",
}
"""What the columns of tables mean."""
OF_MISMATCH = {
    "ua": "accuracy on the training samples of the concept that must be forgotten, hidden ones included",
    "ra": "accuracy on all other training samples",
    "ta": "accuracy on the test set without the test samples of the concept",
    "mia": "share of the concept's training samples that attack svc-released takes for non-members",
    "train_f": "accuracy on the forget set, and on samples that must be forgotten but are hidden; UA in Table 7",
    "train_r": "accuracy on all other training samples; RA in Table 7",
    "test_r": "accuracy on test samples of the classes that stay; TA in Table 7",
}
"""What they mean where classes and the concept do not match."""


def hiding(series: Sequence[Series]) -> str:
    """The rules that hide a method whose box is not ticked, and those of the other protocol."""
    return "".join(f"body:has(#h{one.number}:not(:checked)) .m{one.number}:not(.key){{display:none}}" for one in series)


def sha256_of(text: str) -> str:
    """The hash by which a content-security policy allows a style or a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def body_groups(table: Table) -> list[tuple[str, list[Row]]]:
    """The rows of a table under their headings, "" for none; Retrain alone, so that it stays on top."""
    groups: list[tuple[str, list[Row]]] = []
    for row, heading in table.headed():
        if heading or not groups or REFERENCE in (row.method, groups[-1][1][-1].method):
            groups.append((heading, []))
        groups[-1][1].append(row)
    return groups


def percent(value: Any) -> str:
    """A fraction in percent; n/a for none."""
    return "n/a" if value is None else f"{100 * value:.2f}"


def kind_of_source(source: str) -> str:
    """Where a hyperparameter comes from, in a word, such as "tuned"."""
    return re.split(r"[ ,]", source)[0]


def value_text(value: Any) -> str:
    """A hyperparameter."""
    return value if isinstance(value, str) else json.dumps(value)
