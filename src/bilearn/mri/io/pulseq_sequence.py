"""A spoiled gradient-echo sequence in Pulseq that acquires chosen Cartesian lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bilearn.data.images import DataError
from bilearn.mri.io.optional import require

#: Increment of the radio-frequency phase in degrees (quadratic spoiling).
SPOILING_INCREMENT = 117.0
_RASTER = 1e-5


@dataclass(frozen=True)
class SequenceSettings:
    """Geometry, timing and hardware limits of an exported acquisition.

    Attributes:
        field_of_view: (rows, columns) sides of the image in meters, or one number for both.
        slice_thickness: in meters.
        flip_angle: in degrees.
        repetition_time: in seconds; None for the shortest.
        dwell: time between two samples in seconds, a multiple of 100 ns.
        max_gradient: in mT/m.
        max_slew: in T/m/s.
        field_strength: in tesla.
    """

    field_of_view: float | tuple[float, float] = 0.256
    slice_thickness: float = 3e-3
    flip_angle: float = 10.0
    repetition_time: float | None = None
    dwell: float = 1e-5
    max_gradient: float = 28.0
    max_slew: float = 150.0
    field_strength: float = 1.5

    def fields(self, phase_axis: int) -> tuple[float, float]:
        """Field of view along the phase encoding and along the readout.

        Raises:
            DataError: if a length is not positive.
        """
        given = self.field_of_view
        rows, columns = given if isinstance(given, tuple) else (given, given)
        if min(rows, columns, self.slice_thickness) <= 0:
            raise DataError(
                f"settings: found field of view {rows:g} x {columns:g} m and slice thickness {self.slice_thickness:g} m, "
                "expected positive lengths"
            )
        return (rows, columns) if phase_axis == 0 else (columns, rows)


def gradient_echo(lines: list[int], phase: int, readout: int, axis: int, settings: SequenceSettings) -> Any:
    """The sequence: for every line excitation, phase encoding, readout, rewinding and spoiling.

    Sample i of line l lies at k = ((l - phase // 2) / fov_phase, (i - readout // 2) / fov_readout) 1/m, phase encoding on the
    y gradient and readout on x. The label LIN holds l.

    Args:
        lines: selected lines, counted from 0 on the centered grid.
        phase: number of lines of the grid.
        readout: samples of a line.
        axis: axis of the mask along which lines are counted, stored as a definition.
        settings: see :class:`SequenceSettings`.

    Returns:
        A ``pypulseq.Sequence`` whose timing has been checked.

    Raises:
        DataError: if limits of the hardware or the repetition time cannot be kept, or pypulseq is not installed.
    """
    pp = require("pypulseq", "a Pulseq sequence")
    fov_phase, fov_readout = settings.fields(axis)
    system = pp.Opts(
        max_grad=settings.max_gradient,
        grad_unit="mT/m",
        max_slew=settings.max_slew,
        slew_unit="T/m/s",
        rf_ringdown_time=20e-6,
        rf_dead_time=100e-6,
        adc_dead_time=10e-6,
        B0=settings.field_strength,
    )
    sequence = pp.Sequence(system)
    try:
        _add_lines(pp, sequence, system, lines, (phase, readout), (fov_phase, fov_readout), settings)
    except (ValueError, AssertionError) as error:
        raise DataError(
            f"settings: the sequence cannot be played within the limits ({error}); "
            "enlarge dwell, field_of_view or slice_thickness, or raise max_gradient or max_slew"
        ) from error
    correct, report = sequence.check_timing()
    if not correct:
        raise DataError(
            f"settings: the sequence breaks {len(report)} timing rules of the scanner, the first in block {report[0].block}: "
            f"{report[0].error_type}; choose dwell as a multiple of 100 ns"
        )
    sequence.set_definition("Name", "bilearn")
    sequence.set_definition("FOV", [fov_readout, fov_phase, settings.slice_thickness])
    sequence.set_definition("MatrixSize", [readout, phase])
    sequence.set_definition("PhaseAxis", axis)
    sequence.set_definition("Convention", "centered")
    return sequence


def _add_lines(
    pp: Any,
    sequence: Any,
    system: Any,
    lines: list[int],
    grid: tuple[int, int],
    fov: tuple[float, float],
    settings: SequenceSettings,
) -> None:
    (phase, readout), (fov_phase, fov_readout) = grid, fov
    step = 1 / fov_readout
    pulse, select, _ = pp.make_sinc_pulse(
        flip_angle=math.radians(settings.flip_angle),
        duration=3e-3,
        slice_thickness=settings.slice_thickness,
        delay=system.rf_dead_time,
        apodization=0.42,
        time_bw_product=4,
        system=system,
        return_gz=True,
        use="excitation",
    )
    flat_time = _RASTER * math.ceil(readout * settings.dwell / _RASTER - 1e-9)
    amplitude = step / settings.dwell
    read = pp.make_trapezoid(channel="x", amplitude=amplitude, flat_time=flat_time, system=system)
    adc = pp.make_adc(readout, dwell=settings.dwell, delay=read.rise_time, system=system)
    # The first sample is taken half a dwell time after the converter starts.
    read_pre_area = -(amplitude * read.rise_time / 2 + (readout // 2 + 0.5) * step)
    largest = max(phase // 2, phase - 1 - phase // 2) / fov_phase
    slowest = (
        pp.make_trapezoid(channel="x", area=read_pre_area, system=system),
        pp.make_trapezoid(channel="y", area=max(largest, 1 / fov_phase), system=system),
        pp.make_trapezoid(channel="z", area=-select.area / 2, system=system),
    )
    prephasing = max(pp.calc_duration(gradient) for gradient in slowest)
    read_pre = pp.make_trapezoid(channel="x", area=read_pre_area, duration=prephasing, system=system)
    select_re = pp.make_trapezoid(channel="z", area=-select.area / 2, duration=prephasing, system=system)
    read_spoil = pp.make_trapezoid(channel="x", area=2 * readout * step, system=system)
    select_spoil = pp.make_trapezoid(channel="z", area=4 / settings.slice_thickness, system=system)
    shortest = pp.calc_duration(select, pulse) + prephasing + pp.calc_duration(read, adc)
    shortest += max(prephasing, pp.calc_duration(read_spoil), pp.calc_duration(select_spoil))
    pause = 0.0 if settings.repetition_time is None else settings.repetition_time - shortest
    if pause < -1e-9:
        raise ValueError(
            f"repetition_time {settings.repetition_time:g} s is shorter than the events of {shortest:.5f} s"
        )
    pause = _RASTER * round(pause / _RASTER)
    for number, line in enumerate(lines):
        turn = SPOILING_INCREMENT * (number * (number + 1) / 2) % 360
        pulse.phase_offset = adc.phase_offset = math.radians(turn)
        area = (line - phase // 2) / fov_phase
        encode = pp.make_trapezoid(channel="y", area=area, duration=prephasing, system=system)
        rewind = pp.make_trapezoid(channel="y", area=-area, duration=prephasing, system=system)
        sequence.add_block(pulse, select)
        sequence.add_block(read_pre, encode, select_re)
        sequence.add_block(read, adc, pp.make_label(label="LIN", type="SET", value=line))
        sequence.add_block(read_spoil, rewind, select_spoil)
        if pause > 0:
            sequence.add_block(pp.make_delay(pause))
