"""Random masks in which samples keep a distance that grows with frequency."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice, Unit

#: Relative accuracy of the distance.
_TOLERANCE = 0.02


def poisson_disc(
    shape: tuple[int, int], count: int, *, seed: int, unit: Unit = "points", center: int = 0, slope: float = 3.0
) -> Tensor:
    """Dart throwing on the grid with the largest distance that gives the wanted number of samples.

    Chosen cells i and j outside of the center are at least min(d_i, d_j) grid steps apart, d = s (1 + slope r) with
    r = 1 at the largest frequency along an axis:

    1. Put all cells into one random order.
    2. For a given s, go through them and take each one that no taken cell i is closer to than d_i; stop at the wanted
       number.
    3. Bisect for the largest s (to 2 %) that reaches the number, starting where darts jam in the plane (coverage 0.547) or
       on a line (0.748). Distances of at most one step block nothing, so the smallest s always reaches it: the search ends
       after a few passes, at any rate.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        seed: of the order.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.
        slope: growth of the distance with frequency; 0 is a uniform density.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: a negative slope, or a count that is impossible, not a number of whole lines, or smaller than the
            center.
    """
    if not slope >= 0:
        raise ValueError(f"slope: found {slope}, expected a number >= 0")
    lattice = Lattice(shape, unit)
    inside, rest = lattice.center_and_rest(count, center)
    outside = torch.nonzero(~inside)[:, 0]
    order = outside[torch.randperm(outside.numel(), generator=torch.Generator().manual_seed(seed))]
    growth = 1 + slope * lattice.radius()
    positions = (lattice.indices() + torch.tensor([n // 2 for n in lattice.sides])).numpy()
    darts = _Darts(lattice.sides, positions, torch.nonzero(inside)[:, 0].tolist(), order.tolist())

    low, high = 1 / float(growth.max()), math.hypot(*lattice.sides)
    taken = order[:rest].tolist()
    power, coverage = (2, 0.547 * 4 / math.pi) if unit == "points" else (1, 0.748)
    trial = (coverage * float((growth[outside] ** -power).sum()) / max(rest, 1)) ** (1 / power)
    step = 1.1
    while high > low * (1 + _TOLERANCE):
        trial = min(max(trial, low * (1 + _TOLERANCE / 2)), high / (1 + _TOLERANCE / 2))
        found = darts.throw((trial * growth).numpy(), rest)
        if len(found) == rest:
            low, taken = trial, found
        else:
            high = trial
        trial, step = min(max(math.sqrt(low * high), trial / step), trial * step), step * step
    return lattice.mask(inside.index_fill(0, torch.tensor(taken, dtype=torch.long), True))


class _Darts:
    """Cells in a fixed order, taken one by one unless an earlier one blocks them.

    Args:
        sides: of the grid.
        positions: (cells, 2) place of each cell on the grid with the zero frequency in the middle.
        center: cells that are taken before all others.
        order: the others.
    """

    def __init__(self, sides: tuple[int, int], positions: np.ndarray, center: list[int], order: list[int]) -> None:
        self._sides, self._positions = sides, positions.tolist()
        self._center, self._order = center, order

    def throw(self, distances: np.ndarray, most: int) -> list[int]:
        """The first ``most`` cells taken (fewer where all others are blocked), for one distance per cell in grid steps."""
        reach = np.maximum(np.ceil(distances**2).astype(np.int64) - 1, 0).tolist()
        pad = [min(math.isqrt(max(reach)), side - 1) for side in self._sides]
        blocked = np.zeros([side + 2 * p for side, p in zip(self._sides, pad, strict=True)], dtype=bool)
        discs: dict[int, np.ndarray] = {}

        def take(cell: int) -> None:
            square = reach[cell]
            if square not in discs:
                discs[square] = _disc(square, pad)
            disc = discs[square]
            (row, column), (height, width) = self._positions[cell], disc.shape
            top, left = row + pad[0] - height // 2, column + pad[1] - width // 2
            blocked[top : top + height, left : left + width] |= disc

        for cell in self._center:
            take(cell)
        taken: list[int] = []
        for cell in self._order:
            if len(taken) == most:
                break
            row, column = self._positions[cell]
            if not blocked[row + pad[0], column + pad[1]]:
                take(cell)
                taken.append(cell)
        return taken


def _disc(square: int, pad: list[int]) -> np.ndarray:
    """Grid steps whose squared length is at most ``square``."""
    rows, columns = (np.arange(-min(math.isqrt(square), p), min(math.isqrt(square), p) + 1) for p in pad)
    return rows[:, None] ** 2 + columns[None, :] ** 2 <= square
