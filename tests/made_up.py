"""Records with made-up numbers, for reports of any size; and the tables of a page of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from unlearnbench.storage.folders import folder_name
from unlearnbench.storage.records import write_record

TASKS = {
    "data-removal": ("Data removal", ["train_r", "train_f", "test", "asr"]),
    "class-removal": ("Class removal", ["test_r", "test_f", "asr"]),
    "noisy-label-removal": ("Noisy-label removal", ["train_r", "train_f", "test", "asr"]),
}
CONTROLS = {
    "retrain": ("Retrain", "method"),
    "retrain-2": ("Retrain again", "control"),
    "original": ("Original", "control"),
}
FPRS = [round(10 ** (step / 10 - 2), 6) for step in range(21)]
METRICS = ("train_r", "train_f", "test", "test_r", "test_f", "asr")
PRESET = 'title = "Made up"\nselect.seeds = "{seeds}"\nselect.tasks = {tasks}\n[datasets]\n{datasets}\n'
"""A preset that selects them."""


def record(
    task: str, method: str, title: str, role: str, seed: int, distance: float, dataset: str = "digits-8x8", **more: Any
) -> dict[str, Any]:
    """A record of a method that is about `distance` away from Retrain in each metric, which is a fraction."""
    generator = np.random.default_rng([seed, sum(map(ord, task + method + dataset))])
    shift = distance * (0.8 + 0.4 * generator.random(len(METRICS)))
    retrain = dict(zip(METRICS, (0.98, 0.05, 0.94, 0.95, 0.04, 0.5), strict=True))
    sides = dict(zip(METRICS, (-1, 1, -1, -1, 1, 1), strict=True))
    values = {name: retrain[name] + sides[name] * by for name, by in zip(METRICS, shift, strict=True)}
    tpr = [min(1.0, fpr ** (1 - min(0.9, distance))) for fpr in FPRS]
    auc = min(0.5 + distance, 0.99)
    attack = {
        "auc": [auc, auc - 0.01, auc + 0.01], "tpr@1%": [tpr[0], 0.0, 1.0], "tpr@0.1%": None, "accuracy": None,
        "balanced_accuracy": [values["asr"], 0.4, 0.9], "constant": 0.5, "forgotten": 100, "heldout": 100,
    }  # fmt: skip
    made: dict[str, Any] = {
        "schema": 2,
        "status": "ok",
        "cell": {
            "preset": "mine", "dataset": dataset, "dataset_title": dataset.upper(), "model": "cnn", "task": task,
            "task_title": TASKS[task][0], "columns": TASKS[task][1], "method": method, "method_title": title,
            "role": role, "access": "forget: labels", "seed": seed, "hyperparameters": {"lr": 1e-4, "epochs": 2},
            "sources": {"lr": "preset mine", "epochs": "default of the method"},
        },
        "key": {"shadows": {"count": 8}},
        "metrics": {
            "clean": values, "released": values, "attacks": {"shadow": attack},
            "items": dict.fromkeys(METRICS, 100),
            "cost": {"prepare": 0.0, "unlearn": 16.0 if role == "control" else 4.0},
        },
        "roc": {"shadow": {"fpr": FPRS, "tpr": [round(rate, 6) for rate in tpr]}},
        "observed": {
            "seconds": {"prepare": 0.0, "unlearn": 1.5}, "date": f"2026-01-0{1 + seed % 9}T00:00:00+00:00", "host": "h",
            "processor": "P", "torch": "2.13", "python": "3.11", "unlearnbench": "0.1.0",
            "command": f"unlearnbench run -m {method} --seeds {seed}",
        },
    }  # fmt: skip
    return {**made, **more}


def path_of(results: Path, made: Mapping[str, Any]) -> Path:
    """Where a record belongs."""
    cell = made["cell"]
    names = (folder_name(cell[name]) for name in ("dataset", "model", "task", "method"))
    return results.joinpath("mine", "records", *names, f"{cell['seed']}.json")


def write_all(
    folder: Path,
    methods: Mapping[str, tuple[str, float]],
    seeds: int = 3,
    datasets: Sequence[str] = ("digits-8x8",),
    tasks: Sequence[str] = tuple(TASKS),
) -> Path:
    """Writes records of methods, by label with title and distance, and of the controls; and their preset `mine.toml`.

    Returns:
        The folder of the results.
    """
    everybody = [(name, title, "method", distance) for name, (title, distance) in methods.items()]
    everybody += [(name, *about, {"original": 0.3}.get(name, 0.01)) for name, about in CONTROLS.items()]
    everybody = [(n, t, r, 0.0 if n == "retrain" else d) for n, t, r, d in everybody]
    for dataset, task, (name, title, role, distance), seed in product(datasets, tasks, everybody, range(seeds)):
        made = record(task, name, title, role, seed, distance, dataset)
        write_record(path_of(folder / "results", made), made)
    sections = "\n".join(f'"{dataset}".model = "cnn"' for dataset in datasets)
    text = PRESET.format(seeds=f"0-{seeds - 1}", tasks=list(tasks), datasets=sections)
    (folder / "mine.toml").write_text(text)
    return folder / "results"


class Page(HTMLParser):
    """The parts of a page that tests look at.

    Attributes:
        tables: The texts of the cells of each table, row by row, by the id of the table.
        tags: The names of all elements.
        attributes: Name, attribute and value of all attributes.
        text: All text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.rows: list[list[str]] | None = None
        self.in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.in_cell = self.in_cell and tag not in ("tr", "tbody")  # end tags of cells and rows may be left out
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attrs).get("id") or f"table {len(self.tables)}", [])
        elif tag == "tr" and self.rows is not None:
            self.rows.append([])
        elif tag in ("td", "th") and self.rows is not None:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "thead", "table"):
            self.in_cell = False
        if tag == "table":
            self.rows = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell and self.rows is not None:
            self.rows[-1][-1] += data

    def values(self, tag: str, attribute: str) -> list[str]:
        """The values of an attribute of elements."""
        return [value for name, key, value in self.attributes if (name, key) == (tag, attribute)]


def markdown_rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables in markdown, as texts without marks and without the column of the data set."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|:"):
            cells = [cell.strip() for cell in line.strip("|").replace("\\|", "/").split("|")]
            plain = [cell.replace("**", "").replace("<u>", "").replace("</u>", "").strip("*") for cell in cells]
            yield plain
