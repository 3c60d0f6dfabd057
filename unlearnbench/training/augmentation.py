"""From pixels to network inputs: resizing, and random changes of whole batches with parameters for each image.

The operations are torchvision's; `tests/training/test_augmentation.py` compares them image by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from unlearnbench.errors import unknown

SCALE = (0.08, 1.0)
"""The share of the area that a random resized crop keeps, as torchvision's default."""
RATIO = (3 / 4, 4 / 3)
"""Its ratio of width to height, likewise."""
ATTEMPTS = 10
"""How often torchvision draws a crop before it takes the centre instead."""
PADDING = 4
"""Pixels around an image before a plain random crop."""


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1], in the memory layout in which convolutions are fastest."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


@dataclass(frozen=True)
class Pipeline:
    """Makes network inputs from pixels.

    Attributes:
        resize: Height and width after resizing; 0: not resized.
        augment: Names of random changes, in order, for training only.
        least: The fewest images of a batch that the network can be trained on; see `Samples.batches`.

    Raises:
        UserError: If a change is unknown.
    """

    resize: int = 0
    augment: tuple[str, ...] = ()
    least: int = 1

    def __post_init__(self) -> None:
        check_augmentations(self.augment)

    def plain(self, pixels: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to float32 in [0, 1], resized, without random changes."""
        images = to_unit(pixels)
        if self.resize and images.shape[-2:] != (self.resize, self.resize):
            size = (self.resize, self.resize)
            images = interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images

    def augmented(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """As `plain`, followed by random changes of each image."""
        return self.changed(self.plain(pixels), generator)

    def changed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changes each image (float32 [B, C, H, W] in [0, 1]) at random."""
        for name in self.augment:
            images = CHANGES[name](images, generator)
        return images


def check_augmentations(names: Iterable[str]) -> None:
    """Raises `UserError` if there is no random change of one of these names."""
    for name in names:
        if name not in CHANGES:
            raise unknown("augmentation", name, CHANGES)


def on_device_of(images: Tensor, drawn: Tensor) -> Tensor:
    """Numbers that were drawn on the CPU, on the device of the images; the CPU does not wait for the transfer."""
    return drawn.to(images.device, non_blocking=True)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image with probability one half."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(on_device_of(images, mirrored)[:, None, None, None], images.flip(-1), images)


def padded_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts each image by up to `PADDING` pixels in both directions; the margin is black."""
    offsets = torch.randint(0, 2 * PADDING + 1, (2, len(images)), generator=generator)
    return shifted(images, *on_device_of(images, offsets))


def shifted(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Cuts each image [B, C, H, W] out of itself padded by `PADDING`, at the given rows and columns (int64 [B])."""
    count, _, height, width = images.shape
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    each = torch.arange(count, device=images.device)[:, None, None]
    padded = pad(images, [PADDING] * 4).permute(0, 2, 3, 1)
    return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_resized_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crops a random box of each image and enlarges it to the size of the image."""
    boxes = random_boxes(len(images), images.shape[-2], images.shape[-1], generator)
    return resized(images, on_device_of(images, boxes))


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draws boxes as torchvision's RandomResizedCrop does, for all images at once.

    Returns:
        int64 [count, 4]: top, left, height and width of each box.
    """
    area = height * width * torch.empty(count, ATTEMPTS).uniform_(*SCALE, generator=generator)
    bounds = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = torch.empty(count, ATTEMPTS).uniform_(*bounds, generator=generator).exp()
    widths, heights = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.long().argmax(1, keepdim=True)
    h, w = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    middle = ~fits.any(1)
    h = torch.where(middle, min(height, round(width / RATIO[0])), h)
    w = torch.where(middle, min(width, round(height * RATIO[1])), w)
    place = torch.rand(2, count, generator=generator)
    top = torch.where(middle, (height - h) // 2, (place[0] * (height - h + 1)).long())
    left = torch.where(middle, (width - w) // 2, (place[1] * (width - w + 1)).long())
    return torch.stack([top, left, h, w], dim=1)


def resized(images: Tensor, boxes: Tensor) -> Tensor:
    """Crops a box of each image [B, C, H, W] and resizes it to H x W, bilinearly.

    Sampling positions are kept inside the box, so that a box is extended by its own edge, as if it were an image.

    Args:
        images: float32 [B, C, H, W].
        boxes: int64 [B, 4]: top, left, height and width, not larger than the image.
    """
    height, width = images.shape[-2:]
    top, left, box_height, box_width = boxes.to(images.dtype)[:, :, None].unbind(1)

    def positions(first: Tensor, extent: Tensor, size: int) -> Tensor:
        steps = torch.arange(size, device=images.device, dtype=images.dtype) + 0.5
        inside = (steps * extent / size - 0.5).clamp(min=0).minimum(extent - 1)
        return (2 * (first + inside) + 1) / size - 1  # grid_sample counts from -1 to 1, between the outer edges

    y, x = positions(top, box_height, height), positions(left, box_width, width)
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


CHANGES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "random-resized-crop": random_resized_crop,
    "flip": flip,
    "padded-crop": padded_crop,
}
"""Random changes by name."""
