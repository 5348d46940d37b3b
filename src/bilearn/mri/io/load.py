"""One entry for images from a built-in set or any file that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import Size, existing, read_images
from bilearn.mri.io.built_in import mri_image_names, mri_images
from bilearn.mri.io.dicom import read_dicom
from bilearn.mri.io.fastmri import read_fastmri
from bilearn.mri.io.ismrmrd_file import read_ismrmrd
from bilearn.mri.io.nifti import read_nifti_slices
from bilearn.mri.io.optional import require
from bilearn.mri.io.raw import RawData
from bilearn.mri.io.size import prepared

_ARRAYS = (".npy", ".npz", ".mat")
_HDF5 = (".h5", ".hdf5", ".mrd")
_KINDS = "NIfTI (.nii, .nii.gz), DICOM (.dcm, .ima), arrays (.npy, .npz, .mat), fastMRI or ISMRMRD (.h5, .hdf5, .mrd)"


def load_images(
    name_or_path: str | Path,
    size: Size = None,
    axis: int | str = "axial",
    indices: Sequence[int] | None = None,
    field: str | None = None,
    scale: float | None = None,
) -> Tensor:
    """Complex images by the name of a built-in set or from a file.

    ====================================  ================================================================================
    given                                 read by
    ====================================  ================================================================================
    a name of :func:`mri_image_names`     :func:`mri_images`
    ``.nii``, ``.nii.gz``                 :func:`read_nifti_slices` with ``axis`` and ``indices``
    ``.dcm``, ``.ima``, a DICOM preamble  :func:`read_dicom`
    ``.npy``, ``.npz``, ``.mat``          :func:`read_images` with ``field``
    ``.h5``, ``.hdf5``, ``.mrd``          fully sampled fastMRI (readout cropped) or ISMRMRD; several coils: root sum of
                                          squares, imaginary part 0
    ====================================  ================================================================================

    Args:
        name_or_path: a name or a file; a name wins over a file of the same name.
        size: pad or crop to this many pixels.
        axis: slices of a NIfTI volume.
        indices: which images (slices) of the set or file; None for all.
        field: name of the array in ``.npz`` and ``.mat``.
        scale: divide by this; None: by the largest magnitude of the file.

    Returns:
        (N, 2, H, W) float64.

    Raises:
        DataError: neither a name nor a file, a file of unknown kind, undersampled k-space, or what the reader says.
    """
    if str(name_or_path) in mri_image_names():
        images = mri_images(str(name_or_path), size)
        return prepared(
            _chosen(images, indices, str(name_or_path)), None, 1.0 if scale is None else scale, str(name_or_path)
        )
    path = Path(name_or_path).expanduser()
    if not path.exists():
        names = ", ".join(mri_image_names())
        raise DataError(
            f"{name_or_path}: neither a file nor a built-in set; expected a file of {_KINDS}, or one of {names}"
        )
    file = existing(path)
    name = file.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return read_nifti_slices(file, axis, indices, size, scale=scale)
    if name.endswith(_ARRAYS):
        return _chosen(read_images(file, field, size, scale), indices, str(file))
    if name.endswith(_HDF5):
        images = _raw_images(file)
        return _chosen(prepared(images, size, scale, str(file)), indices, str(file))
    if name.endswith((".dcm", ".ima")) or _has_dicom_preamble(file):
        return _chosen(read_dicom(file, size, scale), indices, str(file))
    raise DataError(f"{file}: found a file of unknown kind '{file.suffix}', expected {_KINDS}")


def read_raw(name_or_path: str | Path) -> RawData:
    """K-space of a fastMRI file (readout cropped where its header says how) or an ISMRMRD file.

    Raises:
        DataError: file missing, of another kind, or what the reader says.
    """
    file = existing(Path(name_or_path).expanduser())
    h5py = require("h5py", f"{file}: an HDF5 file")
    try:
        with h5py.File(file, "r") as opened:
            keys = set(opened)
            has_header = "ismrmrd_header" in keys
    except OSError as error:
        raise DataError(f"{file}: cannot be read as HDF5 ({error}); replace the file") from error
    if "kspace" in keys:
        return read_fastmri(file, crop="readout" if has_header else "none")
    if "dataset" in keys:
        return read_ismrmrd(file)
    found = ", ".join(sorted(keys)) or "nothing"
    raise DataError(f"{file}: found {found}, expected 'kspace' (fastMRI) or 'dataset' (ISMRMRD)")


def _raw_images(file: Path) -> Tensor:
    raw = read_raw(file)
    if raw.mask is not None:
        raise DataError(
            f"{file}: k-space is undersampled, so there is no image to load; use read_fastmri or read_ismrmrd for the samples"
        )
    return raw.images().double()


def _chosen(images: Tensor, indices: Sequence[int] | None, source: str) -> Tensor:
    if indices is None:
        return images
    for index in indices:
        if not 0 <= index < len(images):
            raise DataError(f"{source}: image {index} does not exist, expected 0 to {len(images) - 1}")
    return images[list(indices)]


def _has_dicom_preamble(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM"
