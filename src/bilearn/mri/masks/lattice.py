"""The cells a mask chooses from: single points of k-space, whole rows or whole columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

#: What is sampled together: a point, a row k[i, :] or a column k[:, j].
Unit = Literal["points", "rows", "columns"]


@dataclass(frozen=True)
class Lattice:
    """The cells of k-space on a grid, as a small grid of their own: H x W points, H x 1 rows or 1 x W columns.

    K-space is not shifted: the zero frequency is the entry [0, 0]. Arrays over cells are flat, in row-major order.

    Args:
        shape: height and width of k-space.
        unit: what is sampled together.

    Raises:
        ValueError: an empty shape or an unknown unit.
    """

    shape: tuple[int, int]
    unit: Unit = "points"

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f"shape: found {self.shape}, expected height and width of k-space, both at least 1")
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit: found {self.unit!r}, expected one of {get_args(Unit)}")

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the grid of cells."""
        height, width = self.shape
        return (1 if self.unit == "columns" else height, 1 if self.unit == "rows" else width)

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.sides[0] * self.sides[1]

    @property
    def samples_per_cell(self) -> int:
        """Samples of k-space in one cell."""
        return self.shape[0] * self.shape[1] // self.size

    def sample_count(self, rate: float) -> int:
        """The number of samples nearest to ``rate`` times all of them that whole cells can have (halves round up).

        Raises:
            ValueError: a rate outside [0, 1].
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate: found {rate}, expected a share of all samples between 0 and 1, such as 0.25")
        return math.floor(rate * self.size + 0.5) * self.samples_per_cell

    def cell_count(self, count: int) -> int:
        """Cells that have ``count`` samples.

        Raises:
            ValueError: more samples than there are, fewer than none, or not a number of whole cells.
        """
        cells, rest = divmod(count, self.samples_per_cell)
        if not 0 <= count <= self.shape[0] * self.shape[1]:
            raise ValueError(f"count: found {count}, expected 0 to {self.shape[0] * self.shape[1]} samples")
        if rest:
            raise ValueError(
                f"count: found {count} samples, expected a multiple of {self.samples_per_cell}, the samples of one of the "
                f"{self.unit}; sample_count(shape, rate, {self.unit!r}) gives one"
            )
        return cells

    def indices(self) -> Tensor:
        """(cells, 2) signed integer frequencies, from -floor(n/2) to ceil(n/2) - 1 along each side of n cells."""
        axes = [torch.fft.ifftshift(torch.arange(n) - n // 2) for n in self.sides]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)

    def frequencies(self) -> Tensor:
        """(cells, 2) frequencies in cycles per pixel, in [-1/2, 1/2), float64; 0 along a side of one cell."""
        return self.indices() / torch.tensor(self.sides, dtype=torch.float64)

    def radius(self) -> Tensor:
        """(cells,) twice the distance from the zero frequency in cycles per pixel: 1 at the edge, sqrt 2 in a corner."""
        return 2 * torch.linalg.vector_norm(self.frequencies(), dim=1)

    def center(self, side: int) -> Tensor:
        """(cells,) whether a cell is in the block of ``side`` cells (``side`` x ``side`` points) around the zero frequency.

        Raises:
            ValueError: a negative side.
        """
        if side < 0:
            raise ValueError(f"center: found {side}, expected a number of cells along each side, 0 for none")
        indices = self.indices()
        return ((indices >= -(side // 2)) & (indices < side - side // 2)).all(1)

    def mask(self, chosen: Tensor) -> Tensor:
        """(H, W) boolean mask of the flat indices or flags ``chosen``."""
        flags = chosen
        if chosen.dtype != torch.bool:
            flags = torch.zeros(self.size, dtype=torch.bool)
            flags[chosen] = True
        return flags.reshape(self.sides).expand(self.shape).clone()

    def cells_of(self, mask: Tensor) -> Tensor:
        """(cells,) flags of a mask (H, W) of whole cells.

        Raises:
            ValueError: another shape or dtype, or a cell that is sampled in part.
        """
        if mask.dtype != torch.bool or tuple(mask.shape) != tuple(self.shape):
            raise ValueError(
                f"mask: found {mask.dtype} of shape {tuple(mask.shape)}, expected torch.bool of shape {tuple(self.shape)}"
            )
        height, width = self.sides
        flags = mask.cpu()[:height, :width].reshape(-1)
        if not torch.equal(self.mask(flags), mask.cpu()):
            raise ValueError(f"mask: found {self.unit} that are sampled in part, expected all or nothing of each")
        return flags

    def center_and_rest(self, count: int, center: int) -> tuple[Tensor, int]:
        """Flags of the fully sampled center, and how many cells are left to choose.

        Raises:
            ValueError: a center that alone has more than ``count`` samples, or what :meth:`cell_count` raises.
        """
        cells, inside = self.cell_count(count), self.center(center)
        rest = cells - int(inside.sum())
        if rest < 0:
            raise ValueError(
                f"center: found {int(inside.sum())} {self.unit} in the fully sampled center, expected at most the {cells} "
                "that are asked for; make the center smaller or the rate larger"
            )
        return inside, rest


def sample_count(shape: tuple[int, int], rate: float, unit: Unit = "points") -> int:
    """The number of samples of a mask at a rate: round(rate H W) points, or the samples of the nearest number of lines.

    Args:
        shape: height and width of k-space.
        rate: share of all samples, 0 to 1.
        unit: what is sampled together.

    Raises:
        ValueError: a rate outside [0, 1], an empty shape or an unknown unit.
    """
    return Lattice(shape, unit).sample_count(rate)
