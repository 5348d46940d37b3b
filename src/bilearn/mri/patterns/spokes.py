"""Radial spokes on the grid, taken or left as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.mri.pattern import GroupedPattern


class SpokePattern(GroupedPattern):
    """A degree for every one of J evenly spaced spokes of points of the grid; points that several spokes share stay sampled.

    Spoke j has the points nearest to the diameter at the angle pi j / J. Around the zero frequency spokes share points: these
    are sampled as soon as any spoke is, so s = 1 there whatever is learned, and every other point belongs to one spoke. So
    s is linear in the degrees and a number of samples can be met (as closely as whole spokes can). Angles that move are
    :class:`RadialPattern`.

    Args:
        degrees: (J,) start.
        shape: (H, W) of k-space.
        bounds: lower and upper bound of every degree.
        learn: whether the pattern is learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if there are so many spokes that one has no point of its own.
    """

    def __init__(
        self,
        degrees: Tensor,
        shape: tuple[int, int],
        bounds: tuple[float, float] = (0.0, 1.0),
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(degrees, _spokes(degrees.numel(), shape), bounds, learn, dtype)


def _spokes(count: int, shape: tuple[int, int]) -> Tensor:
    """(H, W) which spoke a point belongs to; -1 for several, -2 for none."""
    height, width = shape
    steps = 4 * max(shape)
    radius = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 0.5
    angles = torch.arange(count, dtype=torch.float64) * (math.pi / count)
    rows = (torch.sin(angles)[:, None] * radius * height).round().long() % height
    columns = (torch.cos(angles)[:, None] * radius * width).round().long() % width
    hit = torch.zeros(count, height * width, dtype=torch.bool)
    hit.scatter_(1, rows * width + columns, True)
    several, own = hit.sum(0), hit.int().argmax(0)
    return torch.where(several > 1, -1, torch.where(several == 1, own, -2)).reshape(shape)
