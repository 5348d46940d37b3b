"""The numbers of a pattern as units that are taken or left, and exact counts of samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.mri import Pattern
from bilearn.parameters import Identity, ParameterVector
from bilearn.sampling.problem import pattern_range
from bilearn.upper.feasible import Budget

_TAIL = 64
"""Largest units before the end from which on subsets that make up the exact number are looked for."""

_WINDOW = 4096
"""Most units among which they are looked for."""


@dataclass(frozen=True, eq=False)
class Units:
    """Learned degrees in [0, 1], each of which samples some points of k-space: points, lines, symmetric pairs.

    Attributes:
        sizes: (U,) points of k-space that each unit samples.
        fixed: points that are sampled whatever the units do (a fixed center).
        grid: number of points of k-space.
    """

    sizes: Tensor
    fixed: int
    grid: int

    @classmethod
    def of(cls, pattern: Pattern) -> Units:
        """The units of a pattern whose degrees on the grid are sums of its learned numbers.

        Raises:
            ValueError: if a learned number is not a degree in [0, 1], or the grid does not depend on them linearly.
        """
        vector = ParameterVector(pattern)
        start = vector.get()
        ends = bool((vector.lower == 0).all()) and bool((vector.upper == 1).all())
        if not ends or any(not isinstance(slot.coordinate, Identity) for slot in vector.slots):
            raise ValueError(
                f"pattern: found {type(pattern).__name__} with learned numbers that are not degrees in [0, 1], expected "
                "points or lines for an exact number of samples; round other patterns by drawing them"
            )
        try:
            totals, slopes = zip(*(_total(pattern, vector, value) for value in (0.0, 0.5, 1.0)), strict=True)
        finally:
            vector.set(start)
        sizes = slopes[0].round()
        linear = all(bool(torch.allclose(s, sizes)) for s in slopes)
        if not linear or abs(totals[2] - totals[0] - float(sizes.sum())) > 1e-6 * max(totals[2], 1.0):
            raise ValueError(
                f"pattern: found {type(pattern).__name__}, whose number of samples is not a sum over its learned numbers, "
                "expected points or lines for an exact number of samples"
            )
        grid = pattern().numel()
        return cls(sizes, round(totals[0]), grid)

    @property
    def total(self) -> int:
        """Points of k-space that can be sampled."""
        return self.fixed + int(self.sizes.sum())

    def points(self, rate: float | None, count: int | None) -> int:
        """Points of k-space to sample, from a rate in (0, 1] of the grid or a number of points.

        Raises:
            ValueError: if not exactly one is given, or it cannot be met.
        """
        if (rate is None) == (count is None):
            raise ValueError(f"rate, count: found {rate} and {count}, expected exactly one of them")
        wanted = count if count is not None else round(float(rate or 0.0) * self.grid)
        least = int(self.sizes.min())
        if not self.fixed + least <= wanted <= self.total:
            raise ValueError(
                f"rate, count: found {wanted} samples, expected {self.fixed + least} to {self.total} for this pattern"
            )
        if bool((self.sizes == least).all()) and (wanted - self.fixed) % least:
            if count is not None:
                raise ValueError(
                    f"count: found {count} samples, expected {self.fixed} plus a multiple of {least}, the points of one "
                    "unit of this pattern"
                )
            wanted = self.fixed + max(1, round((wanted - self.fixed) / least)) * least
        elif count is None and not bool((self.sizes == least).all()) and len(self.sizes) <= _WINDOW:
            wanted = self.fixed + _nearest_sum(self.sizes, wanted - self.fixed)
        return wanted

    def budget(self, parameters: ParameterVector, points: int) -> Budget:
        """sum of sizes times degrees = points, on theta."""
        part = pattern_range(parameters)
        return Budget(part.start, part.stop, float(points - self.fixed), self.sizes)

    def choose(self, degrees: Tensor, points: int) -> Tensor:
        """Zeros and ones (U,), the units of largest degree that together sample exactly ``points``.

        Ties go to the unit that comes first. A unit is passed over if the number could not be made up exactly with it and
        those after it.

        Raises:
            ValueError: if that number cannot be met with these sizes.
        """
        left = points - self.fixed
        order = torch.argsort(degrees, descending=True, stable=True)
        least = float(self.sizes.min())
        taken = torch.zeros_like(degrees)
        if bool((self.sizes == least).all()):
            whole = left / least
            if whole == int(whole):
                taken[order[: int(whole)]] = 1.0
                left = 0
        else:
            ordered, sizes = order.tolist(), [int(s) for s in self.sizes[order]]
            first, spare = 0, _TAIL * max(sizes)
            while left > spare and first < len(sizes):
                taken[ordered[first]] = 1.0
                left -= sizes[first]
                first += 1
            tail = sizes[first : first + _WINDOW]
            sums = _sums(tail, left)
            for k, size in enumerate(tail):
                if size <= left and sums[k + 1] >> (left - size) & 1:
                    taken[ordered[first + k]] = 1.0
                    left -= size
        if left:
            raise ValueError(
                f"count: found {points} samples, which the units of this pattern cannot make up exactly; "
                f"expected for instance {points - left}"
            )
        return taken


def _total(pattern: Pattern, vector: ParameterVector, value: float) -> tuple[float, Tensor]:
    """Sum of the degrees on the grid and its derivative (U,) where every learned number is ``value``."""
    vector.set(torch.full_like(vector.lower, value))
    with torch.enable_grad():
        total = pattern().sum()
        slopes = torch.autograd.grad(total, vector.parameters, materialize_grads=True)
    return float(total.detach()), vector.flatten(slopes)


def _sums(sizes: list[int], limit: int) -> list[int]:
    """For every k the sums, up to ``limit``, of subsets of ``sizes[k:]``: bit m of number k says whether m is one."""
    mask, out = (1 << (limit + 1)) - 1, [1]
    for size in reversed(sizes):
        out.append((out[-1] | out[-1] << size) & mask)
    return out[::-1]


def _nearest_sum(sizes: Tensor, wanted: int) -> int:
    """The positive sum of a subset that is nearest to a number, the larger one of two."""
    sums = 1
    for size in sizes.tolist():
        sums |= sums << int(size)
    below = (sums & ((1 << (wanted + 1)) - 1)).bit_length() - 1
    above = sums >> wanted
    distance = (above & -above).bit_length() - 1
    return wanted + distance if above and (distance <= wanted - below or below == 0) else below
