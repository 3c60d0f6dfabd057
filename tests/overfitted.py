"""Networks that memorised their training samples: membership inference must detect them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unlearnbench import Audit, Network, Observed
from unlearnbench.plugins.attack import Known
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

SHADOWS = 8


def overfitted(digits: Dataset) -> Audit:
    """An audit of a network that memorised 300 digits with 40 % random labels; shadow models memorised other halves."""
    torch.set_num_threads(1)
    images, labels = digits.pool.train_images[:600], noisy(digits.pool.train_labels[:600])
    member = torch.arange(600) < 300
    target = memorised(images, labels, member, 0)
    rows = {"forgotten": member, "heldout": ~member, "test": ~member}
    inside, outside, references = [], [], []
    for index in range(SHADOWS):
        order = torch.randperm(600, generator=seeds.generator("half", index // 2))
        half = torch.zeros(600, dtype=torch.bool)
        half[order[:300] if index % 2 else order[300:]] = True
        logits = memorised(images, labels, half, 1 + index)
        inside.append(observed(logits, labels, half))
        outside.append(observed(logits, labels, ~half))
        references.append({p: Known(observed(logits, labels, where), half[where].numpy()) for p, where in rows.items()})
    forgotten, heldout = observed(target, labels, member), observed(target, labels, ~member)
    return Audit(
        forgotten=forgotten,
        heldout=heldout,
        retained=forgotten,
        test=heldout,
        shadow_members=tuple(inside),
        shadow_nonmembers=tuple(outside),
        seed=0,
        heldout_rows=np.arange(300),
        load_references=lambda: tuple(references),
        load_unlearned_shadows=lambda: tuple(references),
    )


def noisy(labels: Tensor) -> Tensor:
    """The labels, two fifths of them replaced by random ones."""
    generator = seeds.generator("noise", 0)
    changed = torch.rand(len(labels), generator=generator) < 0.4
    drawn = torch.randint(0, 10, (len(labels),), generator=generator)
    return torch.where(changed, drawn, labels)


def memorised(images: Tensor, labels: Tensor, member: Tensor, seed: int) -> Tensor:
    """The logits on all images of a network that was trained until it memorised the members."""
    with seeds.pinned("overfitted", seed):
        features = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 512), nn.ReLU())
        network = Network(features, nn.Linear(512, 10), last_layer="head")
    pool = TrainingSet(images, labels)
    samples = pool.samples(member.nonzero()[:, 0], "labels", seeds.generator("order", seed), "members")
    assert samples is not None
    loop.fit(network, samples, Recipe(lr=5e-3, weight_decay=0.0, batch=100), epochs=60)
    logits = loop.predict(network, pool.pixels, Pipeline().plain)
    accuracy = (logits.argmax(1) == labels)[member].float().mean()
    assert accuracy > 0.97
    return logits


def observed(logits: Tensor, labels: Tensor, rows: Tensor) -> Observed:
    """The outputs on some rows, as attacks get them."""
    return Observed(logits[rows].double().numpy(), labels[rows].numpy())
