"""The lowest frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.lattice import Lattice, Unit


def low_pass(shape: tuple[int, int], count: int, *, unit: Unit = "points") -> Tensor:
    """The cells nearest to the zero frequency in cycles per pixel; among equally near ones, those first in storage.

    Masks of growing count are nested.

    Args:
        shape: height and width of k-space.
        count: samples of the mask; see :func:`bilearn.mri.masks.sample_count`.
        unit: points, rows or columns.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: a count that is impossible or not a number of whole lines.
    """
    lattice = Lattice(shape, unit)
    cells = lattice.cell_count(count)
    return lattice.mask(torch.argsort(lattice.radius(), stable=True)[:cells])
