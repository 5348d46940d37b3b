"""Pictures that are not compared with a truth: patterns, spread functions; and reconstructions with zoom and error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bilearn.experiments.contents import Content
from bilearn.report.markup import Markup, tag
from bilearn.report.pictures import Window, busiest_region, difference, error_scale, gray, heat_map, signed_map

UNIT = Window(0.0, 1.0)
"""Black is 0, white is 1."""

Colors = Literal["gray", "heat", "error"]
_MAPS: dict[Colors, str] = {"gray": "gray", "heat": "viridis", "error": "RdBu_r"}
_DPI = 110


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        title: heading.
        array: (H, W).
        caption: below the picture.
        window: values at the ends of the colors.
        colors: gray, heat (dark to yellow) or error (blue to red around zero).
    """

    title: str
    array: np.ndarray
    caption: str = ""
    window: Window = UNIT
    colors: Colors = "gray"

    def source(self) -> str:
        """The picture as a data address."""
        if self.colors == "error":
            return signed_map(self.array, self.window.high)
        if self.colors == "heat":
            return heat_map(self.array, self.window)
        return gray(self.array, self.window)


@dataclass(frozen=True)
class Tiles(Content):
    """Rows of pictures.

    Attributes:
        name: name of the PNG file, without suffix.
        rows: title and pictures of every row.
        note: a sentence below.
    """

    name: str
    rows: Sequence[tuple[str, Sequence[Tile]]]
    note: str = ""

    def markup(self) -> Markup:
        wide = max(len(tiles) for _, tiles in self.rows)
        rows = [
            tag(
                "div",
                tag("h3", title) if title else None,
                tag("div", [_figure(tile) for tile in tiles], class_="columns", style=f"--columns:{wide}"),
            )
            for title, tiles in self.rows
        ]
        note = tag("p", self.note, class_="note") if self.note else None
        return tag("div", rows, note, class_="content")

    def png(self) -> Mapping[str, bytes]:
        return {self.name: _draw(self.rows)}


def reconstruction_tiles(
    truth: np.ndarray, images: Sequence[tuple[str, np.ndarray, str]]
) -> list[tuple[str, Sequence[Tile]]]:
    """Three rows for one image: whole pictures, the region with the most structure, and errors on one scale.

    Args:
        truth: (H, W) magnitudes.
        images: title, magnitudes and caption of every reconstruction.
    """
    region = busiest_region(truth, 1 / 3)
    window = Window(0.0, max(float(truth.max()), 1e-12))
    errors = [difference(image, truth) for _, image, _ in images]
    scale = Window(-1.0, error_scale(errors[-1:]))
    everything = [("truth", truth, ""), *images]
    whole = [Tile(title, image, caption, window) for title, image, caption in everything]
    zoom = [Tile("", region.crop(image), "", window) for _, image, _ in everything]
    blank = Tile("", np.zeros_like(truth), f"scale ±{scale.high:.2g}", scale, "error")
    error = [blank, *(Tile("", e, "", scale, "error") for e in errors)]
    return [("", whole), ("zoom", zoom), ("error", error)]


def _figure(tile: Tile) -> Markup:
    height, width = tile.array.shape
    pixels = "pixels" if max(height, width) <= 128 else None
    picture = tag("img", src=tile.source(), alt=tile.title or "picture", loading="lazy", class_=pixels)
    frame = tag("div", picture, class_="frame", style=f"aspect-ratio:{width}/{height}")
    heading = tag("figcaption", tag("b", tile.title), tag("span", tile.caption)) if tile.title or tile.caption else None
    return tag("figure", heading, frame, class_="column")


def _draw(rows: Sequence[tuple[str, Sequence[Tile]]]) -> bytes:
    import io

    from matplotlib.figure import Figure
    from PIL import Image

    columns = max(len(tiles) for _, tiles in rows)
    figure = Figure(figsize=(min(1.9 * columns, 11.0), 2.4 * len(rows)), dpi=_DPI, layout="constrained")
    grid: Any = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, tiles) in zip(grid, rows, strict=True):
        for k, axes in enumerate(line):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if k >= len(tiles):
                continue
            tile = tiles[k]
            low = -tile.window.high if tile.colors == "error" else tile.window.low
            axes.imshow(tile.array, cmap=_MAPS[tile.colors], vmin=low, vmax=tile.window.high, interpolation="none")
            axes.set_title(tile.title, fontsize=8, pad=3)
            axes.set_xlabel(tile.caption, fontsize=7.5, labelpad=3)
        line[0].set_ylabel(title, fontsize=8)
    raw = io.BytesIO()
    figure.savefig(raw, format="png", facecolor="white")
    raw.seek(0)
    picture = Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="PNG", optimize=True)
    return small.getvalue()
