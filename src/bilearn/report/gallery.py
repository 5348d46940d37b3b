"""Pictures of a test image side by side: whole, zoomed, and as error maps; signals as line plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.report.formatting import MINUS, TIMES, number
from bilearn.report.markup import Markup, join, tag
from bilearn.report.pictures import (
    Region,
    Window,
    busiest_region,
    busiest_stretch,
    difference,
    displayable,
    error_scale,
    gradient_style,
    gray,
    reduction,
    signed_map,
    window_of,
)


@dataclass(frozen=True)
class Column:
    """One picture of a row.

    Attributes:
        title: heading.
        array: values as stored.
        style: CSS class of its color ("truth", "noisy", "default", "learned", "run-1", ...).
        caption: figures shown under the heading.
        adjoint: picture shown below where ``array`` is no picture of the truth's shape.
    """

    title: str
    array: np.ndarray
    style: str
    caption: str = ""
    adjoint: np.ndarray | None = None


def switch(label: str, entries: Sequence[tuple[Markup | str, Markup]], style: str = "segments") -> Markup:
    """Buttons that show one of several panels; all panels show where scripts do not run."""
    if len(entries) == 1:
        return entries[0][1]
    buttons = [
        tag("button", title, type="button", role="tab", aria_selected="true" if i == 0 else "false")
        for i, (title, _) in enumerate(entries)
    ]
    panels = [
        tag("div", panel, class_="panel" if i == 0 else "panel later", role="tabpanel")
        for i, (_, panel) in enumerate(entries)
    ]
    return tag("div", tag("div", buttons, class_=style, role="tablist", aria_label=label), panels, class_="switch")


def thumbnail(title: str, truth: np.ndarray) -> Markup:
    """A small picture and a title, for the buttons that choose an image."""
    shown = displayable(truth)
    if shown.ndim == 1:
        return tag("span", title)
    stride = max(1, max(shown.shape[:2]) // 96)
    return join(
        tag("img", src=gray(shown[::stride, ::stride], window_of(shown)), alt="", loading="lazy"), tag("span", title)
    )


def panel(columns: Sequence[Column]) -> Markup:
    """Pictures side by side; the first column is the truth the others are compared with."""
    truth = displayable(columns[0].array)
    return _signals(columns, truth) if truth.ndim == 1 else _pictures(columns, truth)


def _pictures(columns: Sequence[Column], truth: np.ndarray) -> Markup:
    window, region = window_of(truth), busiest_region(truth)
    shown = [displayable(column.array) for column in columns]
    alike = [image.shape == truth.shape for image in shown]
    errors = {i: difference(shown[i], truth) for i in range(1, len(columns)) if alike[i]}
    estimates = [errors[i] for i in errors if columns[i].style not in ("noisy", "data")]
    scale = error_scale(estimates or list(errors.values()))
    figures: list[Markup] = []
    for i, (column, image) in enumerate(zip(columns, shown, strict=True)):
        cells: list[Markup]
        if not alike[i]:
            cells = _foreign(column, image, truth)
        else:
            cells = [
                _frame(gray(image, window), truth, column.title, region=region, compare=True),
                _frame(gray(region.crop(image), window), truth, f"{column.title}, zoom", chip="zoom", pixels=True),
            ]
            if i in errors:
                cells.append(_frame(signed_map(errors[i], scale), truth, f"{column.title}, error", chip="error"))
            elif errors:
                cells.append(_color_bar(scale, truth))
        heading = tag("figcaption", tag("b", column.title), tag("span", column.caption))
        figures.append(tag("figure", heading, cells, class_=f"column {column.style}"))
    return join(
        tag("div", figures, class_="columns", style=f"--columns:{len(figures)}"),
        tag("p", _explanation(window, truth, all(alike)), class_="note"),
    )


def _explanation(window: Window, truth: np.ndarray, alike: bool) -> str:
    parts = [
        f"Black is {number(window.low, 3)}, white is {number(window.high, 3)} in every picture.",
        "The frame marks the zoomed region, the one with the most structure.",
        "Click a picture to compare two of them with a slider.",
    ]
    if not alike:
        parts.insert(1, "Data of another shape than the picture have a gray scale of their own.")
    if reduction(truth) > 1:
        parts.append(f"Whole pictures are shown at 1/{reduction(truth)} of their size, zooms at full size.")
    return " ".join(parts)


def _foreign(column: Column, image: np.ndarray, shape: np.ndarray) -> list[Markup]:
    """Data that is no picture of the truth's shape, and its adjoint, in frames of the given shape."""
    size = f" {TIMES} ".join(str(n) for n in column.array.shape if n > 1)
    if image.ndim == 1:
        x = np.arange(image.size)
        chart = Chart(
            axis_for(x, padding=0), axis_for(image), "entry", "", curves=[Curve(x, image, "noisy")], height=400
        )
        cells = [tag("div", chart.render(legend=False), class_="frame chart-frame")]
    else:
        cells = [_frame(gray(image, window_of(image)), shape, column.title, chip=f"data {size}")]
    if column.adjoint is not None:
        back = displayable(column.adjoint)
        cells.append(_frame(gray(back, window_of(back)), back, f"{column.title}, adjoint", chip="adjoint Aᵀy"))
    return cells


def _frame(
    source: str,
    shape: np.ndarray,
    description: str,
    chip: str = "",
    region: Region | None = None,
    compare: bool = False,
    pixels: bool = False,
) -> Markup:
    height, width = shape.shape[:2]
    picture = tag("img", src=source, alt=description, loading="lazy", class_="pixels" if pixels else None)
    marker = None
    if region is not None:
        place = {
            "left": region.column / width, "top": region.row / height,
            "width": region.width / width, "height": region.height / height,
        }  # fmt: skip
        marker = tag("span", class_="marker", style=";".join(f"{k}:{100 * v:.3f}%" for k, v in place.items()))
    label = tag("span", chip, class_="chip") if chip else None
    style = f"aspect-ratio:{width}/{height}" if not pixels else "aspect-ratio:1"
    if compare:
        return tag(
            "button", picture, marker, label, class_="frame", style=style, type="button", data_compare=description
        )
    return tag("div", picture, marker, label, class_="frame", style=style)


def _color_bar(scale: float, truth: np.ndarray) -> Markup:
    height, width = truth.shape[:2]
    ends = [tag("span", number(v, 2)) for v in (-scale, 0.0, scale)]
    return tag(
        "div",
        tag(
            "div",
            tag("b", "Error maps"),
            tag("span", f"picture {MINUS} truth, all on the same scale"),
            tag("i", class_="bar", style=gradient_style(diverging=True)),
            tag("div", ends, class_="bar-ends"),
            tag("span", "blue: too dark, red: too bright"),
        ),
        class_="frame scale",
        style=f"aspect-ratio:{width}/{height}",
    )


def _signals(columns: Sequence[Column], truth: np.ndarray) -> Markup:
    shown = [displayable(column.array) for column in columns]
    alike = [i for i, image in enumerate(shown) if image.shape == truth.shape]
    position = np.arange(truth.size)
    order = sorted(alike, key=lambda i: (columns[i].style not in ("noisy", "data"), i))

    def curves(part: slice, minus: np.ndarray | None = None) -> list[Curve]:
        chosen = order if minus is None else [i for i in order if i and columns[i].style not in ("noisy", "data")]
        return [
            Curve(
                position[part],
                (shown[i] if minus is None else shown[i] - minus)[part],
                columns[i].style,
                f"{columns[i].title} ({columns[i].caption})" if columns[i].caption else columns[i].title,
            )
            for i in chosen
        ]

    everything, stretch = slice(None), busiest_stretch(truth)
    values = np.concatenate([shown[i] for i in alike])
    whole = Chart(
        axis_for(position, padding=0.01),
        axis_for(values),
        "sample",
        "signal",
        curves=curves(everything),
        width=1090,
        height=330,
    )
    near = Chart(
        axis_for(position[stretch], padding=0.01),
        axis_for(np.concatenate([shown[i][stretch] for i in alike])),
        "sample", "zoom", curves=curves(stretch), height=270,
    )  # fmt: skip
    deviations = curves(everything, truth)
    charts = [near.render(legend=False)]
    if deviations:
        error = Chart(
            axis_for(position, padding=0.01), axis_for(np.concatenate([np.asarray(c.y) for c in deviations])),
            "sample", "error", curves=deviations, height=270,
        )  # fmt: skip
        charts.append(error.render(legend=False))
    foreign = [tag("figure", _foreign(columns[i], shown[i], shown[i])) for i in range(len(columns)) if i not in alike]
    return join(
        whole.render(),
        tag("div", charts, class_="two"),
        tag("div", foreign, class_="two") if foreign else None,
        tag(
            "p",
            "Left: the stretch with the most structure. Right: reconstruction minus truth, same colors as above.",
            class_="note",
        ),
    )
