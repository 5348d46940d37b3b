"""Padding, cropping and rescaling of image stacks."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.data.images import DataError


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width.

    Raises:
        DataError: if a side is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise DataError(f"size: found {height} x {width}, expected positive numbers of pixels")
    return height, width


def pad_or_crop(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut off or add zeros evenly around (..., H, W), so that pixel [H // 2, W // 2] becomes [height // 2, width // 2].

    Args:
        images: any dtype.
        size: height and width in pixels, or one number for both.

    Returns:
        A new tensor (..., height, width).

    Raises:
        DataError: if a side is not positive.
    """
    target = sides(size)
    result = images.new_zeros((*images.shape[:-2], *target))
    inside, taken = [], []
    for new, old in zip(target, images.shape[-2:], strict=True):
        offset = new // 2 - old // 2
        first, last = max(0, offset), min(new, old + offset)
        inside.append(slice(first, last))
        taken.append(slice(first - offset, last - offset))
    result[..., inside[0], inside[1]] = images[..., taken[0], taken[1]]
    return result


def prepared(images: Tensor, size: int | tuple[int, int] | None, scale: float | None, source: str) -> Tensor:
    """(N, 2, H, W) divided by ``scale`` (None: by the largest magnitude) and brought to ``size`` (None: as it is).

    Raises:
        DataError: if numbers are not finite, all are zero, or the scale is not positive.
    """
    if not bool(torch.isfinite(images).all()):
        raise DataError(f"{source}: found NaN or infinity, expected finite numbers; clean or remove the file")
    factor = float(torch.linalg.vector_norm(images, dim=-3).max()) if scale is None else scale
    if factor <= 0:
        found = "only zeros" if scale is None else f"scale = {scale:g}"
        raise DataError(f"{source}: found {found}, expected an image that is not empty and a scale above 0")
    scaled = images / factor
    return scaled if size is None else pad_or_crop(scaled, size)
