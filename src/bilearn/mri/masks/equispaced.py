"""Lines at equal distances around a fully sampled center."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice, Unit


def equispaced(shape: tuple[int, int], count: int, *, seed: int, unit: Unit = "columns", center: int = 0) -> Tensor:
    """Equally spaced lines with a random offset, plus central lines.

    Of the m lines outside of the center, in the order of their frequency, the r wanted ones are those numbered
    floor((i + u) m/r), i = 0, ..., r - 1, with one random u in [0, 1): distances differ by at most one, at any rate.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the offset.
        unit: rows or columns.
        center: number of fully sampled central lines.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: points instead of lines, a count that is impossible, not a number of whole lines, or smaller than the
            center.
    """
    if unit == "points":
        raise ValueError("unit: found 'points', expected 'rows' or 'columns'; equispaced masks consist of lines")
    lattice = Lattice(shape, unit)
    inside, rest = lattice.center_and_rest(count, center)
    order = torch.argsort(lattice.indices().sum(1))
    outside = order[~inside[order]]
    offset = torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    steps = (torch.arange(rest, dtype=torch.float64) + offset) * (outside.numel() / max(rest, 1))
    chosen = outside[steps.floor().long().clamp(max=outside.numel() - 1)]
    return lattice.mask(inside.index_fill(0, chosen, True))
