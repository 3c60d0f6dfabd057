"""From records to the tables of the paper. Nothing here needs torch, a plugin or an artefact."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench import presets
from unlearnbench.errors import UserError
from unlearnbench.presets import Preset
from unlearnbench.store import read_record, write_atomically

if TYPE_CHECKING:
    import pandas as pd

TABLES = {1: "data-removal", 2: "class-removal", 3: "noisy-label-removal"}
"""Which task each table of the paper shows."""
ORDER = ("retrain", "neggrad", "boundary", "sisa", "unrolling", "t-s", "scrub", "laf-r", "laf")
"""The paper's order of methods; others follow by name."""
GROUPS = {"method": "", "variant": "Variants", "control": "Controls"}
"""The roles that Tables 1-3 show, in this order, with what is written above them."""
REFERENCE = "retrain"
COLUMNS = {
    "train_r": "Train_r",
    "train_f": "Train_f",
    "test": "Test",
    "test_r": "Test_r",
    "test_f": "Test_f",
    "asr": "ASR",
}
SIDE_BY_SIDE = 2
"""Data sets next to each other, as the paper has them."""
FORMATS = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}


def load(results: str | Path = "results", preset: str | None = None) -> pd.DataFrame:
    """Reads records into a table with one row for each cell.

    Args:
        results: The folder that runs wrote to.
        preset: Only this preset's; all if None.

    Returns:
        Names and titles (`dataset`, `model`, `task`, `method`, `role`, `seed`, ...), `status`, and the metrics of
        protocol `clean` as fractions in [0, 1] (`train_r`, `train_f`, `test`, `test_r`, `test_f`, `asr`); those of
        attacks as e.g. `shadow.auc`, `shadow.auc_low`, `shadow.auc_high`; `seconds_prepare` and `seconds_unlearn`.

    Raises:
        UserError: If the folder does not exist or cannot be read.
    """
    import pandas as pd

    return pd.DataFrame([flat(record) for record in records(Path(results), preset)])


def records(results: Path, preset: str | None = None) -> list[dict[str, Any]]:
    """All readable records below a results folder, by path."""
    if not results.is_dir():
        raise UserError(f"there is no results folder {results}: run `unlearnbench run`, or name another with --results")
    try:
        paths = sorted(results.glob(f"{preset or '*'}/records/*/*/*/*/*.json"))
    except OSError as error:
        raise UserError(f"cannot read {results}: {error.strerror}") from error
    return [record for path in paths if (record := read_record(path)) is not None]


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one row."""
    row = {**record["cell"], "status": record["status"], "reason": record.get("reason", "")}
    row["shadows"] = record["key"]["shadows"]["count"]
    metrics = record.get("metrics", {"clean": {}, "attacks": {}})
    row |= metrics["clean"]
    for attack, found in metrics["attacks"].items():
        for name, value in found.items():
            values = zip(("", "_low", "_high"), value, strict=True) if isinstance(value, list) else [("", value)]
            row |= {f"{attack}.{name}{end}": number for end, number in values}
    return row | {f"seconds_{phase}": s for phase, s in record["observed"]["seconds"].items()}


@dataclass(frozen=True)
class Number:
    """A cell of a table.

    Attributes:
        mean: In percent; nan where there is none.
        deviation: Sample standard deviation over seeds, in percent; nan for a single seed.
        n: How many seeds there are.
        rank: 1 for the closest to Retrain, 2 for the second closest, otherwise 0.
    """

    mean: float = math.nan
    deviation: float = math.nan
    n: int = 0
    rank: int = 0

    def text(self, asked: int, plus_minus: str = "±") -> str:
        """The number as the paper prints it, with n where seeds are missing."""
        if self.n == 0:
            return "-"
        deviation = "" if math.isnan(self.deviation) else f"{plus_minus}{self.deviation:.2f}"
        return f"{self.mean:.2f}{deviation}" + (f" (n={self.n})" if self.n < asked else "")


@dataclass(frozen=True)
class Row:
    """A method of a table: its title, role, and numbers by data set and column."""

    title: str
    role: str
    numbers: Mapping[tuple[str, str], Number]


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        number: 1 to 3.
        name: Of its files, without ending.
        title: What stands above it.
        datasets: Titles by name.
        columns: Names of metrics.
        rows: In order.
        asked: How many seeds the preset wants.
        notes: What stands below it.
    """

    number: int
    name: str
    title: str
    datasets: Mapping[str, str]
    columns: Sequence[str]
    rows: Sequence[Row]
    asked: int
    notes: Sequence[str]

    def blocks(self) -> Iterable[dict[str, str]]:
        """The data sets that stand side by side."""
        names = list(self.datasets)
        for first in range(0, len(names), SIDE_BY_SIDE):
            yield {name: self.datasets[name] for name in names[first : first + SIDE_BY_SIDE]}


def table(
    number: int, preset: str = "demo", results: str | Path = "results", format: str = "markdown"  # noqa: A002
) -> str:
    """One of the paper's tables from the records that are there.

    Args:
        number: 1 (data removal), 2 (class removal) or 3 (noisy-label removal).
        preset: Whose results.
        results: The folder that runs wrote to.
        format: "markdown", "latex", "csv" or "terminal".

    Raises:
        UserError: If a name is wrong or there are no records.
    """
    if number not in TABLES:
        raise UserError(f"there is no table {number}: choose one of {', '.join(map(str, TABLES))}")
    chosen = presets.read(preset)
    found = [t for t in tables_of(Path(results), chosen) if t.number == number]
    if not found:
        raise UserError(
            f"no records of {TABLES[number]} in {Path(results) / chosen.name}: "
            f"run `unlearnbench run --preset {preset} -t {TABLES[number]}`"
        )
    return "\n".join(render(t, format) for t in found)


def write(results: Path, preset: Preset) -> dict[str, Table]:
    """Writes all tables for which there are records as markdown, LaTeX and CSV; returns them by name."""
    found = {t.name: t for t in tables_of(results, preset)}
    for name, made in found.items():
        for form, ending in FORMATS.items():
            write_atomically(results / preset.name / "tables" / f"{name}{ending}", render(made, form).encode())
    return found


def tables_of(results: Path, preset: Preset) -> list[Table]:
    """The tables for which a preset has records, those with other options after the standard one."""
    rows = [flat(record) for record in records(results, preset.name)]
    found = []
    for number, task in TABLES.items():
        labels = sorted({r["task"] for r in rows if r["task"].partition("+")[0] == task}, key=lambda t: (t != task, t))
        found += [build(number, [r for r in rows if r["task"] == label], preset) for label in labels]
    return found


def build(number: int, rows: Sequence[Mapping[str, Any]], preset: Preset) -> Table:
    """Puts a table together from the cells of one task."""
    import pandas as pd

    frame = pd.DataFrame([r for r in rows if r["role"] in GROUPS])
    label, columns = frame["task"].iloc[0], frame["columns"].iloc[0]
    datasets = dict(sorted(zip(frame["dataset"], frame["dataset_title"], strict=True), key=lambda d: place(d[0], preset.datasets)))
    numbers = averages(frame[frame["status"] == "ok"], columns)
    titles = dict(zip(frame["method"], zip(frame["method_title"], frame["role"], strict=True), strict=True))
    competing = [m for m, (_, role) in titles.items() if role == "method" and m != REFERENCE]
    numbers |= ranked(numbers, competing, datasets, columns)
    ordered = sorted(titles, key=lambda m: (list(GROUPS).index(titles[m][1]), place(m.partition("+")[0], ORDER), m))
    return Table(
        number=number,
        name=f"table{number}" + label.removeprefix(TABLES[number]),
        title=f"Table {number}: {frame['task_title'].iloc[0]}, preset {preset.name}",
        datasets=datasets,
        columns=columns,
        rows=[
            Row(*titles[m], {(d, c): numbers.get((d, m, c), Number()) for d in datasets for c in columns})
            for m in ordered
        ],
        asked=len(preset.seeds),
        notes=list(notes(frame, len(preset.seeds))),
    )


Numbers = dict[tuple[str, str, str], Number]
"""Numbers by data set, method and column."""


def averages(frame: pd.DataFrame, columns: Sequence[str]) -> Numbers:
    """Mean and sample standard deviation over seeds, in percent."""
    found = {}
    for (dataset, method), group in frame.groupby(["dataset", "method"]):
        for column in columns:
            values = 100 * group[column].dropna()
            if len(values):
                found[dataset, method, column] = Number(float(values.mean()), float(values.std()), len(values))
    return found


def ranked(numbers: Numbers, competing: Sequence[str], datasets: Iterable[str], columns: Sequence[str]) -> Numbers:
    """Marks the closest and the second closest to Retrain's mean, as printed; ties share."""
    marked = {}
    for dataset in datasets:
        for column in columns:
            reference = numbers.get((dataset, REFERENCE, column))
            if reference is None:
                continue
            distances = {
                (dataset, m, column): round(abs(round(number.mean, 2) - round(reference.mean, 2)), 2)
                for m in competing
                if (number := numbers.get((dataset, m, column)))
            }
            for rank, distance in enumerate(sorted(set(distances.values()))[:2], start=1):
                for key in (k for k, d in distances.items() if d == distance):
                    number = numbers[key]
                    marked[key] = Number(number.mean, number.deviation, number.n, rank)
    return marked


def notes(frame: pd.DataFrame, asked: int) -> Iterable[str]:
    """What a reader must know to read a table."""
    yield (
        f"Mean ± sample standard deviation over {asked} seeds, in percent. Bold: closest to Retrain; underlined: second."
    )
    yield (
        f"Protocol clean: no augmentation. ASR: balanced accuracy of a shadow-model attack ({frame['shadows'].max()} "
        "shadow networks) on all forgotten against class-matched held-out items; 50 is blind guessing, closeness to "
        "Retrain is what counts. The attack does not adapt to unlearning, so it is a lower bound on leakage."
    )
    seen = frame.drop_duplicates("method").set_index("method_title")
    starts = (f"{t} ({a}{f'; starts from {s}' if s else ''})" for t, a, s in zip(seen.index, seen["access"], seen["start"], strict=True))
    yield f"Enforced access to training data: {'; '.join(starts)}."
    failed = frame[frame["status"] != "ok"]
    for _, row in failed.iterrows():
        yield f"Missing: {row['method_title']} on {row['dataset_title']}, seed {row['seed']}: {row['status']}, {row['reason']}"


def place(name: str, order: Iterable[str]) -> int:
    """The position of a name in an order; behind all others if it is not there."""
    names = list(order)
    return names.index(name) if name in names else len(names)


def render(made: Table, form: str) -> str:
    """A table as text, ending in a line break."""
    renderers: dict[str, Callable[[Table], str]] = {
        "markdown": markdown,
        "terminal": terminal,
        "latex": latex,
        "csv": as_csv,
    }
    if form not in renderers:
        raise UserError(f"format must be one of {', '.join(renderers)}, not {form!r}")
    return renderers[form](made)


def markdown(made: Table) -> str:
    """GitHub's markdown: best in bold, second best underlined."""
    text = grids(made, "pipe", {1: "**{}**", 2: "<u>{}</u>"}, "*{}*")
    notes = "\n".join(f"- {escape_markdown(note)}" for note in made.notes)
    return f"**{made.title}**\n\n{text}\n{notes}\n"


def terminal(made: Table) -> str:
    """As markdown, but with the terminal's own bold and underline."""
    text = grids(made, "simple", {1: "\033[1m{}\033[0m", 2: "\033[4m{}\033[0m"}, "{}")
    return f"{made.title}\n\n{text}\n" + "".join(f"{note}\n" for note in made.notes)


def grids(made: Table, form: str, marks: Mapping[int, str], group: str) -> str:
    """The blocks of a table, drawn by tabulate."""
    from tabulate import tabulate

    drawn = []
    for block in made.blocks():
        headers = ["Method"] + ["Data", *(COLUMNS.get(c, c) for c in made.columns)] * len(block)
        lines: list[list[str]] = []
        for row, heading in grouped(made.rows):
            if heading:
                lines.append([group.format(heading), *[""] * (len(headers) - 1)])
            cells = [row.title]
            for name, title in block.items():
                numbers = [row.numbers[name, column] for column in made.columns]
                cells += [title if row is made.rows[0] else ""]
                cells += [marks.get(number.rank, "{}").format(number.text(made.asked)) for number in numbers]
            lines.append(cells)
        drawn.append(tabulate(lines, headers, tablefmt=form, disable_numparse=True) + "\n")
    return "\n".join(drawn)


def grouped(rows: Sequence[Row]) -> Iterable[tuple[Row, str]]:
    """Rows with the heading to write above each, "" for none."""
    role = "method"
    for row in rows:
        yield row, GROUPS[row.role] if row.role != role else ""
        role = row.role


def latex(made: Table) -> str:
    """A LaTeX table for the packages booktabs and graphicx."""
    marks = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(made.title.partition(': ')[2])}}}"]
    for block in made.blocks():
        lines += [r"\begin{tabular}{l" + ("l" + "r" * len(made.columns)) * len(block) + "}", r"\toprule"]
        columns = [rf"{base}$_{end}$" if end else base for base, _, end in (COLUMNS.get(c, c).partition("_") for c in made.columns)]
        lines += [" & ".join(["Method"] + ["Data", *columns] * len(block)) + r" \\", r"\midrule"]
        for row, heading in grouped(made.rows):
            if heading:
                lines += [r"\midrule"]
            cells = [escape_latex(row.title)]
            for name, title in block.items():
                cells += [escape_latex(title) if row is made.rows[0] else ""]
                for column in made.columns:
                    number = row.numbers[name, column]
                    cells += [marks.get(number.rank, "{}").format(number.text(made.asked, r"$\pm$"))]
            lines += [" & ".join(cells) + r" \\"]
        lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape_latex(note)}" for note in made.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def as_csv(made: Table) -> str:
    """One line for each number: table, task, dataset, method, metric, mean, std, n; percent, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "task", "dataset", "method", "metric", "mean", "std", "n"])
    for row in made.rows:
        for (dataset, column), number in row.numbers.items():
            mean = "" if number.n == 0 else number.mean
            deviation = "" if number.n < 2 else number.deviation
            task = made.name.replace(f"table{made.number}", TABLES[made.number])
            writer.writerow([made.number, task, made.datasets[dataset], row.title, column, mean, deviation, number.n])
    return text.getvalue()


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    special = {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
    return "".join(special.get(c, c) for c in text).replace("±", r"$\pm$")


def escape_markdown(text: str) -> str:
    """Text that markdown prints as it is."""
    return text.replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")
