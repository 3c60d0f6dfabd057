"""Compares settings for the demo by originals and Retrains alone: what there is to forget, and how noisy that is.

    python -m benchmarks.setting [--seeds 5] [--jobs 2]

The rule: the original fits its training set (Train_f at least 99.5 % without wrong labels) and has memorised its wrong
labels (at least 85 %), and two Retrains are at most a third as far apart in Train_f as original and Retrain. Of the
settings that are left, take the one with the least training. No method is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import joblib
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from benchmarks import core_count, machine
from unlearnbench import statistics
from unlearnbench.artefacts.splits import split_by
from unlearnbench.evaluation import metrics
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset, Source
from unlearnbench.plugins.model import Model
from unlearnbench.plugins.task import Split, Task
from unlearnbench.runtime import seeds as streams
from unlearnbench.runtime.threads import one_thread
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

SHARES = (0.8, 0.5, 1 / 3)
"""Of the images that networks are trained on."""
RECIPES = {
    "Adam 1e-3, 30 epochs": Recipe(lr=1e-3, weight_decay=0.0, epochs=30),
    "Adam 2e-3, 20 epochs": Recipe(lr=2e-3, weight_decay=0.0, epochs=20),
    "Adam 2e-3, 30 epochs": Recipe(lr=2e-3, weight_decay=0.0, epochs=30),
}


def digits(share: float) -> Dataset:
    """The digits, of which this share is for training."""
    from sklearn.model_selection import train_test_split

    pool = registry.get(Source, "digits-8x8").function(Path()).pool
    images, labels = pool.train_images, pool.train_labels
    train, test = train_test_split(range(len(labels)), train_size=share, stratify=labels, random_state=0)
    return Dataset(images[train], labels[train], images[test], labels[test], pool.num_classes)


def trained(
    data: Dataset, split: Split, index: torch.Tensor, recipe: Recipe, *stream: str | int
) -> Mapping[str, float]:
    """Trains the paper's CNN on these samples; its accuracies, and the AUC of a loss attack, in percent."""
    samples = TrainingSet(data.train_images, split.labels(data)).samples(
        index, "labels", streams.generator(*stream, "order"), "training set"
    )
    assert samples is not None
    with streams.pinned(*stream):
        network = registry.get(Model, "cnn").build(data.shape, data.num_classes)
    loop.fit(network, samples, recipe)
    train, test = (loop.predict(network, part, Pipeline().plain) for part in (data.train_images, data.test_images))
    sides = [
        (train[split.forget], split.labels(data)[split.forget]),
        (test[split.heldout], split.labels_of_heldout(data)),
    ]
    scores = [-cross_entropy(logits.double(), labels, reduction="none").numpy() for logits, labels in sides]
    values = metrics.accuracies(train, test, data, split)
    return {name: 100 * value for name, value in {**values, "auc": statistics.auc(scores[0], scores[1]).value}.items()}


def rows(share: float, name: str, seed: int) -> list[dict[str, object]]:
    """The numbers of a setting with one seed: of the original and of two Retrains, on two tasks."""
    data, recipe = digits(share), RECIPES[name]
    found: list[dict[str, object]] = []
    for task in ("data-removal", "noisy-label-removal"):
        plugin = registry.get(Task, task)
        split = split_by(plugin, task, plugin.defaults, "digits-8x8", data, seed, "setting")
        everything = torch.arange(len(data.train_labels))
        retain = everything[torch.isin(everything, split.forget, invert=True)]
        for network, index in (("original", everything), ("Retrain", retain), ("Retrain again", retain)):
            with one_thread():
                numbers = trained(data, split, index, recipe, task, network, seed)
            place = {"share": f"{share:.0%}", "recipe": name, "task": task, "network": network, "seed": seed}
            found.append({**place, **numbers})
    return found


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=core_count())
    arguments = parser.parse_args()
    settings = [(share, name, seed) for share in SHARES for name in RECIPES for seed in range(arguments.seeds)]
    parts = joblib.Parallel(arguments.jobs)(joblib.delayed(rows)(*setting) for setting in settings)
    frame = pd.DataFrame([row for part in parts for row in part])
    columns = ["share", "recipe", "task", "network"]
    summary = frame.groupby(columns, sort=False)[["train_r", "train_f", "test", "auc"]].agg(["mean", "std"])
    print(f"{machine()}\nthe paper's CNN on digits-8x8, batch 32, {arguments.seeds} seeds; in percent")
    print(summary.round(1).to_string())


if __name__ == "__main__":
    main()
