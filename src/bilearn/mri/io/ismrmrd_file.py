"""ISMRMRD raw data: Cartesian acquisitions sorted onto the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bilearn.data.images import DataError
from bilearn.mri.io.arrays import existing
from bilearn.mri.io.conventions import unshift_kspace, unshift_mask
from bilearn.mri.io.header import EncodingHeader, parse_header
from bilearn.mri.io.optional import require
from bilearn.mri.io.raw import RawData

#: Acquisitions that are no image data: noise, parallel calibration, navigation, phase correction, feedback, dummies.
NOT_IMAGING = (
    "ACQ_IS_NOISE_MEASUREMENT",
    "ACQ_IS_PARALLEL_CALIBRATION",
    "ACQ_IS_NAVIGATION_DATA",
    "ACQ_IS_PHASECORR_DATA",
    "ACQ_IS_HPFEEDBACK_DATA",
    "ACQ_IS_RTFEEDBACK_DATA",
    "ACQ_IS_DUMMYSCAN_DATA",
)


def read_ismrmrd(path: str | Path, group: str = "dataset") -> RawData:
    """Sort two-dimensional Cartesian acquisitions by slice and line; lines measured several times are averaged.

    Rows are the readout (``center_sample`` at the zero frequency), columns the phase encoding
    (``idx.kspace_encode_step_1``, whose center the header names), as in fastMRI files. Noise, calibration and navigator
    acquisitions are left out. Oversampling is kept.

    Args:
        path: the file.
        group: its HDF5 group.

    Returns:
        K-space with the mask of measured lines (None if every line of every slice was measured).

    Raises:
        DataError: file missing or unreadable, no imaging acquisitions, a trajectory that is not two-dimensional Cartesian,
            lines outside the grid or that differ between slices, ismrmrd not installed.
    """
    file = existing(path)
    header, acquisitions = acquisitions_of(file, group)
    rows, columns = header.encoded
    slices = max(a.idx.slice for a in acquisitions) + 1
    coils = acquisitions[0].active_channels
    total = np.zeros((slices, coils, rows, columns), np.complex128)
    counts = np.zeros((slices, rows, columns), np.int64)
    for acquisition in acquisitions:
        index, column = acquisition.idx.slice, header.column(acquisition.idx.kspace_encode_step_1)
        samples = acquisition.data[
            :, acquisition.discard_pre : acquisition.number_of_samples - acquisition.discard_post
        ]
        start = rows // 2 - acquisition.center_sample + acquisition.discard_pre
        stop = start + samples.shape[1]
        if acquisition.active_channels != coils or not (0 <= column < columns and 0 <= start <= stop <= rows):
            raise DataError(
                f"{file}: acquisition {acquisition.scan_counter} with {acquisition.active_channels} channels covers column "
                f"{column}, rows {start} to {stop - 1}, expected {coils} channels within a grid of {rows} x {columns}"
            )
        total[index, :, start:stop, column] += samples
        counts[index, start:stop, column] += 1
    sampled = counts > 0
    if not (sampled == sampled[0]).all():
        raise DataError(
            f"{file}: slices were sampled at different places, expected the same samples in all {slices} slices"
        )
    kspace = torch.from_numpy((total / np.maximum(counts, 1)[:, None]).astype(np.complex64))
    mask = None if sampled[0].all() else unshift_mask(torch.from_numpy(sampled[0]))
    return RawData(unshift_kspace(kspace), mask, None, dict(header.strings))


def acquisitions_of(file: Path, group: str = "dataset") -> tuple[EncodingHeader, list[Any]]:
    """Header and imaging acquisitions of a two-dimensional Cartesian scan.

    Raises:
        DataError: see :func:`read_ismrmrd`.
    """
    ismrmrd = require("ismrmrd", f"{file}: an ISMRMRD file")
    try:
        with ismrmrd.Dataset(file, group, mode="r") as dataset:
            header = parse_header(dataset.read_xml_header(), str(file))
            everything = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    except (OSError, LookupError) as error:
        raise DataError(
            f"{file}: cannot be read as ISMRMRD ({error}); expected a group '{group}' with header and data"
        ) from error
    skipped = [getattr(ismrmrd, name) for name in NOT_IMAGING]
    imaging = [a for a in everything if not any(a.is_flag_set(flag) for flag in skipped)]
    if not imaging:
        raise DataError(f"{file}: found {len(everything)} acquisitions and none with image data, expected at least one")
    for acquisition in imaging:
        if acquisition.trajectory_dimensions or acquisition.idx.kspace_encode_step_2:
            raise DataError(
                f"{file}: acquisition {acquisition.scan_counter} is not two-dimensional Cartesian, expected such a scan"
            )
    return header, imaging
