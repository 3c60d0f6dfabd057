"""Batches cover every sample once, keep the last short batch, and have labels only if they were declared."""

from __future__ import annotations

import pytest
import torch

from unlearnbench import AccessError, Samples, concat
from unlearnbench.runtime import seeds
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.samples import side_by_side, sizes

STORED = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).expand(40, 1, 2, 2).contiguous()


def samples(n: int = 10, labels: bool = True, first: int = 0, name: str = "the forget set") -> Samples:
    index = torch.arange(first, first + n)
    return Samples(STORED, index, torch.arange(n) % 3 if labels else None, seeds.generator("s"), name, Pipeline())


def test_parts_of_a_training_set_share_its_memory_and_those_of_two_sets_do_not_mix() -> None:
    both = concat(samples(3), samples(3, first=20))
    assert both.subset(both.source == 1).pixels[:, 0, 0, 0].tolist() == [20, 21, 22]
    assert both._stored is STORED
    other = Samples(STORED.clone(), torch.arange(3), None, seeds.generator("s"), "x", Pipeline())
    with pytest.raises(ValueError, match="one training set"):
        concat(samples(3), other)


def test_batches_cover_every_sample_once_and_keep_the_short_one() -> None:
    batches = list(samples(10).batches(4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("total", "size", "least", "expected"),
    [
        (10, 4, 1, [4, 4, 2]),
        (9, 4, 1, [4, 4, 1]),
        (9, 4, 2, [4, 5]),
        (8, 4, 2, [4, 4]),
        (10, 4, 2, [4, 4, 2]),
        (5, 4, 2, [5]),
        (3, 2, 2, [3]),
        (1, 4, 2, [1]),
        (3, 4, 2, [3]),
        (0, 4, 1, [0]),
    ],
)
def test_a_sample_that_would_be_alone_joins_the_batch_before_where_the_network_needs_that(
    total: int, size: int, least: int, expected: list[int]
) -> None:
    assert sizes(total, size, least) == expected
    of_torch = [len(part) for part in torch.arange(total).split(size)]
    assert sizes(total, size) == of_torch


def test_all_ways_to_batches_have_these_sizes() -> None:
    part = Samples(STORED, torch.arange(9), torch.arange(9), seeds.generator("s"), "x", Pipeline(least=2))
    for batches in (part.batches(4), part.subset(part.index < 9).batches(4), concat(part).batches(4)):
        assert [len(batch) for batch in batches] == [4, 5]
    assert [images.shape[1] for images, _ in side_by_side([part, part], 4)] == [4, 5]


def test_every_epoch_has_its_own_order_which_the_generator_determines() -> None:
    first, second = (
        [torch.cat([b.index for b in made.batches(10, epochs=1)]).tolist() for _ in range(3)]
        for made in (samples(), samples())
    )
    assert first == second
    assert len({tuple(order) for order in first}) == 3


def test_a_batch_has_the_images_and_labels_of_its_index() -> None:
    for batch in samples(10, first=0).batches(3):
        assert torch.equal((batch.images[:, 0, 0, 0] * 255).round().long(), batch.index)
        assert torch.equal(batch.labels, batch.index % 3)
        assert batch.images.dtype == torch.float32


def test_labels_that_were_not_declared_cannot_be_read() -> None:
    hidden = samples(labels=False)
    for reader in (hidden, hidden.subset(hidden.index < 5), hidden.sample(3), next(hidden.batches(2))):
        with pytest.raises(AccessError, match="the labels of the forget set are not accessible"):
            len(reader.labels)


def test_source_is_the_part_that_each_row_came_from() -> None:
    both = concat(samples(4), samples(6, first=20))
    for batch in both.batches(3):
        assert torch.equal(batch.source, (batch.index >= 20).long())


def test_concat_hides_labels_if_one_part_does() -> None:
    with pytest.raises(AccessError):
        len(concat(samples(4), samples(6, labels=False)).labels)


def test_sample_draws_without_replacement() -> None:
    drawn = samples(10).sample(7).index.tolist()
    assert len(set(drawn)) == 7
    assert len(samples(10).sample(99)) == 10


def test_a_batch_unpacks_as_images_and_labels_if_the_method_may_see_labels() -> None:
    (batch,) = samples(4).batches(4)
    images, labels = batch
    assert torch.equal(images, batch.images)
    assert torch.equal(labels, batch.labels)
    (unlabelled,) = samples(4, labels=False).batches(4)
    with pytest.raises(AccessError, match="the labels of the forget set are not accessible"):
        images, labels = unlabelled
