"""Arrays as PNG data addresses: display ranges, color maps, the zoom region."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

_DIVERGING = (
    (5, 48, 97), (33, 102, 172), (67, 147, 195), (146, 197, 222), (209, 229, 240), (247, 247, 247),
    (253, 219, 199), (244, 165, 130), (214, 96, 77), (178, 24, 43), (103, 0, 31),
)  # fmt: skip
_SEQUENTIAL = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129),
    (92, 200, 99), (170, 220, 50), (253, 231, 37),
)  # fmt: skip
_LARGEST_SIDE = 640


@dataclass(frozen=True)
class Window:
    """Values shown as black and as white."""

    low: float
    high: float


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels: first row, first column, height, width."""

    row: int
    column: int
    height: int
    width: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The pixels inside."""
        return image[self.row : self.row + self.height, self.column : self.column + self.width]


def displayable(array: np.ndarray) -> np.ndarray:
    """A stored array as (N,) signal, (H, W) gray or (H, W, 3) color.

    Two channels (real and imaginary part) give the magnitude; other numbers of channels their root sum of squares.
    """
    values = np.nan_to_num(np.abs(array) if np.iscomplexobj(array) else np.asarray(array, dtype=float))
    while values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 0:
        return values.reshape(1)
    if values.ndim <= 2:
        return values
    values = values.reshape(-1, *values.shape[-2:])
    return np.moveaxis(values, 0, -1) if values.shape[0] == 3 else np.sqrt((values**2).sum(axis=0))


def window_of(*images: np.ndarray) -> Window:
    """[0, 1] where the values lie about there, otherwise their range."""
    low = min(float(i.min()) for i in images)
    high = max(float(i.max()) for i in images)
    if low >= -0.05 and 0.5 <= high <= 1.05:
        return Window(0.0, 1.0)
    return Window(low, high if high > low else low + 1.0)


def gray(image: np.ndarray, window: Window) -> str:
    """A PNG address of a gray or color image, values outside the window clipped."""
    scaled = np.clip((image - window.low) / (window.high - window.low), 0, 1)
    return _encode(_shrink(scaled), None)


def signed_map(image: np.ndarray, scale: float) -> str:
    """A PNG address of signed values: blue for -scale, white for 0, red for +scale."""
    return _encode(_shrink(np.clip(0.5 + 0.5 * image / scale, 0, 1)), _DIVERGING)


def heat_map(image: np.ndarray, window: Window, log: bool = False) -> str:
    """A PNG address of a parameter map, dark for small and yellow for large, optionally in log scale."""
    values, low, high = image, window.low, window.high
    if log:
        values, low, high = np.log10(np.maximum(values, low)), np.log10(low), np.log10(high)
    return _encode(_shrink(np.clip((values - low) / max(high - low, 1e-300), 0, 1)), _SEQUENTIAL)


def gradient_style(diverging: bool) -> str:
    """CSS gradient of a color map, for color bars."""
    stops = ", ".join(f"rgb{c}".replace(" ", "") for c in (_DIVERGING if diverging else _SEQUENTIAL))
    return f"background:linear-gradient(90deg, {stops})"


def difference(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """image - truth, averaged over colors."""
    error = image - truth
    return error.mean(axis=-1) if error.ndim == 3 else error


def error_scale(errors: list[np.ndarray]) -> float:
    """A symmetric range that holds 99.5 % of the pixels of all the error maps."""
    pooled = np.concatenate([np.abs(e).ravel() for e in errors]) if errors else np.zeros(1)
    return max(float(np.quantile(pooled, 0.995)), 1e-12)


def busiest_region(truth: np.ndarray, fraction: float = 0.25) -> Region:
    """The square (about ``fraction`` of the shorter side) with the most structure.

    Structure is the sum of the square roots of gradient magnitudes, so that many moderate edges count more than a
    single strong one; found with an integral image.
    """
    flat = truth.mean(axis=-1) if truth.ndim == 3 else truth
    height, width = flat.shape
    side = max(1, min(height, width, max(16, round(fraction * min(height, width)))))
    rows, columns = (np.gradient(flat, axis=a) if flat.shape[a] > 1 else np.zeros_like(flat) for a in (0, 1))
    structure = np.sqrt(np.hypot(rows, columns))
    total = np.pad(structure.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return Region(int(row), int(column), side, side)


def busiest_stretch(truth: np.ndarray, fraction: float = 0.2) -> slice:
    """The stretch of a signal with the most structure, the middle one of equally good ones."""
    length = max(2, min(truth.size, max(16, round(fraction * truth.size))))
    total = np.concatenate([[0.0], np.sqrt(np.abs(np.diff(truth, append=truth[-1:]))).cumsum()])
    sums = total[length:] - total[:-length]
    best = np.flatnonzero(sums >= sums.max() - 1e-9 * abs(sums.max()))
    start = int(best[best.size // 2])
    return slice(start, start + length)


def reduction(image: np.ndarray) -> int:
    """Factor by which a picture of this size is reduced for display."""
    return -(-max(image.shape[:2]) // _LARGEST_SIDE)


def _shrink(image: np.ndarray) -> np.ndarray:
    """Mean over blocks so that no side exceeds the display limit."""
    factor = reduction(image)
    if factor == 1:
        return image
    height, width = (max(factor, s - s % factor) for s in image.shape[:2])
    trimmed = np.pad(
        image,
        [(0, max(0, height - image.shape[0])), (0, max(0, width - image.shape[1]))] + [(0, 0)] * (image.ndim - 2),
        mode="edge",
    )
    trimmed = trimmed[:height, :width]
    blocks = trimmed.reshape(height // factor, factor, width // factor, factor, *image.shape[2:])
    return blocks.mean(axis=(1, 3))


def _encode(scaled: np.ndarray, colors: tuple[tuple[int, int, int], ...] | None) -> str:
    """PNG of values in [0, 1], as a data address."""
    from PIL import Image

    picture = Image.fromarray(np.round(255 * scaled).astype(np.uint8))
    if colors is not None:
        table = np.asarray(colors, dtype=float)
        at = np.linspace(0, len(table) - 1, 256)
        palette = np.stack([np.interp(at, np.arange(len(table)), table[:, c]) for c in range(3)], axis=1)
        picture.putpalette(np.round(palette).astype(np.uint8).ravel().tolist())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
