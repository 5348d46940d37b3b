"""DICOM images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import Size, existing
from bilearn.mri.io.optional import require
from bilearn.mri.io.size import prepared


def read_dicom(path: str | Path, size: Size = None, scale: float | None = None) -> Tensor:
    """The frames of one DICOM file, as magnitudes with imaginary part 0.

    Stored numbers are taken as they are (for MR the rescale slope only changes units); MONOCHROME1 is inverted, so that
    bright is large.

    Args:
        path: the file.
        size: pad or crop to this many pixels.
        scale: divide by this; None: by the largest number of the file.

    Returns:
        (N, 2, H, W) float64.

    Raises:
        DataError: file missing or no DICOM image, color, a compression without decoder, pydicom not installed.
    """
    file = existing(path)
    pydicom = require("pydicom", f"{file}: a DICOM file")
    try:
        dataset = pydicom.dcmread(file)
        pixels = dataset.pixel_array
    except (
        pydicom.errors.InvalidDicomError,
        OSError,
        AttributeError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(
            f"{file}: cannot be read as a DICOM image ({error}); expected a file with gray pixels"
        ) from error
    if dataset.SamplesPerPixel != 1:
        raise DataError(f"{file}: found {dataset.SamplesPerPixel} colors a pixel, expected a gray image")
    frames = pixels.reshape(-1, *pixels.shape[-2:]).astype(np.float64)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        frames = frames.max() - frames
    return prepared(torch.from_numpy(np.stack((frames, np.zeros_like(frames)), 1)), size, scale, str(file))
