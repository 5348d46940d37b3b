"""Masks as ``.npy`` with a ``.json`` beside it, as ``.mat``, and as fastMRI-style HDF5."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import matlab_fields
from bilearn.mri.io.conventions import CONVENTIONS, Convention
from bilearn.mri.io.mask_common import from_lines, line_axis, refuse_existing, write_bytes
from bilearn.mri.io.optional import require


def sidecar(path: Path) -> Path:
    """The file that says what a ``.npy`` mask means."""
    return path.with_name(path.name + ".json")


def write_npy(mask: Tensor, path: Path, convention: Convention, overwrite: bool) -> None:
    """(H, W) bool, and its record as JSON in a file of the same name with ``.json`` appended."""
    refuse_existing(sidecar(path), overwrite)
    buffer = io.BytesIO()
    np.save(buffer, mask.numpy())
    write_bytes(path, buffer.getbuffer(), overwrite)
    write_bytes(sidecar(path), json.dumps(_record(mask, convention), indent=2).encode() + b"\n", overwrite)


def read_npy(path: Path, convention: Convention | None) -> tuple[Tensor, Convention]:
    """Mask as stored, and its convention."""
    try:
        mask = torch.from_numpy(np.load(path, allow_pickle=False))
        record = json.loads(sidecar(path).read_text()) if sidecar(path).is_file() else {}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error}); replace the file") from error
    return mask, _stated(path, record.get("convention"), convention)


def write_mat(mask: Tensor, path: Path, convention: Convention, overwrite: bool) -> None:
    """MATLAB 5 file: ``mask`` (H, W) uint8 and the fields of its record."""
    buffer = io.BytesIO()
    require("scipy.io", f"{path}: a MATLAB file").savemat(
        buffer, {"mask": mask.numpy().astype(np.uint8), **_record(mask, convention)}, do_compression=True
    )
    write_bytes(path, buffer.getbuffer(), overwrite)


def read_mat(path: Path, convention: Convention | None) -> tuple[Tensor, Convention]:
    """Mask as stored, and its convention."""
    contents = matlab_fields(path)
    if "mask" not in contents:
        found = ", ".join(sorted(contents)) or "nothing"
        raise DataError(f"{path}: found {found}, expected a field 'mask'")
    stated = contents.get("convention")
    return torch.from_numpy(contents["mask"]), _stated(
        path, None if stated is None else str(np.squeeze(stated)), convention
    )


def write_fastmri(mask: Tensor, path: Path, convention: Convention, overwrite: bool) -> None:
    """HDF5 data set ``mask`` as fastMRI's test files have it: float32 (W,) for columns; (H, W) for any other mask."""
    h5py = require("h5py", f"{path}: a fastMRI-style file")
    buffer = io.BytesIO()
    columns = line_axis(mask) == 1
    with h5py.File(buffer, "w") as file:
        data = file.create_dataset("mask", data=(mask[0] if columns else mask).numpy().astype(np.float32))
        for owner in (file, data):
            owner.attrs.update(_record(mask, convention))
    write_bytes(path, buffer.getbuffer(), overwrite)


def read_fastmri_mask(path: Path, convention: Convention | None) -> tuple[Tensor, Convention]:
    """Mask as stored (expanded to (H, W)), and its convention: centered unless the file says otherwise."""
    h5py = require("h5py", f"{path}: a fastMRI-style file")
    try:
        with h5py.File(path, "r") as file:
            if "mask" not in file:
                found = ", ".join(sorted(file)) or "nothing"
                raise DataError(f"{path}: found {found}, expected a data set 'mask'")
            mask = torch.from_numpy(np.asarray(file["mask"]))
            attributes = dict(file["mask"].attrs)
            rows = int(attributes["shape"][0]) if "shape" in attributes else None
            if rows is None and "kspace" in file:
                rows = int(file["kspace"].shape[-2])
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5 ({error}); replace the file") from error
    if mask.ndim == 1 and rows is None:
        raise DataError(
            f"{path}: mask has one dimension, and neither an attribute 'shape' nor 'kspace' says how many rows it stands for; "
            "add the attribute shape = (H, W) to the data set"
        )
    if mask.ndim == 1:
        mask = from_lines(torch.nonzero(mask)[:, 0].tolist(), (int(rows or 0), mask.shape[0]), 1)
    return mask, _stated(path, attributes.get("convention", "centered"), convention)


def _record(mask: Tensor, convention: Convention) -> dict[str, Any]:
    axis = line_axis(mask)
    return {
        "convention": convention,
        "zero_frequency": [0, 0] if convention == "unshifted" else [n // 2 for n in mask.shape],
        "shape": list(mask.shape),
        "samples": int(mask.sum()),
        "rate": float(mask.double().mean()),
        "lines": "none" if axis is None else ("rows", "columns")[axis],
        "written_by": "bilearn",
    }


def _stated(path: Path, stated: str | None, asked: Convention | None) -> Convention:
    """The convention that file and caller agree on."""
    for convention in CONVENTIONS:
        if convention == stated:
            if asked not in (None, convention):
                raise DataError(f"{path}: the file says it is {stated}, convention is {asked}; leave convention out")
            return convention
    if asked is None:
        raise DataError(
            f"{path}: does not say where the zero frequency is; "
            "set convention to 'centered' (in the middle) or 'unshifted' ([0, 0])"
        )
    return asked
