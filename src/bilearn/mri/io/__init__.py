"""MR images and k-space in, sampling masks out: NIfTI, DICOM, arrays, fastMRI, ISMRMRD, Pulseq, deepinv.

The optional packages come with ``pip install "bilearn[mri]"`` and are imported where they are used.
"""

from bilearn.mri.io.arrays import images_from_dataset, read_array, read_images
from bilearn.mri.io.built_in import MRI_IMAGES, MRImageSet, mri_image_names, mri_images
from bilearn.mri.io.conventions import (
    Convention,
    center_kspace,
    center_mask,
    to_channels,
    to_complex,
    unshift_kspace,
    unshift_mask,
)
from bilearn.mri.io.deepinv_physics import as_deepinv_physics
from bilearn.mri.io.dicom import read_dicom
from bilearn.mri.io.espirit import estimate_coil_maps
from bilearn.mri.io.export import MASK_FORMATS, MaskFormat, export_mask, read_mask
from bilearn.mri.io.fastmri import read_fastmri
from bilearn.mri.io.header import EncodingHeader, parse_header
from bilearn.mri.io.ismrmrd_file import read_ismrmrd
from bilearn.mri.io.load import load_images, read_raw
from bilearn.mri.io.mask_common import line_axis
from bilearn.mri.io.nifti import read_nifti_slices
from bilearn.mri.io.pulseq_sequence import SequenceSettings, gradient_echo
from bilearn.mri.io.raw import RawData
from bilearn.mri.io.simulate import simulate_kspace, smooth_phase
from bilearn.mri.io.size import pad_or_crop

__all__ = [
    "MASK_FORMATS",
    "MRI_IMAGES",
    "Convention",
    "EncodingHeader",
    "MRImageSet",
    "MaskFormat",
    "RawData",
    "SequenceSettings",
    "as_deepinv_physics",
    "center_kspace",
    "center_mask",
    "estimate_coil_maps",
    "export_mask",
    "gradient_echo",
    "images_from_dataset",
    "line_axis",
    "load_images",
    "mri_image_names",
    "mri_images",
    "pad_or_crop",
    "parse_header",
    "read_array",
    "read_dicom",
    "read_fastmri",
    "read_images",
    "read_ismrmrd",
    "read_mask",
    "read_nifti_slices",
    "read_raw",
    "simulate_kspace",
    "smooth_phase",
    "to_channels",
    "to_complex",
    "unshift_kspace",
    "unshift_mask",
]
