"""Spokes through the zero frequency."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.interleaves import GOLDEN_ANGLE, first_visits, start_angle
from bilearn.mri.masks.lattice import Lattice


def radial(shape: tuple[int, int], count: int, *, seed: int) -> Tensor:
    """Spokes through the zero frequency, turned by the golden angle from one to the next, rounded to the grid.

    The number of samples is met exactly: of the last spoke the points farthest from the zero frequency are left out.
    Masks of growing count are nested.

    Args:
        shape: height and width of k-space.
        count: samples of the mask; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the direction of the first spoke.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: an impossible count.
    """
    steps = torch.arange(0, 0.5**0.5, 0.5 / max(shape), dtype=torch.float64)
    both = torch.stack((steps, -steps), 1).reshape(-1)
    start = start_angle(seed)

    def spokes(numbers: Tensor) -> Tensor:
        angle = start + GOLDEN_ANGLE * numbers
        direction = torch.stack((torch.sin(angle), torch.cos(angle)), 1)
        return both[None, :, None] * direction[:, None, :]

    return first_visits(Lattice(shape), spokes, count)
