"""Cartesian lines."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.pattern import GroupedPattern


class LinePattern(GroupedPattern):
    """A degree for every line of k-space: s[i, j] = degrees[i] (rows) or degrees[j] (columns).

    A line is one readout of a Cartesian scan, so its points are sampled together or not at all.

    Args:
        degrees: (n,) start, without shift: [0] is the line through the zero frequency; n = shape[axis].
        shape: (H, W) of k-space.
        axis: 0 for a degree per row, 1 for a degree per column (the phase-encoding lines of fastMRI files).
        bounds: lower and upper bound of every degree.
        learn: whether the pattern is learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if ``axis`` is neither 0 nor 1, or the number of degrees is not that of the lines.
    """

    def __init__(
        self,
        degrees: Tensor,
        shape: tuple[int, int],
        axis: int = 1,
        bounds: tuple[float, float] = (0.0, 1.0),
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if axis not in (0, 1):
            raise ValueError(f"axis: found {axis}, expected 0 (a degree per row) or 1 (a degree per column)")
        if degrees.shape != (shape[axis],):
            raise ValueError(
                f"degrees: found shape {tuple(degrees.shape)}, expected ({shape[axis]},), one for every line of axis {axis}"
            )
        lines = torch.arange(shape[axis], device=degrees.device)
        groups = (lines[:, None] if axis == 0 else lines).expand(shape)
        super().__init__(degrees, groups, bounds, learn, dtype)
