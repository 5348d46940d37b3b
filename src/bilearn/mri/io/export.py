"""Masks to files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import existing
from bilearn.mri.io.conventions import CONVENTIONS, Convention, center_mask, unshift_mask
from bilearn.mri.io.mask_arrays import read_fastmri_mask, read_mat, read_npy, write_fastmri, write_mat, write_npy
from bilearn.mri.io.mask_common import binary_mask, refuse_existing
from bilearn.mri.io.mask_ismrmrd import read_ismrmrd_mask, write_ismrmrd
from bilearn.mri.io.mask_pulseq import read_pulseq_mask, write_pulseq
from bilearn.mri.io.optional import require
from bilearn.mri.io.pulseq_sequence import SequenceSettings

MaskFormat = Literal["npy", "mat", "fastmri", "ismrmrd", "pulseq"]

#: Formats and the suffixes by which they are recognized.
MASK_FORMATS: dict[MaskFormat, tuple[str, ...]] = {
    "npy": (".npy",),
    "mat": (".mat",),
    "fastmri": (".h5", ".hdf5"),
    "ismrmrd": (".mrd", ".h5", ".hdf5"),
    "pulseq": (".seq",),
}


def export_mask(
    mask: Tensor,
    path: str | Path,
    format: MaskFormat | None = None,
    convention: Convention = "centered",
    settings: SequenceSettings | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a binary mask to a file that other tools read; the file appears at once or not at all.

    ===========  ==========  ==================================================================================
    format       suffix      contents
    ===========  ==========  ==================================================================================
    ``npy``      .npy        (H, W) bool; its record in ``<name>.npy.json``
    ``mat``      .mat        ``mask`` (H, W) uint8, and the fields of the record
    ``fastmri``  .h5, .hdf5  centered ``mask``, float32: (W,) for columns, else (H, W); the record as attributes
    ``ismrmrd``  .mrd, .h5   lines only, centered: XML header, one empty acquisition for every line
    ``pulseq``   .seq        lines only, centered: spoiled gradient echo that acquires them
    ===========  ==========  ==================================================================================

    The record: ``convention``, ``zero_frequency`` (index), ``shape``, ``samples``, ``rate``, ``lines`` (rows, columns, none).

    Args:
        mask: (H, W) of 0 and 1, any dtype, *unshifted*: [0, 0] is the zero frequency.
        path: the file; its folder is created.
        format: see above; None: by the suffix (``.h5`` is fastMRI).
        convention: where the file has the zero frequency; only ``npy`` and ``mat`` can be ``"unshifted"``.
        settings: geometry and timing for ``pulseq`` and ``ismrmrd``.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        DataError: mask not (H, W) of 0 and 1 with a sample, unknown format or suffix, a mask without complete lines where lines
            are needed, a convention the format cannot have, a file that exists, limits of the scanner, or a missing package.
    """
    target = Path(path).expanduser()
    kind = _format(target, format)
    if convention not in CONVENTIONS:
        raise DataError(f"convention: found '{convention}', expected 'centered' or 'unshifted'")
    if convention == "unshifted" and kind not in ("npy", "mat"):
        raise DataError(f"convention: files of format {kind} are centered; set convention = 'centered'")
    selected = binary_mask(mask)
    stored = center_mask(selected) if convention == "centered" else selected
    refuse_existing(target, overwrite)
    chosen = SequenceSettings() if settings is None else settings
    if kind == "npy":
        write_npy(stored, target, convention, overwrite)
    elif kind == "mat":
        write_mat(stored, target, convention, overwrite)
    elif kind == "fastmri":
        write_fastmri(stored, target, convention, overwrite)
    elif kind == "ismrmrd":
        write_ismrmrd(stored, target, chosen, overwrite)
    else:
        write_pulseq(stored, target, chosen, overwrite)
    return target


def read_mask(path: str | Path, convention: Convention | None = None) -> Tensor:
    """Read a mask that :func:`export_mask` wrote, or one of another tool.

    Args:
        path: ``.npy``, ``.mat``, ``.h5``, ``.hdf5``, ``.mrd`` or ``.seq``; HDF5 files are recognized by their contents.
        convention: of a file that does not say (``.npy`` and ``.mat`` of other tools). fastMRI files are centered.

    Returns:
        (H, W) bool, unshifted: [0, 0] is the zero frequency.

    Raises:
        DataError: file missing, unreadable, of unknown kind, without a mask, without a convention, or not binary.
    """
    file = existing(path)
    suffix = file.suffix.lower()
    stated: Convention = "centered"
    if suffix == ".npy":
        mask, stated = read_npy(file, convention)
    elif suffix == ".mat":
        mask, stated = read_mat(file, convention)
    elif suffix == ".seq":
        mask = read_pulseq_mask(file)
    elif suffix in (".h5", ".hdf5", ".mrd"):
        if _is_ismrmrd(file):
            mask = read_ismrmrd_mask(file)
        else:
            mask, stated = read_fastmri_mask(file, convention)
    else:
        raise DataError(f"{file}: found suffix '{file.suffix}', expected one of {_suffixes()}")
    selected = binary_mask(mask, str(file))
    return unshift_mask(selected) if stated == "centered" else selected


def _format(target: Path, format: MaskFormat | None) -> MaskFormat:
    suffix = target.suffix.lower()
    if format is not None:
        if format not in MASK_FORMATS:
            raise DataError(f"format: found '{format}', expected one of {', '.join(MASK_FORMATS)}")
        if suffix not in MASK_FORMATS[format]:
            raise DataError(
                f"{target}: found suffix '{target.suffix}', expected {' or '.join(MASK_FORMATS[format])} for {format}"
            )
        return format
    for kind, suffixes in MASK_FORMATS.items():
        if suffix in suffixes:
            return kind
    raise DataError(f"{target}: found suffix '{target.suffix}', expected one of {_suffixes()}, or set format")


def _is_ismrmrd(file: Path) -> bool:
    h5py = require("h5py", f"{file}: an HDF5 file")
    try:
        with h5py.File(file, "r") as opened:
            return "dataset" in opened and "mask" not in opened
    except OSError as error:
        raise DataError(f"{file}: cannot be read as HDF5 ({error}); replace the file") from error


def _suffixes() -> str:
    return ", ".join(dict.fromkeys(s for suffixes in MASK_FORMATS.values() for s in suffixes))
