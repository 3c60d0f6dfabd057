"""What must hold between the numbers of a record, whatever the outputs were: counts, rates, and their intervals.

A rate over n samples is a multiple of 1/n, its interval follows from count and n, and some numbers follow from others.
So most changed digits are found without outputs. `verify`, which has the outputs, finds the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearnbench import statistics
from unlearnbench.artefacts.features_rule import FORGOTTEN
from unlearnbench.artefacts.features_rule import SAMPLES as EMBEDDED
from unlearnbench.artefacts.relearning_rule import BACK, OTHERS, SAMPLES, STEPS
from unlearnbench.evaluation.membership import FPRS
from unlearnbench.planning.protocols import CLEAN, MIA, PROTOCOLS, RELEASED

Floats = NDArray[np.float64]
CLOSE = 1e-9
"""The largest difference of two ends of intervals that count as equal: releases of scipy differ in the last digits."""
NEAR_WHOLE = 1e-3
"""How far from a whole number a count may be that is computed from an AUC."""
PARTS = {
    "test": ("test_r", "test_f"),
    "train_f": ("train_given", "train_hidden"),
    "test_f": ("test_given", "test_hidden"),
}
"""Samples that are reported as a whole and in parts."""
LEVEL = 0.95
LEVEL_OF_TPR = 1 - (1 - LEVEL) / 2
"""The level of the two intervals that the interval of a true-positive rate is made of; see `statistics.tpr_at_fpr`."""


def not_finite(value: Any, name: str = "") -> Iterator[str]:
    """Yields a message for each number in a tree of JSON values that is infinite or not a number."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from not_finite(entry, f"{name} {key}".strip())
    elif isinstance(value, list):
        for entry in value:
            yield from not_finite(entry, name)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {value}"


def faults_of_metrics(metrics: Mapping[str, Any], counts: Mapping[str, int], augmented: bool) -> Iterator[str]:
    """Yields what is wrong with the part `metrics` of a record.

    Args:
        metrics: That part.
        counts: The number of samples behind each column, as `record.counts_of` gives them for the cell.
        augmented: Whether protocol released evaluates augmented training images.
    """
    if dict(metrics["items"]) != dict(counts):
        yield f"items are {metrics['items']}, but the split has {dict(counts)}"
        return
    for protocol in PROTOCOLS.values():
        columns, attack = metrics[protocol.name], metrics["attacks"][protocol.attack]
        own = {name: n for name, n in counts.items() if name != "mia" or protocol.name == CLEAN.name}
        yield from (f"{protocol.name} {text}" for text in faults_of_accuracies(columns, own))
        yield from (f"{protocol.attack} {text}" for text in faults_of_attack(attack, counts["train_f"]))
        success = attack[protocol.metric][0]
        if columns["asr"] != success:
            yield f"{protocol.name} asr is {columns['asr']}, but {protocol.attack} {protocol.metric} is {success}"
    if "mia" in counts:
        yield from faults_of_mia(metrics[CLEAN.name]["mia"], metrics["attacks"][MIA], counts["mia"])
    for name in counts.keys() - {"asr", "mia"}:
        is_same = name.startswith("test") or not augmented
        if is_same and metrics[CLEAN.name][name] != metrics[RELEASED.name][name]:
            yield f"{name} of protocols clean and released differ, although both evaluate the same outputs"


def faults_of_accuracies(columns: Mapping[str, float], counts: Mapping[str, int]) -> Iterator[str]:
    """Yields what is wrong with the accuracies of a protocol, and with its other rates over counted samples."""
    if columns.keys() != counts.keys():
        yield f"has {sorted(columns)} instead of {sorted(counts)}"
        return
    rates = {name: columns[name] for name in counts if name != "asr"}
    wrong = [f"{name} {text}" for name, rate in rates.items() for text in faults_of_rate(rate, counts[name])]
    yield from wrong
    if wrong:
        return
    for whole, names in PARTS.items():
        parts = [name for name in names if name in counts]
        if counts.get(whole) != sum(counts[name] for name in parts):
            continue
        total, *shares = (round(columns[name] * counts[name]) for name in (whole, *parts))
        if total != sum(shares):
            yield f"{whole} is {total} samples, but {' and '.join(parts)} are {' + '.join(map(str, shares))}"


def faults_of_attack(numbers: Mapping[str, Any], forgotten: int) -> Iterator[str]:
    """Yields what is wrong with the numbers of an attack.

    Args:
        numbers: As `membership.success` returns them, or {"n/a": reason}.
        forgotten: The number of forgotten samples.
    """
    if "n/a" in numbers:
        if not (isinstance(numbers["n/a"], str) and len(numbers) == 1):
            yield "n/a must be the only entry, and a reason"
        return
    f, h = numbers["forgotten"], numbers["heldout"]
    if f != forgotten:
        yield f"forgotten is {f}, but the forget set has {forgotten} samples"
        return
    if not (type(h) is int and h > 0 and numbers["constant"] == h / (f + h)):
        yield f"constant is {numbers['constant']}, but {h} of {f} + {h} samples are held out"
        return
    for name in ("accuracy", "balanced_accuracy", "auc", *FPRS):
        if numbers[name] is not None and not is_interval(numbers[name]):
            yield f"{name} is no value within its interval in [0, 1]: {numbers[name]}"
            return
    yield from faults_of_threshold(numbers["accuracy"], numbers["balanced_accuracy"], f, h)
    yield from faults_of_auc(numbers["auc"], f, h)
    for name, fpr in FPRS.items():
        yield from (f"{name} {text}" for text in faults_of_tpr(numbers[name], f, h, fpr))


def faults_of_mia(share: float, attack: Mapping[str, Any], forgotten: int) -> Iterator[str]:
    """Yields what is wrong with the column MIA, and with the attack behind it.

    Args:
        share: The column.
        attack: The numbers of the attack.
        forgotten: The number of forgotten samples.
    """
    wrong = list(faults_of_attack(attack, forgotten))
    yield from (f"{MIA} {text}" for text in wrong)
    if wrong:
        return
    missed, heldout = attack["non-members"], attack["heldout"]
    members = forgotten - missed
    others = round(attack["accuracy"][0] * (forgotten + heldout)) - members
    if (members / forgotten + others / heldout) / 2 != attack["balanced_accuracy"][0]:
        yield f"{MIA} non-members are {missed}, which its accuracy and its balanced_accuracy contradict"
    if share != missed / forgotten:
        yield f"mia is {share}, but {MIA} takes {missed} of {forgotten} samples for non-members"


def faults_of_identification(numbers: Mapping[str, Any], hidden: int) -> Iterator[str]:
    """Yields what is wrong with the precision and recall of the samples that a method takes for hidden ones.

    Args:
        numbers: As `metrics.identification` returns them.
        hidden: The number of hidden samples.
    """
    found, precision, recall = (numbers[name] for name in ("found", "precision", "recall"))
    if numbers["hidden"] != hidden:
        yield f"hidden is {numbers['hidden']}, but the task hides {hidden} samples"
    elif not (type(found) is int and found >= 0 and (precision is None) == (not found)):
        yield f"found is {found}, with precision {precision}"
    elif (recall is None) != (not hidden):
        yield f"recall is {recall}, with {hidden} hidden samples"
    elif not (found and hidden):
        if precision:
            yield f"precision is {precision}, although no sample is hidden"
        if recall:
            yield f"recall is {recall}, although no sample was found"
    else:
        right = round(recall * hidden)
        if not 0 <= right <= min(found, hidden) or (precision, recall) != (right / found, right / hidden):
            yield f"precision {precision} of {found} and recall {recall} of {hidden} are not of one number of samples"


def is_interval(entry: Any) -> bool:
    """Whether an entry is [value, low, high] with 0 <= low <= value <= high <= 1, up to rounding."""
    if not (isinstance(entry, list) and len(entry) == 3):
        return False
    value, low, high = entry
    return bool(0 <= low <= value + CLOSE and value - CLOSE <= high <= 1)


def faults_of_rate(value: float, n: int) -> Iterator[str]:
    """Yields a message unless a value is a number of samples divided by n."""
    if not (0 <= value <= 1 and round(value * n) / n == value):
        yield f"is {value}, which is no multiple of 1/{n}"


def faults_of_threshold(accuracy: Any, balanced: Any, f: int, h: int) -> Iterator[str]:
    """Yields what is wrong with accuracy and balanced accuracy: both are None, or follow from the same two counts."""
    if accuracy is None or balanced is None:
        if accuracy is not balanced:
            yield "has only one of accuracy and balanced_accuracy"
        return
    wrong = list(faults_of_rate(accuracy[0], f + h))
    yield from (f"accuracy {text}" for text in wrong)
    if wrong:
        return
    correct = round(accuracy[0] * (f + h))
    if not near(accuracy, statistics.proportion(correct, f + h)):
        yield f"accuracy has the interval {accuracy[1:]}, which is not that of {correct} of {f + h}"
    members = np.arange(max(0, correct - h), min(f, correct) + 1)
    possible = members[(members / f + (correct - members) / h) / 2 == balanced[0]]
    if not len(possible):
        yield f"balanced_accuracy is {balanced[0]}, which no {correct} of {f} + {h} samples give"
    elif not any(near(balanced, interval) for interval in balanced_intervals(possible, correct, f, h)):
        yield f"balanced_accuracy has the interval {balanced[1:]}, which no {correct} of {f} + {h} samples give"


def balanced_intervals(members: NDArray[np.int64], correct: int, f: int, h: int) -> Iterator[tuple[float, ...]]:
    """The intervals of `statistics.balanced_accuracy`, for each possible number of correctly predicted members."""
    (low_f, high_f), (low_h, high_h) = limits(f, LEVEL), limits(h, LEVEL)
    others = correct - members
    value = (members / f + others / h) / 2
    below = np.hypot(members / f - low_f[members], others / h - low_h[others]) / 2
    above = np.hypot(high_f[members] - members / f, high_h[others] - others / h) / 2
    yield from zip(value, np.maximum(0, value - below), np.minimum(1, value + above), strict=True)


def faults_of_auc(auc: Sequence[float], f: int, h: int) -> Iterator[str]:
    """Yields what is wrong with an AUC: it counts pairs, ties by half, and its interval is symmetric inside [0, 1]."""
    value, low, high = auc
    halves = value * 2 * f * h
    if abs(halves - round(halves)) > NEAR_WHOLE:
        yield f"auc is {value}, which is no multiple of 1/(2 x {f} x {h})"
    if value in (0.0, 1.0):
        if not near(auc, statistics.proportion(round(value * min(f, h)), min(f, h))):
            yield f"auc has the interval {[low, high]}, which is not that of {value} with {min(f, h)} samples"
    elif low > 0 and high < 1 and abs((value - low) - (high - value)) > CLOSE:
        yield f"auc is {value}, which is not in the middle of its interval {[low, high]}"


def faults_of_tpr(rate: Sequence[float] | None, f: int, h: int, fpr: float) -> Iterator[str]:
    """Yields what is wrong with a true-positive rate at a false-positive rate: value and limits are those of counts."""
    if rate is None or h * fpr < 1 - CLOSE:
        if (rate is None) != (h * fpr < 1 - CLOSE):
            yield f"is {rate}, with {h} held-out samples"
        return
    yield from faults_of_rate(rate[0], f)
    lows, highs = limits(f, LEVEL_OF_TPR)
    if rate[1] != 0 and np.abs(lows - rate[1]).min() > CLOSE:
        yield f"has the lower limit {rate[1]}, which no number of {f} samples gives"
    if np.abs(highs - rate[2]).min() > CLOSE:
        yield f"has the upper limit {rate[2]}, which no number of {f} samples gives"


@lru_cache(maxsize=64)
def limits(n: int, level: float) -> tuple[Floats, Floats]:
    """The lower and upper limits of `statistics.proportion` for 0, 1, ..., n of n, each float64 [n + 1]."""
    from scipy.special import betaincinv

    tail, counts = (1 - level) / 2, np.arange(n + 1)
    low, high = np.zeros(n + 1), np.ones(n + 1)
    low[1:] = betaincinv(counts[1:], n - counts[1:] + 1, tail)
    high[:-1] = betaincinv(counts[:-1] + 1, n - counts[:-1], 1 - tail)
    return low, high


def near(entry: Sequence[float], interval: Sequence[float]) -> bool:
    """Whether two values with their intervals are equal, the ends up to rounding."""
    return all(abs(one - other) <= CLOSE for one, other in zip(entry, interval, strict=True))


def faults_of_relearning(numbers: Mapping[str, Any], forgotten: int) -> Iterator[str]:
    """Yields what is wrong with the numbers of relearning, whose accuracies were computed in float32.

    Args:
        numbers: As `relearning.summary` returns them.
        forgotten: The number of forgotten samples.
    """
    drawn = min(forgotten, SAMPLES + OTHERS)
    again = min(SAMPLES, drawn // 2)
    sizes = {"items": again, "others": drawn - again, "limit": STEPS}
    if "retain" not in numbers:
        yield "lacks the accuracy after training on the retain set"
        return
    if any(numbers[name] != size for name, size in sizes.items()):
        yield f"has { ({name: numbers[name] for name in sizes}) }, but {forgotten} forgotten samples give {sizes}"
        return
    steps, known = numbers["steps"], numbers["before"] >= BACK * numbers["original"] - 1e-6
    for name in ("original", "before", "after", "retain"):
        count = numbers[name] * sizes["others"]
        if not (0 <= numbers[name] <= 1 and abs(count - round(count)) < NEAR_WHOLE):
            yield f"{name} is {numbers[name]}, which is no multiple of 1/{sizes['others']}"
    if not (steps is None or 0 <= steps <= STEPS) or known != (steps == 0):
        yield f"steps are {steps}, with {numbers['before']} before and {numbers['original']} originally"


def faults_of_features(numbers: Mapping[str, Any], forgotten: int) -> Iterator[str]:
    """Yields what is wrong with the numbers of features.

    Args:
        numbers: As `representation.numbers` returns them.
        forgotten: The number of forgotten samples.
    """
    if "n/a" in numbers:
        return
    embedded = min(forgotten, FORGOTTEN)
    if numbers["forgotten"] != embedded or not embedded < numbers["samples"] <= EMBEDDED:
        yield f"has {numbers['forgotten']} forgotten ones of {numbers['samples']} samples, not {embedded}"
        return
    hits = numbers["probe"] * embedded
    if not (0 <= numbers["probe"] <= 1 and abs(hits - round(hits)) < NEAR_WHOLE):
        yield f"probe is {numbers['probe']}, which is no multiple of 1/{embedded}"
    for name in ("purity", "cka_retrain", "cka_original"):
        if numbers[name] is not None and not 0 <= numbers[name] <= 1 + CLOSE:
            yield f"{name} is {numbers[name]}, which is not between 0 and 1"
