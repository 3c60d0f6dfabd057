"""Distances between the outputs of methods and of Retrain, sample by sample and class by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.reporting.outputs import PARTS, Ints, Key, Outputs, Part, Parts
from unlearnbench.statistics import Floats

UNTRAINED = "untrained"
"""The control whose outputs ZRF needs."""
CONFUSED = ("forget", "test")
"""The parts of the data on which the confusion by wrong labels is measured."""

BINS, CLIP, LEAST = 20, 100.0, 1e-5
"""Of KLOM: the number of bins, the largest absolute margin, and the least share of a bin that Retrain never hits."""
FEWEST = 2
"""The number of pairs of networks below which a sample has no KLOM: one pair has one margin on each side."""
Margins = tuple[Ints, Floats]
"""Positions of samples, int64 [n], and their margins, float64 [n]."""


@dataclass(frozen=True)
class Comparison:
    """Distances of cells to Retrain.

    Attributes:
        values: The distances of each cell by name; of Retrain its ZRF only.
        missing: The cells without outputs.
        pairs: The mean number of pairs of networks behind the KLOM of a sample, by data set and part; that of the
            method with most.
    """

    values: Mapping[Key, Mapping[str, float]]
    missing: Sequence[Key]
    pairs: Mapping[tuple[str, str], float]


def comparison(keys: Iterable[Key], outputs: Outputs) -> Comparison:
    """Compares the outputs of cells with those of Retrain.

    Args:
        keys: The cells.
        outputs: Their outputs; a seed without Retrain's is left out for every method.
    """
    values: dict[Key, dict[str, float]] = {}
    missing: list[Key] = []
    of_margins: dict[tuple[str, str, str], dict[int, Margins]] = {}
    for (dataset, seed), methods in in_scenarios(keys).items():
        reference, untrained = (outputs.parts(dataset, name, seed) for name in (REFERENCE, UNTRAINED))
        for method in methods:
            own = reference if method == REFERENCE else outputs.parts(dataset, method, seed)
            if not own:
                missing.append((dataset, method, seed))
            if not own or not reference:
                continue
            found = {} if method == REFERENCE else compared(own, reference)
            if untrained:
                found["zrf"] = zero_retrain_forgetting(own["forget"], untrained["forget"])
            values[dataset, method, seed] = found
            for part in PARTS:
                of_margins.setdefault((dataset, method, part), {})[seed] = margins(own[part])
    pairs: dict[tuple[str, str], float] = {}
    for (dataset, method, part), own_margins in of_margins.items():
        if method != REFERENCE:
            retrained = of_margins[dataset, REFERENCE, part]
            by_seed, count = klom(own_margins, {seed: retrained[seed] for seed in own_margins})
            pairs[dataset, part] = max(count, pairs.get((dataset, part), 0.0))
            for seed, value in by_seed.items():
                values[dataset, method, seed][f"klom_{part}"] = value
    return Comparison(values, missing, pairs)


def in_scenarios(keys: Iterable[Key]) -> dict[tuple[str, int], list[str]]:
    """The methods of each data set and seed."""
    scenarios: dict[tuple[str, int], list[str]] = {}
    for dataset, method, seed in keys:
        scenarios.setdefault((dataset, seed), []).append(method)
    return scenarios


def compared(own: Parts, reference: Parts) -> dict[str, float]:
    """The distances of a network to Retrain with the same seed, by name.

    Args:
        own: The outputs of the network.
        reference: Those of Retrain.

    Returns:
        Mean divergence and disagreement in percent, activation distance times 100, and the difference of confusions in
        percentage points, averaged over classes; without those of parts and classes that do not exist.
    """
    values = {}
    for part in (part for part in PARTS if len(own[part].index)):
        p, q = own[part].probabilities, reference[part].probabilities
        values[f"jsd_{part}"] = 100 * float(jensen_shannon(p, q).mean())
        values[f"disagreement_{part}"] = 100 * float((p.argmax(1) != q.argmax(1)).mean())
        values[f"activation_{part}"] = 100 * float(activation_distance(p, q).mean())
    ours, theirs = confusion_by_class(own), confusion_by_class(reference)
    for part in CONFUSED:
        if classes := ours[part].keys() & theirs[part].keys():
            differences = [abs(ours[part][one] - theirs[part][one]) for one in classes]
            values[f"confusion_{part}"] = 100 * float(np.mean(differences))
    return values


def confusion_by_class(parts: Parts) -> dict[str, dict[int, float]]:
    """How often a network takes a class for one of those whose labels its samples were given.

    It is the interclass confusion of Goel et al. (2022), class by class: on the forget set, wrong labels that were
    memorised, on the test set, those that were generalised.

    Returns:
        By part and class: the share, in [0, 1], of the samples of the class that are predicted as one of its wrong
        labels in the forget set. Classes without wrong labels are left out, so that most tasks have none.
    """
    forget = parts["forget"]
    is_wrong = forget.labels != forget.classes
    shares: dict[str, dict[int, float]] = {part: {} for part in CONFUSED}
    for one in np.unique(forget.classes[is_wrong]):
        given = np.unique(forget.labels[is_wrong & (forget.classes == one)])
        for part in CONFUSED:
            predicted = parts[part].predicted[parts[part].classes == one]
            if len(predicted):
                shares[part][int(one)] = float(np.isin(predicted, given).mean())
    return shares


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """The Jensen-Shannon divergence of the rows of p and q (Lin, IEEE Transactions on Information Theory 1991).

    Args:
        p: Probabilities, float64 [n, classes].
        q: Likewise.

    Returns:
        In bits, in [0, 1], float64 [n].
    """
    from scipy.special import rel_entr

    middle = (p + q) / 2
    total: Floats = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * math.log(2))
    return total


def activation_distance(p: Floats, q: Floats) -> Floats:
    """The Euclidean distance of the rows of p and q, in [0, 1.42] (Chundawat et al., AAAI 2023); shapes as above."""
    values: Floats = np.linalg.norm(p - q, axis=1)
    return values


def zero_retrain_forgetting(own: Part, untrained: Part) -> float:
    """The score ZRF (Chundawat et al., AAAI 2023): 1 - the mean divergence from an untrained network.

    Args:
        own: The outputs of a network on the forget set.
        untrained: Those of an untrained network.

    Returns:
        In percent: 100 for a network whose outputs are those of the untrained one.
    """
    return 100 * (1 - float(jensen_shannon(own.probabilities, untrained.probabilities).mean()))


def margins(part: Part) -> Margins:
    """The margins of samples: the logit of the label minus the log-sum-exp of the others."""
    from scipy.special import logsumexp

    rows = np.arange(len(part.labels))
    others = part.logits.copy()
    others[rows, part.labels] = -np.inf
    values: Floats = part.logits[rows, part.labels] - logsumexp(others, axis=1)
    return part.index, values


def klom(own: Mapping[int, Margins], reference: Mapping[int, Margins]) -> tuple[dict[int, float], float]:
    """KLOM (Georgiev et al., Attribute-to-Delete, 2024): how far the margins of methods are from those of Retrain.

    For each sample, its margins over the seeds are one distribution for the method and one for Retrain. A sample
    counts with those seeds in which it belongs to the part, with at least two; see `divergence_of_margins`.

    Args:
        own: The margins of a method on a part of the data, by seed; the same seeds as below.
        reference: Those of Retrain.

    Returns:
        The mean over the samples of the part, in nats, by seed; without seeds in which no sample has two pairs. And the
        number of pairs of networks, averaged over the samples that count, 0 if there are none.
    """
    seeds = sorted(own)
    if not seeds:
        return {}, 0.0
    count = 1 + max((int(index.max(initial=0)) for index, _ in own.values()))
    both = np.full((2, len(seeds), count), np.nan)
    for side, values in zip(both, (own, reference), strict=True):
        for row, seed in zip(side, seeds, strict=True):
            index, of_seed = values[seed]
            row[index] = of_seed
    pairs = (~np.isnan(both[0])).sum(axis=0)
    enough = pairs >= FEWEST
    divergences = np.full(count, np.nan)
    divergences[enough] = divergence_of_margins(both[0][:, enough], both[1][:, enough])
    counting = {seed: own[seed][0][enough[own[seed][0]]] for seed in seeds}
    means = {seed: float(divergences[index].mean()) for seed, index in counting.items() if len(index)}
    return means, float(pairs[enough].mean()) if enough.any() else 0.0


def divergence_of_margins(own: Floats, reference: Floats) -> Floats:
    """KL(own || reference) of histograms over networks, for each sample; as in the released code of KLOM.

    A histogram has 20 bins from the least to the largest margin of both sides. The largest one counts, too, which the
    released code leaves out; otherwise two pairs would often have one margin left.

    Args:
        own: float64 [networks, n], nan where a network does not count for a sample.
        reference: Likewise; as many count for each sample.

    Returns:
        In nats, float64 [n].
    """
    from scipy.special import rel_entr

    both = np.clip(np.stack([own, reference]), -CLIP, CLIP)
    low, high = np.nanmin(both, axis=(0, 1)), np.nanmax(both, axis=(0, 1))
    width = np.where(high > low, high - low, 1.0)
    place = np.minimum(np.floor(BINS * (both - low) / width), BINS - 1)
    counts = np.stack([(place == number).sum(axis=1) for number in range(BINS)], axis=1)  # nan is in no bin
    p, q = counts / counts.sum(axis=1, keepdims=True)
    q = np.where(p > 0, np.maximum(q, LEAST), q)
    values: Floats = rel_entr(p, q / q.sum(axis=0)).sum(axis=0)
    return values
