"""What every mask format needs: a checked binary mask, its lines, and a file written at once."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bilearn._files import replacing
from bilearn.data.images import DataError


def binary_mask(mask: Tensor, name: str = "mask") -> Tensor:
    """(H, W) bool on the CPU.

    Raises:
        DataError: another shape, entries other than 0 and 1, or no sample.
    """
    if mask.ndim != 2:
        raise DataError(f"{name}: found shape {tuple(mask.shape)}, expected (H, W)")
    mask = mask.detach().cpu()
    selected = mask != 0
    if not bool(((mask == 0) | (mask == 1)).all()):
        between = int(((mask != 0) & (mask != 1)).sum())
        raise DataError(
            f"{name}: found {between} entries other than 0 and 1, expected a binary mask; round the pattern first"
        )
    if not bool(selected.any()):
        raise DataError(f"{name}: found no sample, expected at least one")
    return selected


def line_axis(mask: Tensor) -> int | None:
    """The axis along which lines are counted (phase encoding); None if the mask is not made of complete lines.

    1 if all rows are equal, so that lines are columns (as in fastMRI; also for a full mask); 0 if all columns are.
    """
    if bool((mask == mask[:1]).all()):
        return 1
    if bool((mask == mask[:, :1]).all()):
        return 0
    return None


def selected_lines(mask: Tensor, name: str) -> tuple[int, list[int]]:
    """Phase-encoding axis and indices of the lines of a mask.

    Raises:
        DataError: if the mask is not made of complete lines.
    """
    axis = line_axis(mask)
    if axis is None:
        raise DataError(
            f"{name}: holds Cartesian lines only, and this mask is not made of complete rows or columns; "
            "choose the format npy, mat or fastmri"
        )
    return axis, torch.nonzero(mask[0] if axis == 1 else mask[:, 0])[:, 0].tolist()


def from_lines(lines: list[int], shape: tuple[int, int], axis: int) -> Tensor:
    """(H, W) bool with the given rows (``axis`` 0) or columns (``axis`` 1)."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.index_fill_(axis, torch.tensor(lines, dtype=torch.long), True)
    return mask


def write_bytes(target: Path, content: bytes | memoryview, overwrite: bool) -> None:
    """Write a whole file atomically.

    Raises:
        DataError: if the file exists and must not be replaced.
    """
    refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        file.write(content)


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Stop before any work if the file is there already.

    Raises:
        DataError: if the file exists and must not be replaced.
    """
    if target.exists() and not overwrite:
        raise DataError(f"{target}: exists already; choose another name, or set overwrite = true to replace it")
