"""fastMRI HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import existing
from bilearn.mri.io.conventions import center_kspace, unshift_kspace, unshift_mask
from bilearn.mri.io.header import parse_header
from bilearn.mri.io.optional import require
from bilearn.mri.io.raw import RawData
from bilearn.mri.io.size import pad_or_crop

Crop = Literal["none", "readout", "reconstruction"]


def read_fastmri(path: str | Path, slices: Sequence[int] | None = None, crop: Crop = "none") -> RawData:
    """Read k-space, mask, header and reference reconstruction of a fastMRI file.

    The file stores ``kspace`` (slices, [coils,] readout, phase) complex64, centered. Its readout is oversampled: 640 rows
    for an image of 320. The surplus is field of view, not resolution, so cropping happens in the image, never in k-space:

    ==================  =========================================================================================
    ``crop``            effect
    ==================  =========================================================================================
    ``none``            the grid as measured
    ``readout``         rows cropped to the reconstruction size; columns, and with them the mask, stay
    ``reconstruction``  rows and columns cropped; only for fully sampled files, since columns of k-space are mixed
    ==================  =========================================================================================

    The size is that of ``reconSpace`` in the header, at most that of the data.

    Args:
        path: the file.
        slices: which slices; None for all.
        crop: see above.

    Raises:
        DataError: file missing, no HDF5, no ``kspace``, a wrong shape, a missing slice, a header that is needed and
            missing, an undersampled file to be cropped along columns, or h5py not installed.
    """
    file = existing(path)
    if crop not in ("none", "readout", "reconstruction"):
        raise DataError(f"crop: found '{crop}', expected 'none', 'readout' or 'reconstruction'")
    h5py = require("h5py", f"{file}: a fastMRI file")
    try:
        with h5py.File(file, "r") as opened:
            return _read(opened, file, slices, crop)
    except OSError as error:
        raise DataError(f"{file}: cannot be read as HDF5 ({error}); expected a fastMRI file") from error


def _read(opened: Any, file: Path, slices: Sequence[int] | None, crop: Crop) -> RawData:
    if "kspace" not in opened:
        found = ", ".join(sorted(opened)) or "nothing"
        raise DataError(f"{file}: found {found}, expected a data set 'kspace' as in fastMRI files")
    stored = opened["kspace"]
    if stored.ndim not in (3, 4) or stored.dtype.kind != "c":
        raise DataError(
            f"{file}: kspace has shape {stored.shape} and type {stored.dtype}, expected complex numbers of shape "
            "(slices, readout, phase) or (slices, coils, readout, phase)"
        )
    chosen = list(range(stored.shape[0])) if slices is None else list(slices)
    for index in chosen:
        if not 0 <= index < stored.shape[0]:
            raise DataError(f"{file}: slice {index} does not exist, expected 0 to {stored.shape[0] - 1}")
    data = np.stack([stored[index] for index in chosen]) if chosen else np.empty((0, *stored.shape[1:]), stored.dtype)
    kspace = torch.from_numpy(data)
    kspace = kspace[:, None] if kspace.ndim == 3 else kspace
    mask = _mask(opened, file, stored.shape[-1])
    if crop != "none":
        kspace = _cropped(kspace, opened, file, crop, mask is not None)
    rows = kspace.shape[-2]
    names = [name for name in ("reconstruction_esc", "reconstruction_rss") if name in opened]
    reference = torch.from_numpy(np.stack([opened[names[0]][i] for i in chosen])) if names and chosen else None
    return RawData(
        unshift_kspace(kspace),
        None if mask is None else unshift_mask(mask.expand(rows, -1)).clone(),
        reference,
        {key: value for key, value in ((k, _plain(v)) for k, v in opened.attrs.items()) if value is not None},
    )


def _mask(opened: Any, file: Path, columns: int) -> Tensor | None:
    if "mask" not in opened:
        return None
    mask = np.asarray(opened["mask"])
    if mask.shape != (columns,):
        raise DataError(
            f"{file}: mask has shape {mask.shape}, expected ({columns},), one number for every column of kspace"
        )
    return torch.from_numpy(mask != 0)


def _cropped(kspace: Tensor, opened: Any, file: Path, crop: Crop, undersampled: bool) -> Tensor:
    """Centered k-space of the cropped image."""
    if crop == "reconstruction" and undersampled:
        raise DataError(
            f"{file}: the file is undersampled, and cropping columns would mix sampled and missing ones; use crop = 'readout'"
        )
    if "ismrmrd_header" not in opened:
        raise DataError(f"{file}: has no ismrmrd_header, from which crop = '{crop}' takes the size; use crop = 'none'")
    rows, columns = parse_header(opened["ismrmrd_header"][()], str(file)).reconstructed
    rows = min(rows, kspace.shape[-2])
    columns = min(columns, kspace.shape[-1]) if crop == "reconstruction" else kspace.shape[-1]
    images = torch.fft.ifft2(unshift_kspace(kspace), norm="ortho")
    return center_kspace(torch.fft.fft2(pad_or_crop(images, (rows, columns)), norm="ortho"))


def _plain(value: Any) -> str | int | float | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode()
    return value if isinstance(value, str | int | float) else None
