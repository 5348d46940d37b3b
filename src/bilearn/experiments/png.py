"""The charts and pictures of a page as PNG files, drawn with matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bilearn.report.charts import Axis, Chart
from bilearn.report.gallery import Column
from bilearn.report.pictures import displayable, window_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {
    "truth": "#1b1d22", "noisy": "#8d929c", "default": "#c97a16", "learned": "#2459d6",
    "run-1": "#2459d6", "run-2": "#c9541c", "run-3": "#1c8a63", "run-4": "#8a4fc4", "run-5": "#b3358a", "run-6": "#6f7a1d",
    "warn": "#8f5600",
}  # fmt: skip
"""The light colors of ``report/page.css``."""

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c9c9c3",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#ecece8",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_DPI = 110


def draw_charts(panels: Sequence[tuple[str, Chart]], columns: int) -> bytes:
    """Charts with titles, row by row, as one PNG; charts of a row that share their labels have one legend, beside them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6 if columns > 1 else 7.2, 3.4 * rows), dpi=_DPI, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for first in range(0, len(panels), columns):
            line = panels[first : first + columns]
            shared = len(line) > 1 and len({_labels(chart) for _, chart in line}) == 1
            for axes, (title, chart) in zip(grid[first:], line, strict=False):
                axes.set_title(title, fontsize=10, loc="left")
                _chart(axes, chart)
                if _labels(chart) and not shared:
                    axes.legend(loc="best")
            if shared and _labels(line[0][1]):
                grid[first + len(line) - 1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        return _png(figure)


def _chart(axes: Axes, chart: Chart) -> None:
    for band in chart.bands:
        axes.fill_between(
            band.x, band.lower, band.upper, color=_color(band.style), alpha=0.2, linewidth=0, label=band.label or None
        )
    for rule in chart.rules:
        axes.axhline(rule.y, color=_COLORS["warn"], linewidth=1.2, linestyle=(0, (5, 3)), label=rule.label or None)
    for curve in chart.curves:
        dashed = curve.style == "truth" and curve.line
        axes.plot(
            np.asarray(curve.x, dtype=float),
            np.asarray(curve.y, dtype=float),
            color=_color(curve.style),
            linewidth=1.5 if curve.line else 0.0,
            linestyle=(0, (4, 3)) if dashed else "-",
            drawstyle="steps-post" if curve.step else "default",
            marker="o" if curve.dots or len(curve.x) == 1 else "",
            markersize=4.5,
            markerfacecolor="none" if curve.hollow else _color(curve.style),
            label=curve.label or None,
        )
    _scale(axes, chart)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)


def _labels(chart: Chart) -> tuple[str, ...]:
    return tuple(item.label for item in (*chart.bands, *chart.rules, *chart.curves) if item.label)


def _scale(axes: Axes, chart: Chart) -> None:
    def limits(axis: Axis) -> tuple[float, float]:
        return axis.low, axis.high

    if chart.x_axis.log:
        axes.set_xscale("log")
    if chart.y_axis.log:
        axes.set_yscale("log", nonpositive="mask")
    axes.set_xlim(*limits(chart.x_axis))
    axes.set_ylim(*limits(chart.y_axis))


def draw_pictures(rows: Sequence[tuple[str, Sequence[Column]]]) -> bytes:
    """Rows of pictures, each on the gray scale of its first one, as one PNG; signals become curves."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = max(len(pictures) for _, pictures in rows)
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.75 * columns, 2.0 * len(rows)), dpi=_DPI, layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, pictures) in zip(grid, rows, strict=True):
            window = window_of(displayable(pictures[0].array))
            for k, axes in enumerate(line):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if k >= len(pictures):
                    continue
                column = pictures[k]
                shown = displayable(column.array)
                axes.imshow(shown, cmap="gray", vmin=window.low, vmax=window.high, interpolation="none")
                axes.set_title(column.title, fontsize=8, pad=3)
                axes.set_xlabel(column.caption, fontsize=7.5, labelpad=3)
            line[0].set_ylabel(title, fontsize=8)
        return _png(figure, colors=64)


def _color(style: str) -> str:
    return _COLORS[style]


def _png(figure: Any, colors: int = 128) -> bytes:
    """The figure as a PNG with a palette, a third of the size of one without."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", facecolor="white")
    raw.seek(0)
    image = Image.open(raw).convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()
