"""Cartesian lines as a Pulseq file, and the lines that a Pulseq file acquires."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.mask_common import from_lines, selected_lines, write_bytes
from bilearn.mri.io.optional import require
from bilearn.mri.io.pulseq_sequence import SequenceSettings, gradient_echo

#: Largest distance of a sample from the grid, in grid steps, that still counts as on the grid.
OFF_GRID = 0.05


def write_pulseq(mask: Tensor, path: Path, settings: SequenceSettings, overwrite: bool) -> None:
    """A spoiled gradient echo that acquires the lines of a centered mask; see :func:`gradient_echo`.

    Args:
        mask: (H, W) bool, centered, of complete lines.
        path: the file, ``.seq``.
        settings: geometry, timing and limits.
        overwrite: whether to replace a file.
    """
    axis, lines = selected_lines(mask, "pulseq")
    sequence = gradient_echo(lines, mask.shape[axis], mask.shape[1 - axis], axis, settings)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.seq"
        sequence.write(str(draft))
        write_bytes(path, draft.read_bytes(), overwrite)


def read_pulseq_mask(path: Path) -> Tensor:
    """(H, W) bool, centered: the samples that the sequence acquires, from its computed trajectory.

    Raises:
        DataError: unreadable file, one without matrix size, or samples off the grid.
    """
    pp = require("pypulseq", f"{path}: a Pulseq file")
    sequence = pp.Sequence()
    try:
        sequence.read(str(path))
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a Pulseq file ({error}); replace the file") from error
    definitions = sequence.definitions
    missing = [name for name in ("FOV", "MatrixSize", "PhaseAxis") if name not in definitions]
    if missing:
        raise DataError(
            f"{path}: lacks the definitions {', '.join(missing)}; only files written by export_mask can be read"
        )
    fov = np.asarray(definitions["FOV"], dtype=float)[:2]
    readout, phase = (int(n) for n in definitions["MatrixSize"])
    axis = int(np.squeeze(definitions["PhaseAxis"]))
    trajectory = sequence.calculate_kspace()[0]
    position = trajectory[:2] * fov[:, None] + np.array([[readout // 2], [phase // 2]])
    index = np.rint(position).astype(int)
    if position.size == 0 or np.abs(position - index).max() > OFF_GRID:
        worst = (
            "no sample"
            if position.size == 0
            else f"samples {np.abs(position - index).max():.2g} grid steps off the grid"
        )
        raise DataError(f"{path}: found {worst}, expected samples on a Cartesian grid")
    if index.min() < 0 or (index.max(1) >= (readout, phase)).any():
        raise DataError(f"{path}: found samples outside of the grid of {readout} x {phase} points")
    lines = np.unique(index[1])
    if len(np.unique(index[0] * phase + index[1])) != len(lines) * readout:
        raise DataError(f"{path}: found incomplete lines, expected {readout} samples in every line")
    return from_lines(lines.tolist(), (readout, phase) if axis == 1 else (phase, readout), axis)
