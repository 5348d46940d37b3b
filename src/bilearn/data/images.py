"""Images as named tensors (C, H, W) in [0, 1]: gray values, crops, down-scaling, stacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Luma weights of red, green and blue (ITU-R BT.601).
GRAY_WEIGHTS = (0.299, 0.587, 0.114)


class DataError(ValueError):
    """Data that cannot be used; the message says what was found and how to fix it."""


@dataclass(frozen=True)
class NamedImage:
    """One image.

    Attributes:
        pixels: (C, H, W) float64 in [0, 1] (a signal: (1, L)).
        name: what to call it in tables, unique within its source.
        group: name of the photograph or file it was cut from; crops of one group never land in different splits.
    """

    pixels: Tensor
    name: str
    group: str


def to_gray(image: NamedImage) -> NamedImage:
    """One channel: 0.299 R + 0.587 G + 0.114 B; an image with one channel stays as it is.

    Raises:
        DataError: if the image has neither one nor three channels.
    """
    channels = image.pixels.shape[0]
    if channels == 1:
        return image
    if channels != 3:
        raise DataError(
            f"{image.name}: found {channels} channels, expected 1 or 3 to make gray values; set gray = false"
        )
    weights = torch.tensor(GRAY_WEIGHTS, dtype=image.pixels.dtype).reshape(3, 1, 1)
    return replace(image, pixels=(weights * image.pixels).sum(0, keepdim=True))


def downscale(image: NamedImage, factor: int) -> NamedImage:
    """Average blocks of ``factor`` x ``factor`` pixels; rows and columns that do not fill a block are cut off.

    Raises:
        DataError: if the image is smaller than one block.
    """
    if factor == 1:
        return image
    _, height, width = image.pixels.shape
    if min(height, width) < factor:
        raise DataError(f"{image.name}: found {height} x {width} pixels, too few for downscale = {factor}")
    pixels = torch.nn.functional.avg_pool2d(image.pixels[None], factor)[0]
    return replace(image, pixels=pixels)


def crops(image: NamedImage, size: tuple[int, int], count: int, generator: torch.Generator) -> list[NamedImage]:
    """Cut ``count`` crops of ``size`` (height, width): one from the center, several from random places.

    Args:
        image: the image.
        size: height and width of a crop in pixels.
        count: number of crops; they may overlap.
        generator: source of the places; used only if ``count`` > 1.

    Raises:
        DataError: if the image is smaller than a crop.
    """
    (rows, columns), (_, height, width) = size, image.pixels.shape
    if height < rows or width < columns:
        raise DataError(
            f"{image.name}: found {height} x {width} pixels, expected at least {rows} x {columns} for the crop; "
            "choose a smaller crop or remove the image"
        )
    if count == 1:
        places = [((height - rows) // 2, (width - columns) // 2)]
    else:
        places = [(_draw(height - rows + 1, generator), _draw(width - columns + 1, generator)) for _ in range(count)]
    return [
        NamedImage(
            image.pixels[:, top : top + rows, left : left + columns].clone(),
            f"{image.name} ({top}, {left})" if count > 1 else image.name,
            image.group,
        )
        for top, left in places
    ]


def _draw(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))


def stack(images: Sequence[NamedImage]) -> Tensor:
    """(N, C, H, W) of all images.

    Raises:
        DataError: if there is none, or shapes differ; the message names two images and the fix.
    """
    if not images:
        raise DataError("no images: found none to stack, expected at least one")
    first = images[0]
    for image in images[1:]:
        if image.pixels.shape[0] != first.pixels.shape[0]:
            raise DataError(
                f"mixed channels: {first.name} has {first.pixels.shape[0]} and {image.name} has "
                f"{image.pixels.shape[0]}; set gray = true"
            )
        if image.pixels.shape != first.pixels.shape:
            smallest = [min(i.pixels.shape[axis] for i in images) for axis in (-2, -1)]
            raise DataError(
                f"mixed sizes: {first.name} has {_size(first)} and {image.name} has {_size(image)} pixels; "
                f"set crop = {min(smallest)} (or smaller) to cut all images to one size"
            )
    return torch.stack([image.pixels for image in images])


def _size(image: NamedImage) -> str:
    return " x ".join(str(n) for n in image.pixels.shape[1:])
