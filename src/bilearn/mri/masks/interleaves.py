"""Masks from curves through k-space, rounded to the grid, at an exact number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice

#: pi divided by the golden ratio, 111.25 degrees: any number of successive directions fills the half circle evenly
#: (Winkelmann et al., IEEE Trans. Med. Imaging 26, 2007).
GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2


def first_visits(lattice: Lattice, curve: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Mask (H, W) of the first ``count`` points of the grid that a sequence of curves visits.

    Curves are followed one after the other, each in its own order, and rounded to the nearest point of the grid; a point
    counts when it is visited first. So all curves but the last are complete, of the last one the points that come late
    in its order are missing, and masks of growing count are nested. Points that 4 (H + W) curves do not visit come last,
    by distance from the zero frequency.

    Args:
        lattice: the points.
        curve: numbers (n,) of curves -> (n, m, 2) frequencies in cycles per pixel along each of them.
        count: samples of the mask.

    Raises:
        ValueError: an impossible count.
    """
    cells = lattice.cell_count(count)
    most = 4 * sum(lattice.shape)
    curves = min(most, 8 + 4 * cells // max(lattice.shape))
    while True:
        order = _visits(lattice, curve(torch.arange(curves, dtype=torch.float64)))
        if order.numel() >= cells or curves == most:
            break
        curves = min(most, 2 * curves)
    missing = torch.ones(lattice.size, dtype=torch.bool)
    missing[order] = False
    by_radius = torch.argsort(lattice.radius(), stable=True)
    return lattice.mask(torch.cat((order, by_radius[missing[by_radius]]))[:cells])


def _visits(lattice: Lattice, frequencies: Tensor) -> Tensor:
    """Flat numbers of the visited points, in the order of their first visit."""
    height, width = lattice.shape
    index = torch.round(frequencies.reshape(-1, 2) * torch.tensor([height, width], dtype=torch.float64)).long()
    low = torch.tensor([-(height // 2), -(width // 2)])
    high = torch.tensor([(height - 1) // 2, (width - 1) // 2])
    inside = ((index >= low) & (index <= high)).all(1)
    index = index[inside]
    cells = (index[:, 0] % height) * width + index[:, 1] % width
    visits = torch.full((lattice.size,), cells.numel())
    visits = visits.scatter_reduce(0, cells, torch.arange(cells.numel()), "amin")
    order = torch.argsort(visits, stable=True)
    return order[visits[order] < cells.numel()]


def start_angle(seed: int) -> float:
    """Uniform in [0, pi)."""
    return math.pi * float(torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
