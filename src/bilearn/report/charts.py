"""Line charts as inline SVG: styled by the page's style sheet (light and dark), readable without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from bilearn.report.formatting import MINUS, number
from bilearn.report.markup import Markup, join, tag

Numbers = Sequence[float] | np.ndarray

_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 18, 14, 46
_NARROW = 540
_MOST_POINTS = 1500
_MOST_MARKERS = 160


@dataclass(frozen=True)
class Curve:
    """Points joined by a line.

    Attributes:
        x, y: coordinates; points that are not finite (or not positive on a log axis) are left out.
        style: CSS class that gives the color.
        label: legend text; empty for none.
        tips: text per point shown when hovering, empty for none.
        line, dots: what is drawn.
        hollow: draw the dots as rings.
        step: hold each value until the next point.
    """

    x: Numbers
    y: Numbers
    style: str
    label: str = ""
    tips: Sequence[str] = ()
    line: bool = True
    dots: bool = False
    hollow: bool = False
    step: bool = False


@dataclass(frozen=True)
class Band:
    """A filled region between two curves."""

    x: Numbers
    lower: Numbers
    upper: Numbers
    style: str
    label: str = ""


@dataclass(frozen=True)
class Rule:
    """A horizontal line, such as a bound."""

    y: float
    style: str
    label: str = ""


@dataclass(frozen=True)
class Axis:
    """Range of an axis and its scale."""

    low: float
    high: float
    log: bool = False

    def position(self, values: np.ndarray) -> np.ndarray:
        """Positions in [0, 1]."""
        if self.log:
            scaled = np.log10(np.maximum(values, 1e-300))
            low, high = math.log10(self.low), math.log10(self.high)
        else:
            scaled, low, high = values, self.low, self.high
        return (scaled - low) / (high - low)

    def ticks(self, wanted: int = 6) -> list[float]:
        """Round numbers inside the range, about ``wanted`` of them."""
        if self.log:
            return _log_ticks(self.low, self.high, wanted)
        raw = (self.high - self.low) / wanted
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    if decades > 2.2:
        stride = max(1, math.ceil(decades / wanted))
        return [10.0**k for k in range(first, last + 1) if k % stride == 0 and low <= 10.0**k * 1.0001 <= high * 1.0002]
    for mantissas in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [m * 10.0**k for k in range(first, last + 1) for m in mantissas if low <= m * 10.0**k <= high]
        if len(ticks) >= 3:
            return ticks
    return Axis(low, high).ticks(4)


def axis_for(values: Numbers, log: bool = False, padding: float = 0.06) -> Axis:
    """An axis that holds all finite values with some padding."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array) & ((array > 0) | (not log))]
    if array.size == 0:
        return Axis(0.1, 1.0, log) if log else Axis(0.0, 1.0)
    low, high = float(array.min()), float(array.max())
    if log:
        span = max(math.log10(high / low), 0.1)
        return Axis(low / 10 ** (padding * span), high * 10 ** (padding * span), True)
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high)):
        span = max(abs(high) * 0.1, 1e-12) if high else 1.0
        return Axis(low - span, high + span)
    return Axis(low - padding * span, high + padding * span)


def wants_log(values: Numbers, ratio: float = 30.0) -> bool:
    """Whether positive values spread so far that a log axis shows them better."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    return bool(array.size and array.min() > 0 and array.max() / array.min() > ratio)


@dataclass(frozen=True)
class Chart:
    """A chart with one pair of axes.

    Attributes:
        x_axis, y_axis: ranges.
        x_label, y_label: axis titles.
        bands, rules, curves: what is drawn, in this order.
        width, height: size in SVG units (CSS pixels at full width).
        description: text for screen readers.
    """

    x_axis: Axis
    y_axis: Axis
    x_label: str = ""
    y_label: str = ""
    bands: Sequence[Band] = field(default_factory=tuple)
    rules: Sequence[Rule] = field(default_factory=tuple)
    curves: Sequence[Curve] = field(default_factory=tuple)
    width: int = 540
    height: int = 280
    description: str = ""

    def render(self, legend: bool = True) -> Markup:
        """The chart, with its legend above; a wide chart comes in a second, narrow version for small screens."""
        drawings = [self._draw("chart")]
        if self.width > _NARROW:
            drawings = [self._draw("chart wide"), replace(self, width=_NARROW, height=300)._draw("chart narrow")]
        return tag("div", self._legend() if legend else None, drawings, class_="chart-box")

    def _draw(self, style: str) -> Markup:
        inner = [self._grid(), [self._band(b) for b in self.bands], [self._rule(r) for r in self.rules]]
        inner.append([self._curve(c) for c in self.curves])
        box = {
            "x": _LEFT,
            "y": _TOP - 6,
            "width": self.width - _LEFT - _RIGHT + 6,
            "height": self.height - _TOP - _BOTTOM + 8,
        }
        clipped = tag("svg", inner[1:], viewBox=f"{box['x']} {box['y']} {box['width']} {box['height']}", **box)
        return tag(
            "svg", inner[0], clipped, self._labels(),
            viewBox=f"0 0 {self.width} {self.height}", class_=style, role="img",
            aria_label=self.description or f"{self.y_label} against {self.x_label}",
        )  # fmt: skip

    def _x(self, values: Numbers) -> np.ndarray:
        return _LEFT + self.x_axis.position(np.asarray(values, dtype=float)) * (self.width - _LEFT - _RIGHT)

    def _y(self, values: Numbers) -> np.ndarray:
        height = self.height - _TOP - _BOTTOM
        position = self.y_axis.position(np.asarray(values, dtype=float))
        return _TOP + (1 - np.clip(position, -2, 3)) * height

    def _visible(self, *columns: Numbers, positive: bool) -> np.ndarray:
        arrays = [np.asarray(c, dtype=float) for c in columns]
        keep = np.ones(len(arrays[0]), dtype=bool)
        for array in arrays:
            keep &= np.isfinite(array) & ((array > 0) | (not positive))
        return np.flatnonzero(keep)

    def _grid(self) -> Markup:
        bottom, right = self.height - _BOTTOM, self.width - _RIGHT
        parts: list[Markup] = []
        y_ticks = self.y_axis.ticks(5)
        for value, y in zip(y_ticks, self._y(y_ticks), strict=True):
            parts.append(tag("line", x1=_LEFT, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
            label = _tick_text(value, y_ticks)
            parts.append(tag("text", label, x=_LEFT - 8, y=f"{y + 4:.1f}", class_="tick", text_anchor="end"))
        x_ticks = self.x_axis.ticks(6)
        for value, x in zip(x_ticks, self._x(x_ticks), strict=True):
            parts.append(tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(
                tag(
                    "text", _tick_text(value, x_ticks), x=f"{x:.1f}", y=bottom + 18, class_="tick", text_anchor="middle"
                )
            )
        parts.append(tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
        return join(parts)

    def _labels(self) -> Markup:
        middle = (self.height - _BOTTOM + _TOP) / 2
        return join(
            tag(
                "text", self.x_label, x=(self.width + _LEFT - _RIGHT) / 2, y=self.height - 6,
                class_="axis-label", text_anchor="middle",
            ),
            tag(
                "text", self.y_label, x=12, y=middle, class_="axis-label", text_anchor="middle",
                transform=f"rotate(-90 12 {middle})",
            ),
        )  # fmt: skip

    def _band(self, band: Band) -> Markup | None:
        keep = self._visible(band.x, band.lower, band.upper, positive=False)
        if keep.size < 2:
            return None
        x = self._x(np.asarray(band.x, dtype=float)[keep])
        upper = self._y(np.asarray(band.upper, dtype=float)[keep])
        lower = self._y(np.asarray(band.lower, dtype=float)[keep])
        points = [*zip(x, upper, strict=True), *zip(x[::-1], lower[::-1], strict=True)]
        return tag("polygon", points=_points(points), class_=f"band {band.style}")

    def _rule(self, rule: Rule) -> Markup | None:
        if not 0 <= float(self.y_axis.position(np.asarray(rule.y))) <= 1:
            return None
        y = float(self._y([rule.y])[0])
        above = y > _TOP + 22
        left = self._clearance(y, first=True) > self._clearance(y, first=False)
        return join(
            tag(
                "line", x1=_LEFT, x2=self.width - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}",
                class_=f"rule {rule.style}",
            ),
            tag(
                "text", rule.label, x=_LEFT + 4 if left else self.width - _RIGHT - 4,
                y=f"{y - 6 if above else y + 14:.1f}", class_="rule-label", text_anchor="start" if left else "end",
            ),
        )  # fmt: skip

    def _clearance(self, y: float, first: bool) -> float:
        """Smallest vertical distance of the curves to ``y`` in the first or the last 40 % of the width."""
        nearest = math.inf
        for curve in self.curves:
            place = self.x_axis.position(np.asarray(curve.x, dtype=float))
            chosen = np.asarray(curve.y, dtype=float)[place <= 0.4 if first else place >= 0.6]
            distances = np.abs(self._y(chosen[np.isfinite(chosen)]) - y)
            nearest = min(nearest, float(distances.min(initial=math.inf)))
        return nearest

    def _curve(self, curve: Curve) -> Markup | None:
        keep = self._visible(curve.x, curve.y, positive=False)
        if self.y_axis.log:
            keep = keep[np.asarray(curve.y, dtype=float)[keep] > 0]
        if keep.size == 0:
            return None
        x, y = self._x(np.asarray(curve.x, dtype=float)[keep]), self._y(np.asarray(curve.y, dtype=float)[keep])
        parts: list[Markup] = []
        if curve.line and keep.size > 1:
            stride = max(1, keep.size // _MOST_POINTS)
            points = list(zip(x[::stride], y[::stride], strict=True))
            if curve.step:
                points = [p for a, b in pairwise(points) for p in (a, (b[0], a[1]))] + points[-1:]
            parts.append(tag("polyline", points=_points(points), class_=f"line {curve.style}"))
        if curve.dots or curve.tips or keep.size == 1:
            stride = max(1, math.ceil(keep.size / _MOST_MARKERS))
            shown = curve.dots or keep.size == 1
            kind = "open" if curve.hollow else "dot"
            for i in range(0, keep.size, stride):
                tip = curve.tips[int(keep[i])] if curve.tips else None
                parts.append(
                    tag(
                        "circle", tag("title", tip) if tip else None, cx=f"{x[i]:.1f}", cy=f"{y[i]:.1f}",
                        r=3.2 if shown else 6, class_=f"{kind if shown else 'hover'} {curve.style}", data_tip=tip,
                    )
                )  # fmt: skip
        return tag("g", parts)

    def _legend(self) -> Markup | None:
        items = [
            tag("span", tag("i", class_=f"key key-{kind} {item.style}"), item.label)
            for kind, item in [
                *(("band", b) for b in self.bands),
                *(("line" if c.line else "open", c) for c in self.curves),
            ]
            if item.label
        ]
        return tag("div", items, class_="legend") if items else None


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _tick_text(value: float, ticks: Sequence[float]) -> str:
    """Label of a tick with just enough digits to tell neighbors apart."""
    if max(abs(t) for t in ticks) >= 2e4 and all(t % 100 == 0 and t < 1e9 for t in ticks):
        return (
            number(value / 1000, 7) + ("" if value == 0 else "k") if max(ticks) < 2e6 else f"{number(value / 1e6, 7)}M"
        )
    if len(ticks) < 2:
        return number(value, 3)
    gap = min(abs(b - a) for a, b in pairwise(ticks))
    largest = max(abs(t) for t in ticks)
    if abs(value) < 1e-9 * gap:
        return "0"
    digits = 1 + max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(gap)))
    even = max(ticks) - min(ticks) <= gap * (len(ticks) - 1) * 1.001
    if not even or not 1e-3 <= largest < 1e5 or gap < 1e-6:
        return number(value, min(digits + 1, 9))
    decimals = next(d for d in range(8) if abs(gap - round(gap, d)) < 1e-3 * gap)
    return f"{value:.{decimals}f}".replace("-", MINUS)
