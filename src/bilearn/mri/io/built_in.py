"""MR images that ship inside the wheels of other packages: real images with no download."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import Size, stacked
from bilearn.mri.io.dicom import read_dicom
from bilearn.mri.io.nifti import read_nifti_slices
from bilearn.mri.io.optional import packaged_file
from bilearn.mri.io.size import prepared


@dataclass(frozen=True)
class MRImageSet:
    """A set of images that :func:`mri_images` knows.

    Attributes:
        description: what the images are.
        license: terms as far as the package states them.
        package: module of the wheel that holds the file.
        file: path inside it.
        size: (height, width) of an image as stored.
        read: from the file, (N, 2, H, W) of magnitudes with peak 1 and imaginary part 0.
    """

    description: str
    license: str
    package: str
    file: str
    size: tuple[int, int]
    read: Callable[[Path], Tensor]


def _axial(first: int, last: int, step: int) -> Callable[[Path], Tensor]:
    return lambda file: read_nifti_slices(file, "axial", range(first, last + 1, step))


def _raw_sagittal(file: Path) -> Tensor:
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), dtype=">u2").reshape(256, 256)
    return prepared(stacked(pixels.astype(np.float64), str(file)), None, None, str(file))


def _coronal(file: Path) -> Tensor:
    return prepared(stacked(np.load(file, allow_pickle=False), str(file)), None, None, str(file))


_TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_TEMPLATE_LICENSE = (
    "McGill University: use, copy, modify and distribute without fee, keeping the notice; package BSD-3-Clause"
)
_PYDICOM_LICENSE = "package pydicom-data: MIT"

#: What :func:`mri_images` knows, by name.
MRI_IMAGES: dict[str, MRImageSet] = {
    "brain-train": MRImageSet(
        "41 axial slices, 60 to 140 in steps of 2, of the MNI152 T1 template (skull-stripped average of 152 heads, 1 mm)",
        _TEMPLATE_LICENSE,
        "nilearn",
        _TEMPLATE,
        (233, 197),
        _axial(60, 140, 2),
    ),
    "brain-test": MRImageSet(
        "40 axial slices, 61 to 139 in steps of 2, of the same MNI152 T1 template as brain-train: between the training slices",
        _TEMPLATE_LICENSE,
        "nilearn",
        _TEMPLATE,
        (233, 197),
        _axial(61, 139, 2),
    ),
    "coronal": MRImageSet(
        "one coronal T1 slice of a single person, skull-stripped",
        "package dipy: BSD-3-Clause; provenance of the image not stated",
        "dipy",
        "data/files/t1_coronal_slice.npy",
        (256, 256),
        _coronal,
    ),
    "sagittal": MRImageSet(
        "one sagittal T1 slice of a whole head, a single person",
        "package matplotlib: PSF-style; provenance of the image not stated",
        "matplotlib",
        "mpl-data/sample_data/s1045.ima.gz",
        (256, 256),
        _raw_sagittal,
    ),
    "epi": MRImageSet(
        "16 axial slices, 4 to 19, of an echo-planar scan of a single person, 2 mm",
        "package nibabel: MIT",
        "nibabel",
        "tests/data/example4d.nii.gz",
        (96, 128),
        _axial(4, 19, 1),
    ),
    "shoulder": MRImageSet(
        "one T1 spin-echo image of a shoulder, 1.5 T, 0.195 mm",
        _PYDICOM_LICENSE,
        "data_store",
        "data/MR2_UNCR.dcm",
        (1024, 1024),
        read_dicom,
    ),
    "abdomen": MRImageSet(
        "one axial image of an abdomen, 1.5 T",
        _PYDICOM_LICENSE,
        "data_store",
        "data/MR-SIEMENS-DICOM-WithOverlays.dcm",
        (484, 484),
        read_dicom,
    ),
}

#: Sets of other persons than the template, in the order of :func:`mri_images` ``("subjects-test")``.
SUBJECTS = ("coronal", "sagittal", "epi")


def mri_image_names() -> list[str]:
    """Names accepted by :func:`mri_images`."""
    return sorted((*MRI_IMAGES, "subjects-test"))


def mri_images(name: str, size: Size = 192, count: int | None = None) -> Tensor:
    """MR images out of installed packages (extra ``mri``).

    =================  ======================================================================================  ============
    name               what                                                                                    package
    =================  ======================================================================================  ============
    ``brain-train``    41 axial slices, every second one, of the MNI152 T1 template                            nilearn
    ``brain-test``     the 40 slices between them                                                              nilearn
    ``coronal``        one coronal T1 slice of a single person                                                 dipy
    ``sagittal``       one sagittal T1 slice of a whole head                                                   matplotlib
    ``epi``            16 axial slices of an echo-planar scan of a single person                               nibabel
    ``subjects-test``  ``coronal``, ``sagittal`` and ``epi``: no template, no training slice; needs a size     all three
    ``shoulder``       one T1 image of a shoulder, 1024 x 1024                                                 pydicom-data
    ``abdomen``        one axial image, 484 x 484                                                              pydicom-data
    =================  ======================================================================================  ============

    All are magnitudes (imaginary part 0): add a phase with :func:`smooth_phase` and noise with :func:`simulate_kspace`.
    The slices of ``brain-train`` and ``brain-test`` come from *one* template, an average over 152 heads: it is smooth, has no
    noise, and neighbors resemble each other, so results on ``brain-test`` flatter a pattern; judge on ``subjects-test``.
    Whole volumes share one scale, so that a slice keeps its brightness.

    Licenses: :data:`MRI_IMAGES` holds the terms of every set. The template may be used, copied, modified and distributed
    without fee if McGill University's notice is kept; the others come under their package's license, and dipy and
    matplotlib do not say where their images are from.

    Args:
        name: see above.
        size: pad with zeros or crop to this many pixels; None: as stored.
        count: take this many images, evenly spread over the set; None: all.

    Returns:
        (N, 2, H, W) float64 with magnitudes in [0, 1].

    Raises:
        DataError: unknown name, a package that is not installed, an impossible count, or no size where sizes differ.
    """
    if name == "subjects-test":
        if size is None:
            raise DataError(
                "size: found None for subjects-test, whose images differ in size; expected a number of pixels"
            )
        images = torch.cat([mri_images(part, size) for part in SUBJECTS])
    else:
        images = _set(name, size)
    if count is None:
        return images
    if not 1 <= count <= len(images):
        raise DataError(f"count: found {count}, expected 1 to {len(images)} for {name}")
    chosen = [int((2 * k + 1) * len(images) / (2 * count)) for k in range(count)]
    return images[chosen]


def _set(name: str, size: Size) -> Tensor:
    if name not in MRI_IMAGES:
        raise DataError(f"MR images '{name}': unknown name, expected one of {', '.join(mri_image_names())}")
    known = MRI_IMAGES[name]
    file = packaged_file(known.package, known.file, f"MR images '{name}'")
    return prepared(known.read(file), size, 1.0, name)
