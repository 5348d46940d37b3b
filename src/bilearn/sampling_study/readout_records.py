"""Learned readouts as files and records: where every sample is, and what gradient coils have to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bilearn._files import replacing
from bilearn.data.images import DataError
from bilearn.experiments.contents import Content, Figure, Panel, Table
from bilearn.experiments.records import packed, unpacked
from bilearn.mri.patterns import HardwareLimits
from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.report.formatting import number
from bilearn.sampling import SamplingResult

TRAJECTORY = "trajectory.npz"
"""File of a run directory with learned readouts."""

_SUFFIXES = (".npz", ".mat")
_STYLES = ("run-1", "run-2", "run-3", "run-4", "run-5", "run-6")


def save_trajectory(directory: Path, result: SamplingResult, limits: HardwareLimits | None) -> None:
    """Write ``trajectory.npz``; nothing for patterns on the grid.

    ``locations`` (readouts, samples, 2): row and column of every sample in cycles per field of view, the zero frequency at
    (0, 0); ``shape`` (H, W) of the images. With limits also ``dwell`` (s), ``field_of_view`` (m) and ``gradients``
    (readouts, samples - 1, 2) in T/m.
    """
    if result.locations is None:
        return
    content: dict[str, Any] = {"locations": result.locations.numpy(), "shape": np.asarray(result.mask.shape)}
    if limits is not None:
        scale = result.locations.new_tensor(limits.field_of_view) * (limits.gamma * limits.dwell)
        content |= {
            "gradients": (result.locations.diff(dim=1) / scale).numpy(),
            "dwell": np.asarray(limits.dwell),
            "field_of_view": np.asarray(limits.field_of_view),
        }
    with replacing(directory / TRAJECTORY) as file:
        np.savez_compressed(file, **content)


def export_trajectory(directory: Path, target: Path, overwrite: bool) -> Path:
    """Write the learned readouts of a run directory as ``.npz`` or ``.mat``.

    Raises:
        DataError: if the run has none, the suffix is another one, or the file exists.
    """
    source = directory / TRAJECTORY
    if not source.is_file():
        raise DataError(
            f"{directory}: found no {TRAJECTORY}, expected a run with --pattern angles, trajectory or spiral"
        )
    if target.suffix not in _SUFFIXES:
        raise DataError(
            f"{target}: found the suffix '{target.suffix}', expected {' or '.join(_SUFFIXES)} for a trajectory"
        )
    if target.exists() and not overwrite:
        raise DataError(f"{target}: exists already; choose another name or pass --overwrite")
    with np.load(source) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    with replacing(target) as file:
        if target.suffix == ".npz":
            np.savez_compressed(file, **content)
        else:
            from scipy.io import savemat

            savemat(file, content)
    return target


def refuse_readouts(run: Path, target: Path, format: str | None) -> None:
    """Stop where readouts that move would be written as Cartesian lines.

    Raises:
        DataError: for a run with learned readouts and a format, or a suffix, of lines only.
    """
    lines = format in ("pulseq", "ismrmrd") if format is not None else target.suffix in (".seq", ".mrd")
    if lines and (run / TRAJECTORY).is_file():
        raise DataError(
            f"{target}: holds Cartesian lines only, and {run} learned readouts that are none; write their locations with "
            "--trajectory (.npz or .mat), or the nearest points of the grid as .npy, .mat or fastMRI .h5"
        )


def readout_record(locations: Tensor, settings: Mapping[str, Any], limits: HardwareLimits | None) -> dict[str, Any]:
    """Locations, and the hardware report with the limits it was compared with."""
    record: dict[str, Any] = {"locations": packed(locations), "limits": None}
    if limits is not None:
        record["limits"] = {
            "dwell": limits.dwell, "field_of_view": list(limits.field_of_view),
            "gradient": limits.gradient, "slew": limits.slew,
            "reached": {name: settings[name] for name in ("gradient", "slew", "feasible", "shortest_dwell")},
        }  # fmt: skip
    return record


def readout_contents(record: Mapping[str, Any]) -> list[Content]:
    """The curves in k-space, and a table of gradients and slew rates against their limits."""
    curves = unpacked(record["locations"])
    lines = [Curve(c[:, 1], c[:, 0], _STYLES[k % len(_STYLES)], "") for k, c in enumerate(curves)]
    rows, columns = curves[..., 0], curves[..., 1]
    chart = Chart(
        axis_for(columns.ravel()), axis_for(rows.ravel()), "column (cycles per field of view)", "row", curves=lines, height=420
    )  # fmt: skip
    note = f"{len(curves)} readouts of {curves.shape[1]} samples; the zero frequency is at (0, 0)."
    contents: list[Content] = [Figure("readouts", [Panel("Learned readouts", chart)], 1, note)]
    limits = record["limits"]
    if limits is not None:
        reached = limits["reached"]
        table = [
            ["largest gradient (mT/m)", number(1e3 * float(reached["gradient"]), 3, plain=True),
             f"{1e3 * limits['gradient']:g}"],
            ["largest slew rate (T/m/s)", number(float(reached["slew"]), 4, plain=True), f"{limits['slew']:g}"],
            ["shortest feasible dwell time (µs)", number(1e6 * float(reached["shortest_dwell"]), 3, plain=True),
             f"{1e6 * limits['dwell']:g} in use"],
        ]  # fmt: skip
        text = "Between successive samples; ramps before the first and after the last one are not part of them."
        contents.append(Table("Gradient coils", ["", "reached", "limit"], table, text))
    return contents
