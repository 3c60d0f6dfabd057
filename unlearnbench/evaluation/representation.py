"""How a network represents samples: numbers out of its embeddings, and a map of them in the plane."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench.artefacts.features_rule import NEIGHBOURS, RIDGE
from unlearnbench.statistics import Floats

COMPONENTS = 30
PERPLEXITY = 30.0
LEVELS = 255
"""A coordinate of a map is a whole number from 0 to this one."""
Tensors = Mapping[str, Any]
"""The content of an artefact of kind features: torch tensors by name."""


def numbers(own: Tensors, retrain: Tensors, original: Tensors) -> dict[str, Any]:
    """The numbers of a record.

    Args:
        own: The features of a cell; likewise those of Retrain and of the original, on the same samples.
        retrain: May be empty.
        original: May be empty.

    Returns:
        The numbers of `samples` and of `forgotten` ones among them; `purity` and `probe`: see there; `cka_retrain` and
        `cka_original`: see `cka`, None where there is nothing to compare with.
    """
    features, forgotten = embeddings(own), int(own["forgotten"])
    return {
        "samples": len(features),
        "forgotten": forgotten,
        "purity": purity(features, forgotten),
        "probe": probe(features, own["label"].numpy(), forgotten),
        "cka_retrain": cka(features, embeddings(retrain)) if retrain else None,
        "cka_original": cka(features, embeddings(original)) if original else None,
    }


def drawing(own: Tensors) -> dict[str, Any]:
    """The map of a record.

    Returns:
        "points": the coordinates of each sample, two bytes each, in base64; "classes": the number of samples of each
        class, first those of the forgotten samples, then those of the others. Samples are in this order.
    """
    features, forgotten, labels = embeddings(own), int(own["forgotten"]), own["label"].numpy()
    points = plane(features)
    scaled = np.rint(LEVELS * (points - points.min()) / max(float(np.ptp(points)), 1e-9)).astype(np.uint8)
    classes = int(labels.max()) + 1
    counts = [np.bincount(part, minlength=classes).tolist() for part in (labels[:forgotten], labels[forgotten:])]
    return {"points": base64.b64encode(scaled.tobytes()).decode(), "classes": counts}


def embeddings(tensors: Tensors) -> Floats:
    """The embeddings as float64 [n, d]."""
    values: Floats = tensors["features"].double().numpy()
    return values


def purity(features: Floats, forgotten: int) -> float:
    """The share of forgotten samples among the nearest neighbours of forgotten samples, by Euclidean distance.

    It is near 1 where the network still has a place of its own for them, and near their share of all samples where it
    mixes them with others.

    Args:
        features: float64 [n, d], forgotten samples first.
        forgotten: Their number, at least 1.
    """
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(NEIGHBOURS, len(features) - 1)
    search = NearestNeighbors(n_neighbors=neighbours + 1, algorithm="brute").fit(features)
    found: NDArray[np.int64] = search.kneighbors(features[:forgotten], return_distance=False)
    others = found != np.arange(forgotten)[:, None]
    others[others.all(axis=1), -1] = False  # equal samples may hide a sample from itself
    return float((found[others] < forgotten).mean())


def probe(features: Floats, labels: NDArray[np.int64], forgotten: int) -> float:
    """The share of forgotten samples to which a linear probe gives the label that they were trained on.

    The probe is a linear classifier of embeddings (Alain & Bengio, 2017), here ridge regression of one-hot labels on
    standardised embeddings. It learns from every other forgotten sample and all others, and is tested on the rest of
    the forgotten ones; then the halves change places. A network that has forgotten mixes them with other classes.

    Args:
        features: float64 [n, d], forgotten samples first.
        labels: int64 [n], the labels that they were trained on.
        forgotten: Their number, at least 1.
    """
    spread = features.std(axis=0)
    inputs = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    inputs = np.column_stack([inputs, np.ones(len(inputs))])
    one_hot = np.eye(int(labels.max()) + 1)[labels]
    hits = 0
    for tested in (np.arange(first, forgotten, 2) for first in (0, 1)):
        learned = np.delete(np.arange(len(labels)), tested)
        known, target = inputs[learned], one_hot[learned]
        weights = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ target)
        hits += int(((inputs[tested] @ weights).argmax(axis=1) == labels[tested]).sum())
    return hits / forgotten


def cka(one: Floats, other: Floats) -> float:
    """Linear centred kernel alignment of two embeddings of the same samples (Kornblith et al., ICML 2019), in [0, 1].

    Args:
        one: float64 [n, d].
        other: float64 [n, e].
    """
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    own = float(np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    return float(np.linalg.norm(one.T @ other) ** 2 / own) if own else 0.0


def plane(features: Floats) -> Floats:
    """A map of embeddings: the first principal components, then t-SNE that starts from two of them, with a fixed seed.

    Args:
        features: float64 [n, d], n >= 5.

    Returns:
        float64 [n, 2].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, svd_solver="full").fit_transform(features)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    points: Floats = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(reduced)
    return points.astype(np.float64)
