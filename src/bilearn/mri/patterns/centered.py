"""A fully sampled center that stays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilearn.mri.pattern import Pattern, finite_product, mirrored


class CenteredPattern(Pattern):
    """s = 1 on a center, whatever is learned there; another pattern elsewhere.

    Calibration lines, from which coil sensitivities are estimated, are sampled anyway. Numbers of points, lines and other
    groups that lie in the center are taken out of the pattern, so that penalties and budgets count what is free.

    Args:
        pattern: any pattern; ``self.pattern`` is :meth:`Pattern.without` of it, with learned numbers of its own.
        center: (H, W) or (n,) boolean, without shift; see :func:`center_block` and :func:`center_lines`.

    Raises:
        ValueError: if the shapes differ, or no point is left to learn.
    """

    center: Tensor

    def __init__(self, pattern: Pattern, center: Tensor) -> None:
        super().__init__()
        shape = tuple(pattern().shape)
        if center.dtype != torch.bool or tuple(center.shape) != shape:
            raise ValueError(
                f"center: found {center.dtype} of shape {tuple(center.shape)}, expected torch.bool of shape {shape}"
            )
        self.pattern = pattern.without(center)
        self.register_buffer("center", center.detach().clone())

    def forward(self) -> Tensor:
        """1 on the center."""
        return self.pattern().masked_fill(self.center, 1.0)

    def row_norms(self) -> Tensor:
        """Those of the pattern, 0 on the center."""
        return self.pattern.row_norms().masked_fill(self.center, 0.0)

    def scaled_norm(self, size: Tensor) -> Tensor:
        """That of the pattern for sizes that vanish on the center."""
        return self.pattern.scaled_norm(finite_product(size, (~self.center).to(size.dtype)))

    def without(self, center: Tensor) -> CenteredPattern:
        """A larger center."""
        return CenteredPattern(self.pattern, self.center | center.to(self.center.device))

    def tied(self) -> CenteredPattern:
        """A symmetric pattern around the center joined with its mirror image."""
        return CenteredPattern(self.pattern.tied(), self.center | mirrored(self.center))


def center_block(shape: Sequence[int], size: Sequence[int]) -> Tensor:
    """The ``size`` lowest frequencies of every axis, True, on a grid without shift.

    For an even number of frequencies of an axis, there is one more negative than positive one, as in ``fftshift`` of a
    block in the middle.

    Args:
        shape: (H, W) or (n,).
        size: frequencies along each axis, 0 to the whole axis.

    Raises:
        ValueError: if a size is out of range.
    """
    if len(size) != len(shape) or any(not 0 <= m <= n for m, n in zip(size, shape, strict=True)):
        raise ValueError(f"size: found {tuple(size)}, expected numbers from 0 to those of the shape {tuple(shape)}")
    out = torch.ones(tuple(shape), dtype=torch.bool)
    for axis, (m, n) in enumerate(zip(size, shape, strict=True)):
        low = torch.roll(torch.arange(n) < m, -(m // 2))
        out &= low.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return out


def center_lines(shape: tuple[int, int], count: int, axis: int = 1) -> Tensor:
    """The ``count`` lines of lowest frequency: rows for ``axis=0``, columns for ``axis=1``."""
    size = list(shape)
    size[axis] = count
    return center_block(shape, size)
