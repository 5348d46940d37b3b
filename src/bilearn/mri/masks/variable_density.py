"""Random masks whose density falls with the distance from the zero frequency."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.draw import draw_mask
from bilearn.mri.masks.lattice import Lattice, Unit


def polynomial_density(
    shape: tuple[int, int], count: int, *, seed: int, unit: Unit = "points", center: int = 0, power: float = 4.0
) -> Tensor:
    """Random cells with probabilities min(1, c (1 - r/R)^power), r the distance from the zero frequency and R the largest.

    The polynomial density of Lustig, Donoho and Pauly (Magn. Reson. Med. 58, 2007).

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the choice.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.
        power: of the density, at least 0 (uniform).

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: a negative power, or a count that is impossible, not a number of whole lines, or smaller than the
            center.
    """
    if not power >= 0:
        raise ValueError(f"power: found {power}, expected a number >= 0")
    lattice = Lattice(shape, unit)
    radius = lattice.radius()
    largest = radius.max().clamp(min=1.0)
    return draw_mask(lattice, (1 - radius / largest) ** power, count, center, seed)


def gaussian_density(
    shape: tuple[int, int], count: int, *, seed: int, unit: Unit = "points", center: int = 0, width: float = 0.35
) -> Tensor:
    """Random cells with probabilities min(1, c exp(-r^2/(2 width^2))), r = 1 at the largest frequency along an axis.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the choice.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.
        width: standard deviation, in units of the largest frequency along an axis.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: a width that is not positive, or a count that is impossible, not a number of whole lines, or smaller
            than the center.
    """
    if not width > 0:
        raise ValueError(f"width: found {width}, expected a positive number")
    lattice = Lattice(shape, unit)
    return draw_mask(lattice, torch.exp(-(lattice.radius() ** 2) / (2 * width * width)), count, center, seed)
