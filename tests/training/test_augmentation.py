"""Each image of a batch is changed as torchvision changes it with the same parameters."""

from __future__ import annotations

import pytest
import torch

from unlearnbench import UserError
from unlearnbench.runtime.vision import torchvision
from unlearnbench.training import augmentation
from unlearnbench.training.augmentation import CHANGES, PADDING, Pipeline


@pytest.fixture
def photos() -> torch.Tensor:
    """Smooth colour images with some noise, uint8 [8, 3, 32, 32]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return (smooth * 200 + torch.rand(8, 3, 32, 32, generator=generator) * 55).to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", list(CHANGES))
def test_copies_of_one_image_are_changed_differently_and_reproducibly(name: str, photos: torch.Tensor) -> None:
    pipeline = Pipeline(augment=(name,))
    copies = photos[:1].expand(16, -1, -1, -1)
    changed = pipeline.augmented(copies, generator())
    assert changed.shape == (16, 3, 32, 32)
    assert len({image.numpy().tobytes() for image in changed}) > (1 if name == "flip" else 10)
    assert torch.equal(changed, pipeline.augmented(copies, generator()))
    assert not torch.equal(changed, pipeline.augmented(copies, generator(1)))


@pytest.mark.parametrize("size", [32, 64, 224])
def test_each_resized_crop_is_torchvisions(size: int, photos: torch.Tensor) -> None:
    images = Pipeline(resize=size).plain(photos)
    boxes = augmentation.random_boxes(8, size, size, generator())
    assert len(boxes.unique(dim=0)) == 8
    resized_crop = torchvision("transforms.v2.functional").resized_crop
    for image, box, result in zip(images, boxes.tolist(), augmentation.resized(images, boxes), strict=True):
        expected = resized_crop(image, *box, [size, size], antialias=True)
        assert (result - expected).abs().max() < 1 / 255


def test_resizing_is_torchvisions(photos: torch.Tensor) -> None:
    expected = torchvision("transforms.v2.functional").resize(photos.float() / 255, [224, 224], antialias=True)
    assert torch.allclose(Pipeline(resize=224).plain(photos), expected, atol=1e-6)


def test_each_padded_crop_is_torchvisions(photos: torch.Tensor) -> None:
    images = photos.float() / 255
    top, left = torch.randint(0, 2 * PADDING + 1, (2, 8), generator=generator())
    functional = torchvision("transforms.v2.functional")
    for image, i, j, result in zip(
        images, top.tolist(), left.tolist(), augmentation.shifted(images, top, left), strict=True
    ):
        assert torch.equal(result, functional.crop(functional.pad(image, [PADDING]), i, j, 32, 32))


def test_about_half_of_the_images_are_mirrored(photos: torch.Tensor) -> None:
    images = photos[:1].float().expand(400, -1, -1, -1)
    flipped = augmentation.flip(images, generator())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) | mirrored).all()
    assert 160 < mirrored.sum() < 240


def test_boxes_are_distributed_as_torchvisions() -> None:
    boxes = augmentation.random_boxes(4000, 224, 224, generator()).double()
    torch.manual_seed(0)
    get_params = torchvision("transforms").RandomResizedCrop.get_params
    image = torch.zeros(3, 224, 224)
    theirs = torch.tensor([get_params(image, list(augmentation.SCALE), list(augmentation.RATIO)) for _ in range(4000)])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 224).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 224).all()
    for quantile in (0.1, 0.5, 0.9):
        difference = boxes.quantile(quantile, dim=0) - theirs.double().quantile(quantile, dim=0)
        assert difference.abs().max() < 8


def test_a_box_that_never_fits_becomes_the_centre() -> None:
    boxes = augmentation.random_boxes(50, 4, 100, generator())
    middle = boxes[(boxes[:, 2] == 4) & (boxes[:, 3] == 5)]
    assert len(middle) > 0
    assert (middle[:, 1] == 47).any()


def test_without_changes_images_are_scaled_pixels(photos: torch.Tensor) -> None:
    assert torch.equal(Pipeline().augmented(photos, generator()), photos.float() / 255)


def test_an_unknown_change_gets_a_hint() -> None:
    with pytest.raises(UserError, match="unknown augmentation 'flipp': did you mean 'flip'"):
        Pipeline(augment=("flipp",))
