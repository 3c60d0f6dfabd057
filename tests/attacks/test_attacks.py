"""Every attack equals an independent computation, and detects the members of an over-fitted network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from unlearnbench import Audit, Observed, Scores, statistics
from unlearnbench.attacks.lira import log_odds
from unlearnbench.attacks.population import maximal_log_odds, minus_entropy, minus_loss, minus_modified_entropy
from unlearnbench.evaluation import membership
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack, Known, NotApplicableError

STRONG = ("shadow", "loss", "modified-entropy", "rmia")
ALL = ("shadow", "loss", "confidence", "entropy", "modified-entropy", "svc", "rmia", "lira", "lira-offline", "u-lira")


def softmax_by_hand(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def some(seed: int, n: int = 20, classes: int = 4, scale: float = 2.0) -> Observed:
    rng = np.random.default_rng(seed)
    return Observed(rng.normal(0, scale, (n, classes)), rng.integers(0, classes, n))


def test_statistics_are_those_of_their_definitions() -> None:
    observed = some(0)
    for index, (row, label) in enumerate(zip(observed.logits.tolist(), observed.labels.tolist(), strict=True)):
        p = softmax_by_hand(row)
        assert minus_loss(observed)[index] == pytest.approx(math.log(p[label]))
        assert minus_entropy(observed)[index] == pytest.approx(math.fsum(q * math.log(q) for q in p))
        assert maximal_log_odds(observed)[index] == pytest.approx(math.log(max(p) / (1 - max(p))))
        others = math.fsum(q * math.log(1 - q) for c, q in enumerate(p) if c != label)
        assert minus_modified_entropy(observed)[index] == pytest.approx((1 - p[label]) * math.log(p[label]) + others)
        assert log_odds(observed)[index] == pytest.approx(math.log(p[label] / (1 - p[label])))


def test_log_odds_are_exact_where_a_probability_rounds_to_one() -> None:
    sure = Observed(np.array([[60.0, 0.0, 0.0], [0.0, 800.0, 1.0]]), np.array([0, 0]))
    assert sure.posteriors()[0, 0] == 1.0
    assert sure.log_odds()[0, 0] == pytest.approx(60 - math.log(2))
    assert sure.log_odds()[1, 0] == pytest.approx(-800)
    for statistic in (minus_loss, maximal_log_odds, minus_entropy, minus_modified_entropy):
        assert np.isfinite(statistic(sure)).all()


def networks(observed: dict[str, Observed], members: dict[str, np.ndarray], count: int, shift: float) -> Audit:
    """References with random logits, which are higher for the label of a sample that they were trained on."""
    rng = np.random.default_rng(1)
    references = []
    for index in range(count):
        known = {}
        for part, of_part in observed.items():
            inside = members[part][index]
            logits = rng.normal(0, 1, of_part.logits.shape)
            logits[np.arange(len(logits)), of_part.labels] += shift * inside
            known[part] = Known(Observed(logits, of_part.labels), inside)
        references.append(known)
    return Audit(
        forgotten=observed["forgotten"],
        heldout=observed["heldout"],
        retained=some(9),
        test=observed["test"],
        shadow_members=(),
        shadow_nonmembers=(),
        seed=0,
        heldout_rows=np.arange(5),
        load_references=lambda: tuple(references),
    )


def in_half_of(networks: int, samples: int, seed: int) -> np.ndarray:
    """bool [networks, samples]: each sample is in a random half of the networks."""
    rng = np.random.default_rng(seed)
    half = np.arange(networks) < networks // 2
    return np.stack([rng.permutation(half) for _ in range(samples)]).T


MEMBERS = {"forgotten": in_half_of(6, 6, 5), "heldout": in_half_of(6, 5, 6), "test": in_half_of(6, 8, 7)}


@pytest.fixture
def small() -> Audit:
    observed = {"forgotten": some(2, 6), "heldout": some(3, 5), "test": some(4, 8)}
    return networks(observed, MEMBERS, 6, 1.0)


def probability(observed: Observed, index: int) -> float:
    return softmax_by_hand(observed.logits[index].tolist())[observed.labels[index]]


def test_lira_is_the_ratio_of_two_normal_likelihoods(small: Audit) -> None:
    result = registry.get(Attack, "lira").score(small)
    values: dict[tuple[str, int, bool], list[float]] = {}
    for part in ("forgotten", "heldout"):
        for reference in small.references:
            known = reference[part]
            for index, inside in enumerate(known.inside.tolist()):
                p = probability(known.observed, index)
                values.setdefault((part, index, inside), []).append(math.log(p / (1 - p)))
    deviation = {}
    for side in (True, False):
        groups = [group for (_, _, inside), group in values.items() if inside == side]
        squares = math.fsum((v - math.fsum(g) / len(g)) ** 2 for g in groups for v in g)
        deviation[side] = math.sqrt(squares / sum(len(g) - 1 for g in groups))
    for part, scores in (("forgotten", result.forgotten), ("heldout", result.heldout)):
        for index, score in enumerate(scores):
            p = probability(getattr(small, part), index)
            phi = math.log(p / (1 - p))
            within, without = (np.mean(values[part, index, side]) for side in (True, False))
            expected = norm.logpdf(phi, within, deviation[True]) - norm.logpdf(phi, without, deviation[False])
            assert score == pytest.approx(expected)


def test_offline_lira_counts_deviations_above_networks_without_the_sample(small: Audit) -> None:
    result = registry.get(Attack, "lira-offline").score(small)
    distances = []
    for index in range(6):
        p = probability(small.forgotten, index)
        outside = []
        for reference in small.references:
            if not reference["forgotten"].inside[index]:
                q = probability(reference["forgotten"].observed, index)
                outside.append(math.log(q / (1 - q)))
        distances.append(math.log(p / (1 - p)) - np.mean(outside))
    moved = result.forgotten - result.forgotten[0]
    scale = (distances[1] - distances[0]) / moved[1]
    assert scale > 0
    assert moved * scale == pytest.approx(np.array(distances) - distances[0])


@pytest.mark.parametrize("gamma", [1.0, 1.5])
def test_rmia_equals_two_loops_over_samples(small: Audit, gamma: float) -> None:
    a = 0.3
    result = registry.get(Attack, "rmia").score(small, a=a, gamma=gamma)

    def ratio(part: str, index: int) -> float:
        outside = [probability(r[part].observed, index) for r in small.references if not r[part].inside[index]]
        return probability(getattr(small, part), index) / ((1 + a) / 2 * np.mean(outside) + (1 - a) / 2)

    shares = [np.mean([ratio("forgotten", x) / ratio("test", z) > gamma for z in range(8)]) for x in range(6)]
    assert result.forgotten - result.forgotten[0] == pytest.approx(np.array(shares) - shares[0])
    others = [np.mean([ratio("heldout", x) / ratio("test", z) > gamma for z in range(8)]) for x in range(5)]
    assert result.heldout - result.forgotten[0] == pytest.approx(np.array(others) - shares[0])


def test_the_threshold_of_population_attacks_comes_from_samples_that_are_not_compared() -> None:
    retained, test = some(0, 40, scale=4.0), some(1, 30, scale=1.0)
    rows = np.arange(10)
    heldout = Observed(test.logits[rows], test.labels[rows])
    audit = Audit(some(2, 7), heldout, retained, test, (), (), 0, rows)
    scores = registry.get(Attack, "confidence").score(audit)
    threshold = (maximal_log_odds(audit.forgotten) - scores.forgotten)[0]
    assert scores.heldout == pytest.approx(maximal_log_odds(heldout) - threshold)
    free = Observed(test.logits[10:], test.labels[10:])

    def balanced(at: float) -> float:
        return float((maximal_log_odds(retained) > at).mean() + (maximal_log_odds(free) <= at).mean()) / 2

    assert balanced(threshold) == max(balanced(at) for at in np.linspace(-5, 15, 2001))


def test_two_normal_distributions_have_the_auc_of_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    for distance in (0.0, 0.5, 1.5):
        members, nonmembers = rng.normal(distance, 1, 4000), rng.normal(0, 1, 4000)
        result = statistics.auc(members, nonmembers, level=0.999)
        assert result.low < norm.cdf(distance / math.sqrt(2)) < result.high
        both = np.concatenate([members, nonmembers])
        assert result.value == pytest.approx(roc_auc_score(np.repeat([1, 0], 4000), both))
        at = statistics.best_threshold(members, nonmembers)
        best = statistics.balanced_accuracy(members - at, nonmembers - at)
        assert best.value == pytest.approx(norm.cdf(distance / 2), abs=0.02)


def of(observed: Observed, rows: np.ndarray) -> Observed:
    """The outputs on some of the samples."""
    return Observed(observed.logits[rows], observed.labels[rows])


@pytest.mark.parametrize("name", STRONG)
def test_the_members_of_an_overfitted_network_are_detected(name: str, audit: Audit) -> None:
    scores = registry.get(Attack, name).score(audit)
    assert statistics.auc(scores.forgotten, scores.heldout).value > 0.75


@pytest.mark.parametrize("name", ALL)
def test_on_samples_that_are_all_outside_every_attack_is_a_coin_toss(name: str, audit: Audit) -> None:
    """One half of the held-out set takes the place of the forget set."""
    order = np.random.default_rng(0).permutation(300)
    halves = [np.sort(order[:150]), np.sort(order[150:])]

    def part(known: Known, rows: np.ndarray) -> Known:
        return Known(of(known.observed, rows), known.inside[rows])

    references = tuple(
        {"forgotten": part(r["heldout"], halves[0]), "heldout": part(r["heldout"], halves[1]), "test": r["test"]}
        for r in audit.references
    )
    halved = replace(
        audit, forgotten=of(audit.heldout, halves[0]), heldout=of(audit.heldout, halves[1]),
        heldout_rows=halves[1], load_references=lambda: references, load_unlearned_shadows=lambda: references,
    )  # fmt: skip
    scores = registry.get(Attack, name).score(halved)
    result = statistics.auc(scores.forgotten, scores.heldout, level=0.999)
    assert result.low < 0.5 < result.high


@pytest.mark.parametrize("name", ALL)
def test_permuted_membership_is_a_coin_toss(name: str, audit: Audit) -> None:
    """Forgotten and held-out samples change sides at random."""
    order = np.random.default_rng(1).permutation(600)
    sides = order[:300], order[300:]

    def mixed_rows(one: Observed, other: Observed, rows: np.ndarray) -> Observed:
        logits, labels = np.concatenate([one.logits, other.logits]), np.concatenate([one.labels, other.labels])
        return Observed(logits[rows], labels[rows])

    def known(reference: dict[str, Known], rows: np.ndarray) -> Known:
        one, other = reference["forgotten"], reference["heldout"]
        return Known(mixed_rows(one.observed, other.observed, rows), np.concatenate([one.inside, other.inside])[rows])

    references = tuple(
        {"forgotten": known(r, sides[0]), "heldout": known(r, sides[1]), "test": r["test"]} for r in audit.references
    )
    forgotten, heldout = (mixed_rows(audit.forgotten, audit.heldout, rows) for rows in sides)
    mixed = replace(
        audit, forgotten=forgotten, heldout=heldout, heldout_rows=np.arange(300), load_references=lambda: references,
        load_unlearned_shadows=lambda: references,
    )  # fmt: skip
    scores = registry.get(Attack, name).score(mixed)
    result = statistics.auc(scores.forgotten, scores.heldout, level=0.999)
    assert result.low < 0.5 < result.high


@pytest.mark.parametrize("name", [*STRONG, "svc", "lira", "lira-offline"])
def test_the_sign_of_scores_separates_members(name: str, audit: Audit) -> None:
    if name in ("loss", "modified-entropy", "svc"):  # they are trained on retained and on other test samples
        rows = np.arange(150)
        audit = replace(audit, heldout=of(audit.heldout, rows), heldout_rows=rows)
    scores = registry.get(Attack, name).score(audit)
    assert scores.thresholded
    assert statistics.balanced_accuracy(scores.forgotten, scores.heldout).value > 0.65


def test_without_samples_for_a_threshold_there_is_no_accuracy(audit: Audit) -> None:
    scores = registry.get(Attack, "loss").score(audit)  # the held-out set is the whole test set
    assert not scores.thresholded
    result = membership.success(scores)
    assert result["balanced_accuracy"] is None
    assert result["auc"][0] > 0.75
    assert not registry.get(Attack, "rmia").score(replace(audit, same_labels=False)).thresholded


def test_lira_is_at_least_as_strong_as_a_threshold_on_the_loss(audit: Audit) -> None:
    lira, loss = (registry.get(Attack, name).score(audit) for name in ("lira", "loss"))
    auc_of_loss = statistics.auc(loss.forgotten, loss.heldout).value
    assert statistics.auc(lira.forgotten, lira.heldout).value >= auc_of_loss - 0.01


def test_lira_is_not_applicable_where_references_have_other_labels(audit: Audit) -> None:
    for name in ("lira", "lira-offline"):
        with pytest.raises(NotApplicableError, match="replaces labels"):
            registry.get(Attack, name).score(replace(audit, same_labels=False))
    with pytest.raises(NotApplicableError, match="no networks to compare with"):
        registry.get(Attack, "rmia").score(replace(audit, load_references=tuple))


def test_u_lira_is_lira_with_unlearned_shadow_models(small: Audit) -> None:
    unlearned = networks({p: getattr(small, p) for p in ("forgotten", "heldout", "test")}, MEMBERS, 6, 2.0).references
    result = registry.get(Attack, "u-lira").score(
        replace(small, load_unlearned_shadows=lambda: unlearned, same_labels=False)
    )
    expected = registry.get(Attack, "lira").score(replace(small, load_references=lambda: unlearned))
    assert result.forgotten.tolist() == expected.forgotten.tolist()
    assert result.heldout.tolist() == expected.heldout.tolist()
    assert result.facts == {"fleet": 6}
    with pytest.raises(NotApplicableError, match="needs unlearned shadow models"):
        registry.get(Attack, "u-lira").score(small)


@pytest.fixture(scope="module")
def shadow_scores(audit: Audit) -> Scores:
    return registry.get(Attack, "shadow").score(audit)


def test_the_shadow_attack_detects_the_members_of_an_overfitted_network(shadow_scores: Scores) -> None:
    assert statistics.auc(shadow_scores.forgotten, shadow_scores.heldout).low > 0.7
    assert statistics.balanced_accuracy(shadow_scores.forgotten, shadow_scores.heldout).low > 0.6


def test_for_the_shadow_attack_permuted_membership_is_a_coin_toss(shadow_scores: Scores) -> None:
    both = np.random.default_rng(0).permutation(np.concatenate([shadow_scores.forgotten, shadow_scores.heldout]))
    for metric in (statistics.auc, statistics.balanced_accuracy):
        result = metric(both[:300], both[300:], level=0.999)
        assert result.low < 0.5 < result.high


def test_the_shadow_attack_cannot_separate_two_halves_of_the_held_out_set(shadow_scores: Scores) -> None:
    halves = np.random.default_rng(0).permutation(shadow_scores.heldout)
    for metric in (statistics.auc, statistics.balanced_accuracy):
        result = metric(halves[:150], halves[150:], level=0.999)
        assert result.low < 0.5 < result.high


def test_the_shadow_attack_is_the_same_every_time(audit: Audit, shadow_scores: Scores) -> None:
    from unlearnbench.attacks import shadow

    shadow.fitted.cache_clear()
    again = registry.get(Attack, "shadow").score(audit)
    assert np.array_equal(again.forgotten, shadow_scores.forgotten)
    assert np.array_equal(again.heldout, shadow_scores.heldout)


def test_the_shadow_attack_scores_zero_for_a_label_that_no_shadow_model_has(audit: Audit) -> None:
    strange = Observed(audit.forgotten.logits, np.full(300, 77))
    scores = registry.get(Attack, "shadow").score(replace(audit, forgotten=strange))
    assert (scores.forgotten == 0).all()
