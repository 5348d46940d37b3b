"""Learned filters in one picture, and the functions of their responses before and after."""

from __future__ import annotations

import math

import numpy as np

from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.report.digest import STAGE_TITLES, Digest
from bilearn.report.formatting import MINUS, TIMES, count
from bilearn.report.markup import Markup, section, tag
from bilearn.report.pictures import gradient_style, signed_map
from bilearn.run_records import FilterRecord

_ZOOM = 6
_GAP = 6
_CURVES = 5


def filters(run: Digest) -> Markup | None:
    """Filters before and after, sorted by the learned strength, and functions of the strongest; None without filters."""
    records = run.record.filters
    if "learned" not in records:
        return None
    learned = records["learned"]
    order = np.argsort(-np.abs(learned.strength), kind="stable")
    figures = [_picture(STAGE_TITLES[stage], record, order) for stage, record in records.items()]
    number, side = learned.taps.shape[0], learned.taps.shape[1]
    text = (
        f"The {count(number)} filters of {side} {TIMES} {side} pixels as they act on images, each scaled to its own range, "
        "sorted by what they contribute to the regularizer on test images, the strongest first. Curves: the derivative of "
        f"each of the {min(_CURVES, number)} strongest filters' functions, and the functions, at responses of the scaled "
        "filter."
    )
    return section(
        "filters",
        "Filters and potentials",
        text,
        tag("div", figures, class_="two"),
        tag("div", *_charts(records, order), class_="two"),
    )


def filter_grid(taps: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One image of all filters in [-1, 1], enlarged, with zeros between them."""
    tiles = []
    for index in order:
        tile = taps[index] / max(float(np.abs(taps[index]).max()), 1e-300)
        tiles.append(np.pad(np.kron(tile, np.ones((_ZOOM, _ZOOM))), _GAP // 2))
    columns = math.ceil(math.sqrt(1.6 * len(tiles)))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
    return np.concatenate(rows, 0)


def _picture(title: str, record: FilterRecord, order: np.ndarray) -> Markup:
    grid = filter_grid(record.taps, order)
    height, width = grid.shape
    return tag(
        "figure",
        tag("figcaption", tag("b", title)),
        tag(
            "div",
            tag("img", src=signed_map(grid, 1.0), alt=f"{title.lower()} filters", class_="pixels"),
            class_="frame",
            style=f"aspect-ratio:{width}/{height}",
        ),
        tag("i", class_="bar", style=gradient_style(diverging=True)),
        tag("div", tag("span", f"{MINUS}max"), tag("span", "max"), class_="bar-ends"),
        class_="map",
    )


def _charts(records: dict[str, FilterRecord], order: np.ndarray) -> list[Markup]:
    charts = []
    for name, title in (("slopes", "Derivative"), ("values", "Potential")):
        curves = [
            Curve(
                record.responses,
                getattr(record, name)[index],
                stage,
                f"{STAGE_TITLES[stage]}" if k == 0 else "",
            )
            for stage, record in records.items()
            for k, index in enumerate(order[:_CURVES])
        ]
        heights = np.concatenate([np.asarray(curve.y) for curve in curves])
        drawn = Chart(
            axis_for(curves[0].x, padding=0.02),
            axis_for(heights),
            "response",
            curves=curves,
            width=480,
            description=f"{title} of the strongest filters",
        )
        charts.append(tag("figure", tag("figcaption", tag("b", title)), drawn.render(), class_="small"))
    return charts
