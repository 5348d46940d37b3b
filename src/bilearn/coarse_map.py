"""Maps on an image that are given by few numbers on a coarse grid."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

#: How a map is made from the numbers on the grid.
Filling = Literal["linear", "patches"]


class CoarseMap(nn.Module):
    """A map U c of ``size`` pixels from coarse numbers c, each pixel a weighted mean of its neighbors on the grid.

    The grid divides the image into cells of equal size. 'patches' gives every pixel the number of the cell it lies in,
    'linear' interpolates between the centers of the cells and continues by constants. Rows of U are nonnegative and sum
    to 1, so that bounds of c are bounds of U c, and constants are exact. The map of a learnable number is taken in its
    coordinate: a :class:`~bilearn.parameters.Log10` number is interpolated geometrically.

    Args:
        values: (..., h, w) natural values on the grid for images, (..., n) for signals.
        size: (H, W) or (N,), pixels.
        filling: 'linear' or 'patches'.

    Raises:
        ValueError: a grid with more numbers than pixels along an axis or too few axes, or an unknown filling.
    """

    def __init__(self, values: Tensor, size: tuple[int, ...], filling: Filling = "linear") -> None:
        super().__init__()
        cells = tuple(values.shape[-len(size) :])
        if len(size) not in (1, 2) or len(cells) != len(size):
            raise ValueError(
                f"size: found {tuple(size)} for values of shape {tuple(values.shape)}, expected one number per image axis"
            )
        if any(cell > pixels or cell < 1 for cell, pixels in zip(cells, size, strict=True)):
            raise ValueError(f"values: found a grid of {cells}, expected between 1 and {tuple(size)} numbers per axis")
        if filling not in ("linear", "patches"):
            raise ValueError(f"filling: found {filling!r}, expected 'linear' or 'patches'")
        self.values: Tensor
        self.register_buffer("values", values.detach().double().clone(), persistent=False)
        self.size, self.cells, self.filling = tuple(size), cells, filling
        for axis, (pixels, count) in enumerate(zip(size, cells, strict=True)):
            matrix = _weights(pixels, count, filling)
            self.register_buffer(f"weights{axis}", matrix, persistent=False)
            self.register_buffer(f"inverse{axis}", torch.linalg.pinv(matrix), persistent=False)

    def _along(self, name: str, x: Tensor, transpose: bool = False) -> Tensor:
        for axis in range(len(self.size)):
            matrix = self.get_buffer(f"{name}{axis}").to(x.dtype)
            place = axis - len(self.size)
            x = (x.movedim(place, -1) @ (matrix if transpose else matrix.T)).movedim(-1, place)
        return x

    def forward(self, coarse: Tensor) -> Tensor:
        """U c, (..., H, W); differentiable."""
        return self._along("weights", coarse)

    def restrict(self, full: Tensor) -> Tensor:
        """The c with the least squared difference between U c and ``full``."""
        return self._along("inverse", full)

    def collect(self, x: Tensor) -> Tensor:
        """U' x, (..., h, w)."""
        return self._along("weights", x, transpose=True)


def _weights(pixels: int, count: int, filling: Filling) -> Tensor:
    """(pixels, count) matrix of one axis."""
    place = (torch.arange(pixels, dtype=torch.float64) + 0.5) * count / pixels
    if filling == "patches":
        return nn.functional.one_hot(place.long().clamp(max=count - 1), count).double()
    centers = torch.arange(count, dtype=torch.float64) + 0.5
    inside = place.clamp(0.5, count - 0.5)
    return (1 - (inside[:, None] - centers).abs()).clamp(min=0.0)
