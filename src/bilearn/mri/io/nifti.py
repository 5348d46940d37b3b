"""Slices of NIfTI volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import Size, existing
from bilearn.mri.io.optional import require
from bilearn.mri.io.size import prepared

#: Axes of a volume in the orientation right-anterior-superior, by the name of the slices across them.
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}


def read_nifti_slices(
    path: str | Path,
    axis: int | str = "axial",
    indices: Sequence[int] | None = None,
    size: Size = None,
    volume: int = 0,
    scale: float | None = None,
) -> Tensor:
    """Slices of a volume (``.nii``, ``.nii.gz``), turned so that they are looked at upright.

    The volume is first brought to the closest right-anterior-superior orientation by permuting and flipping axes, nothing
    is interpolated. Rows of a slice then run from superior to inferior (sagittal, coronal) or anterior to posterior (axial),
    columns from left to right or posterior to anterior (sagittal).

    Args:
        path: the file.
        axis: ``"sagittal"``, ``"coronal"``, ``"axial"`` or 0, 1, 2 in that order.
        indices: slices along the axis after reorientation; None for all.
        size: pad or crop to this many pixels.
        volume: which volume of a series.
        scale: divide by this; None: by the largest magnitude of the volume, so that its slices keep their relative brightness.

    Returns:
        (N, 2, H, W) float64; imaginary part 0 unless the file is complex.

    Raises:
        DataError: file missing or unreadable, axis, slice or volume that does not exist, nibabel not installed.
    """
    file = existing(path)
    number = PLANES.get(axis, -1) if isinstance(axis, str) else axis
    if number not in (0, 1, 2):
        raise DataError(f"axis: found {axis!r}, expected 'sagittal', 'coronal', 'axial' or 0, 1, 2")
    nibabel = require("nibabel", f"{file}: a NIfTI file")
    try:
        image = nibabel.as_closest_canonical(nibabel.load(file))
        array = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise DataError(f"{file}: cannot be read as NIfTI ({error}); replace the file") from error
    if array.ndim == 4:
        if not 0 <= volume < array.shape[3]:
            raise DataError(f"{file}: volume {volume} does not exist, expected 0 to {array.shape[3] - 1}")
        array = array[..., volume]
    if array.ndim != 3:
        raise DataError(
            f"{file}: found an array of shape {array.shape}, expected a volume (x, y, z) or a series of them"
        )
    count = array.shape[number]
    chosen = range(count) if indices is None else indices
    for index in chosen:
        if not 0 <= index < count:
            raise DataError(f"{file}: slice {index} does not exist, expected 0 to {count - 1} along axis {number}")
    slices = np.stack([np.rot90(np.moveaxis(array, number, 0)[index]) for index in chosen])
    channels = torch.from_numpy(np.stack((np.real(slices), np.imag(slices)), 1).astype(np.float64))
    peak = float(np.abs(array).max()) or None if scale is None else scale
    return prepared(channels, size, peak, str(file))
