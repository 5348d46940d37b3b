"""Every cell of k-space with the same probability."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.draw import draw_mask
from bilearn.mri.masks.lattice import Lattice, Unit


def uniform_random(shape: tuple[int, int], count: int, *, seed: int, unit: Unit = "points", center: int = 0) -> Tensor:
    """A uniformly random mask.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the choice.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.

    Returns:
        Boolean (H, W) on the CPU, without shift (the zero frequency is [0, 0]), with exactly ``count`` samples.

    Raises:
        ValueError: a count that is impossible, not a number of whole lines, or smaller than the center.
    """
    lattice = Lattice(shape, unit)
    return draw_mask(lattice, torch.ones(lattice.size, dtype=torch.float64), count, center, seed)
