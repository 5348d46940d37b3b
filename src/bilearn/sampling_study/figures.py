"""What pages show of patterns: the pattern itself, its density, its point spread function, the course of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bilearn.experiments.contents import Content, Figure, Panel
from bilearn.experiments.records import column, unpacked
from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.report.pictures import Window
from bilearn.sampling_study.tiles import Tile, Tiles, reconstruction_tiles

STYLES = ("run-1", "run-2", "run-3", "run-4", "run-5", "run-6", "default", "noisy")
_RINGS = 24
_SPREAD_DECIBEL = 60.0
_LARGEST = 48


def pattern_tile(title: str, mask: np.ndarray, caption: str = "") -> Tile:
    """A pattern (H, W) without shift, shown with the zero frequency in the middle."""
    return Tile(title, np.fft.fftshift(mask), caption)


def spread_tile(title: str, mask: np.ndarray) -> Tile:
    """The point spread function |F^-1 s| in decibel below its peak, which sits in the middle."""
    spread = np.fft.fftshift(np.abs(np.fft.ifft2(mask)))
    peak = max(float(spread.max()), 1e-300)
    level = 20 * np.log10(np.maximum(spread / peak, 1e-300))
    side = np.delete(np.sort(spread.ravel()), -1)
    caption = f"largest side lobe {20 * np.log10(max(side[-1] / peak, 1e-15)):.1f} dB" if side.size else ""
    middle = tuple(slice(max(0, n // 2 - _LARGEST), n // 2 + _LARGEST) for n in level.shape)
    return Tile(title, level[middle], caption, Window(-_SPREAD_DECIBEL, 0.0), "heat")


def density(mask: np.ndarray, rings: int = _RINGS) -> tuple[np.ndarray, np.ndarray]:
    """Part of the points that is sampled against |k| in cycles per pixel, in rings of equal width up to 1/2.

    Args:
        mask: (H, W) without shift.
        rings: number of rings; fewer where the grid is small.

    Returns:
        Middles of the rings that hold points, and the mean of the mask in each.
    """
    rows, columns = (np.fft.fftfreq(n) for n in mask.shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    edges = np.linspace(0, 0.5, min(rings, max(mask.shape) // 4) + 1)
    middles, means = [], []
    for low, high in pairwise(edges):
        inside = (radius >= low) & (radius < high)
        if inside.any():
            middles.append((low + high) / 2)
            means.append(float(mask[inside].mean()))
    return np.asarray(middles), np.asarray(means)


def density_panel(masks: Sequence[tuple[str, np.ndarray]], title: str = "Density against |k|") -> Panel:
    """Densities of several patterns in one chart."""
    found = [(name, *density(mask)) for name, mask in masks]
    curves = [
        Curve(radius, mean, STYLES[k % len(STYLES)], name, dots=True) for k, (name, radius, mean) in enumerate(found)
    ]
    chart = Chart(
        axis_for([0.0, 0.5]), axis_for([0.0, 1.0]), "|k| (cycles per pixel)", "part of the points", curves=curves
    )
    return Panel(title, chart)


def pattern_contents(record: Mapping[str, Any]) -> list[Content]:
    """Pattern, degrees before rounding, spread function and density of a learning record."""
    mask, degrees = unpacked(record["mask"]), unpacked(record["degrees"])
    caption = f"{record['samples']} of {record['points']} points, {100 * record['rate']:.2f} %"
    fractional = int(((degrees > 1e-3) & (degrees < 1 - 1e-3)).sum())
    tiles = [
        pattern_tile("mask", mask, caption),
        pattern_tile("degrees before rounding", degrees, f"{fractional} between 0 and 1"),
        spread_tile("point spread function", mask),
    ]
    note = (
        "Zero frequency in the middle; white is sampled. Spread function: |F⁻¹ s| in decibel below its peak, "
        f"from 0 (yellow) to -{_SPREAD_DECIBEL:.0f} (dark), at most {2 * _LARGEST} pixels around it."
    )
    figure = Figure("density", [density_panel([("mask", mask), ("degrees before rounding", degrees)])], 1)
    return [Tiles("pattern", [("", tiles)], note), figure]


def reconstruction_contents(pictures: Sequence[Mapping[str, Any]]) -> list[Content]:
    """Zero-filled and regularized reconstructions with zoom and error, image by image."""
    return [
        Tiles(
            f"reconstruction-{record['number']}",
            reconstruction_tiles(
                unpacked(record["truth"]),
                [
                    (title, unpacked(record[key]["image"]), caption_of(record[key]["quality"]))
                    for title, key in (("zero-filled", "zero_filled"), ("reconstruction", "reconstruction"))
                ],
            ),
            "Blue: too dark, red: too bright; all errors on the scale of the reconstruction's.",
        )
        for record in pictures
    ]


def caption_of(quality: Mapping[str, float]) -> str:
    """PSNR and SSIM in words."""
    text = f"{float(quality['psnr']):.2f} dB"
    return text + (f", SSIM {float(quality['ssim']):.3f}" if "ssim" in quality else "")


def course_contents(course: Sequence[Mapping[str, Any]]) -> list[Content]:
    """Objective, mean degree and alpha over the steps of the best start."""
    if not course:
        return []
    steps = np.arange(1, len(course) + 1)
    groups = [str(row["stage"]).partition("-")[0] for row in course]
    panels = []
    for key, label, log in (("value", "objective", True), ("degree", "mean degree", False), ("alpha", "alpha", True)):
        known = [row[key] for row in course if row[key] is not None]
        if not known or (key == "degree" and max(known) - min(known) < 1e-6):
            continue
        curves = []
        for k, group in enumerate(dict.fromkeys(groups)):
            part = [n for n, row in enumerate(course) if groups[n] == group and row[key] is not None]
            if part:
                values = column([course[n] for n in part], key)
                name = group if key == "value" else ""
                curves.append(Curve(steps[part], values, STYLES[k % len(STYLES)], name, line=False, dots=True))
        panels.append(Panel(label, Chart(axis_for(steps), axis_for(known, log=log), "step", label, curves=curves)))
    note = "Stages of the best start in order; the objective contains the penalties of its stage."
    return [Figure("course", panels, len(panels), note)]
