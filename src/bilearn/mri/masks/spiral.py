"""Spirals that start at the zero frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.mri.masks.interleaves import GOLDEN_ANGLE, first_visits, start_angle
from bilearn.mri.masks.lattice import Lattice


def spiral(shape: tuple[int, int], count: int, *, seed: int, turns: float = 4.0, power: float = 1.5) -> Tensor:
    """Interleaved spirals, turned by twice the golden angle from one to the next, rounded to the grid.

    Frequency t^power/sqrt 2 at the angle 2 pi turns t, t from 0 to 1, in cycles per pixel. The number of samples is met
    exactly: of the last spiral the points farthest along it are left out. Masks of growing count are nested.

    Args:
        shape: height and width of k-space.
        count: samples of the mask; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the direction in which the first spiral starts.
        turns: of each spiral.
        power: how the radius grows; 1 is Archimedes' spiral, larger values sample low frequencies more densely.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: turns below 0, a power below 1, or an impossible count.
    """
    if not (turns >= 0 and power >= 1):
        raise ValueError(f"turns, power: found {turns} and {power}, expected turns >= 0 and a power >= 1")
    longest = 0.5**0.5 * math.hypot(2 * math.pi * turns, power)
    t = torch.linspace(0, 1, math.ceil(2 * longest * max(shape)) + 1, dtype=torch.float64)
    radius, angle = 0.5**0.5 * t**power, 2 * math.pi * turns * t
    start = 2 * start_angle(seed)

    def spirals(numbers: Tensor) -> Tensor:
        turned = start + 2 * GOLDEN_ANGLE * numbers[:, None] + angle
        return radius[:, None] * torch.stack((torch.sin(turned), torch.cos(turned)), -1)

    return first_visits(Lattice(shape), spirals, count)
