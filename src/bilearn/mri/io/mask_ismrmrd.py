"""Cartesian lines as an ISMRMRD acquisition list."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.ismrmrd_file import acquisitions_of
from bilearn.mri.io.mask_common import from_lines, selected_lines, write_bytes
from bilearn.mri.io.optional import require
from bilearn.mri.io.pulseq_sequence import SequenceSettings

#: User parameter of the header that says which axis of the mask the lines are counted along.
AXIS_PARAMETER = "bilearn_phase_axis"

_PROTON_HZ_PER_TESLA = 42_577_478.518


def write_ismrmrd(mask: Tensor, path: Path, settings: SequenceSettings, overwrite: bool) -> None:
    """One acquisition with zero data for every selected line, in increasing order.

    ``idx.kspace_encode_step_1`` counts lines on the centered grid from 0, ``center_sample`` and the header's encoding limits
    name the zero frequency.

    Args:
        mask: (H, W) bool, centered, of complete lines.
        path: the file.
        settings: field of view and slice thickness for the header.
        overwrite: whether to replace a file.
    """
    ismrmrd = require("ismrmrd", f"{path}: an ISMRMRD file")
    axis, lines = selected_lines(mask, "ismrmrd")
    phase, readout = mask.shape[axis], mask.shape[1 - axis]
    buffer = io.BytesIO()
    with ismrmrd.Dataset(buffer, "dataset", mode="w") as dataset:
        dataset.write_xml_header(_header(readout, phase, axis, settings).encode())
        for number, line in enumerate(lines):
            acquisition = ismrmrd.Acquisition.from_array(
                np.zeros((1, readout), np.complex64),
                center_sample=readout // 2,
                scan_counter=number,
                sample_time_us=settings.dwell * 1e6,
            )
            acquisition.idx.kspace_encode_step_1 = line
            if number == 0:
                acquisition.set_flag(ismrmrd.ACQ_FIRST_IN_SLICE)
            if number == len(lines) - 1:
                acquisition.set_flag(ismrmrd.ACQ_LAST_IN_SLICE)
            dataset.append_acquisition(acquisition)
    write_bytes(path, buffer.getbuffer(), overwrite)


def read_ismrmrd_mask(path: Path) -> Tensor:
    """(H, W) bool, centered: the lines that were (or are to be) acquired; phase encoding along columns if not recorded."""
    header, acquisitions = acquisitions_of(path)
    axis = int(header.strings.get(AXIS_PARAMETER, "1"))
    readout, phase = header.encoded
    lines = sorted({header.column(a.idx.kspace_encode_step_1) for a in acquisitions})
    if not 0 <= lines[0] <= lines[-1] < phase:
        raise DataError(f"{path}: found lines {lines[0]} to {lines[-1]}, expected lines within 0 to {phase - 1}")
    return from_lines(lines, (readout, phase) if axis == 1 else (phase, readout), axis)


def _header(readout: int, phase: int, axis: int, settings: SequenceSettings) -> str:
    xsd = require("ismrmrd.xsd", "an ISMRMRD header")
    across, along = (1000 * side for side in settings.fields(axis))
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=readout, y=phase, z=1),
        fieldOfView_mm=xsd.fieldOfViewMm(x=along, y=across, z=1000 * settings.slice_thickness),
    )
    limits = xsd.encodingLimitsType(
        kspace_encoding_step_0=xsd.limitType(minimum=0, maximum=readout - 1, center=readout // 2),
        kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=phase - 1, center=phase // 2),
        slice=xsd.limitType(minimum=0, maximum=0, center=0),
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(settings.field_strength * _PROTON_HZ_PER_TESLA)
        ),
        encoding=[
            xsd.encodingType(
                encodedSpace=space, reconSpace=space, encodingLimits=limits, trajectory=xsd.trajectoryType.CARTESIAN
            )
        ],
        userParameters=xsd.userParametersType(
            userParameterString=[
                xsd.userParameterStringType(name=AXIS_PARAMETER, value=str(axis)),
                xsd.userParameterStringType(name="bilearn_convention", value="centered"),
            ]
        ),
    )
    return xsd.ToXML(header)
