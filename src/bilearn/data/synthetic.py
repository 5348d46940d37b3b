"""Images and signals that are computed: Shepp-Logan and random ellipse phantoms, blocky 1-D signals."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError, NamedImage

#: Modified Shepp-Logan phantom (Toft 1996): added value, semi-axes, center, angle in degrees.
_SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.8740, 0.0, -0.0184, 0.0),
    (-0.2, 0.1100, 0.3100, 0.22, 0.0, -18.0),
    (-0.2, 0.1600, 0.4100, -0.22, 0.0, 18.0),
    (0.1, 0.2100, 0.2500, 0.0, 0.35, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, 0.1, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, -0.1, 0.0),
    (0.1, 0.0460, 0.0230, -0.08, -0.605, 0.0),
    (0.1, 0.0230, 0.0230, 0.0, -0.606, 0.0),
    (0.1, 0.0230, 0.0460, 0.06, -0.605, 0.0),
)


def shepp_logan(size: int) -> NamedImage:
    """The modified Shepp-Logan head phantom on ``size`` x ``size`` pixels, values in [0, 1]."""
    return NamedImage(_render(torch.tensor(_SHEPP_LOGAN, dtype=torch.float64), size), "shepp-logan", "shepp-logan")


def ellipse_phantoms(count: int, size: int, generator: torch.Generator) -> list[NamedImage]:
    """Random head-like phantoms: a skull ring and five to nine ellipses inside, each drawn from ``generator``.

    Args:
        count: number of phantoms.
        size: side in pixels.
        generator: a CPU generator; the i-th phantom does not depend on ``count``.
    """
    images = []
    for index in range(count):
        outer_a, outer_b = _between(0.62, 0.78, generator), _between(0.78, 0.92, generator)
        rows = [
            (0.9, outer_a, outer_b, 0.0, 0.0, 0.0),
            (-_between(0.55, 0.75, generator), outer_a * 0.94, outer_b * 0.94, 0.0, 0.0, 0.0),
        ]
        for _ in range(5 + int(torch.randint(5, (), generator=generator))):
            radius, angle = 0.62 * _between(0.0, 1.0, generator) ** 0.5, _between(0.0, 2 * math.pi, generator)
            rows.append(
                (
                    _between(-0.25, 0.35, generator),
                    _between(0.04, 0.26, generator),
                    _between(0.04, 0.26, generator),
                    radius * math.cos(angle) * outer_a,
                    radius * math.sin(angle) * outer_b,
                    _between(0.0, 180.0, generator),
                )
            )
        name = f"phantom {index}"
        images.append(NamedImage(_render(torch.tensor(rows, dtype=torch.float64), size), name, name))
    return images


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _render(ellipses: Tensor, size: int) -> Tensor:
    """Sum of ellipses (rows: value, semi-axes, center, angle) clipped to [0, 1]; pixels average 3 x 3 samples."""
    if size < 8:
        raise DataError(f"phantom size: found {size}, expected at least 8 pixels")
    fine = 3 * size
    axis = (torch.arange(fine, dtype=torch.float64) + 0.5) / fine * 2 - 1
    down, right = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    image = torch.zeros(fine, fine, dtype=torch.float64)
    for value, a, b, x0, y0, degrees in ellipses.tolist():
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        u = (right - x0) * cos + (down - y0) * sin
        v = (down - y0) * cos - (right - x0) * sin
        image += value * ((u / a) ** 2 + (v / b) ** 2 <= 1).to(torch.float64)
    averaged = torch.nn.functional.avg_pool2d(image[None], 3)
    return averaged.clamp(0.0, 1.0)


def blocky_signals(count: int, size: int, seed: int) -> list[NamedImage]:
    """Signals that are 1 on one random interval of [-2, 2] and 0 elsewhere.

    The training set of Ehrhardt and Roberts, "Inexact derivative-free optimization for bilevel learning", JMIV 63
    (2021), drawn in their order from NumPy's legacy generator: center uniform in (-1, 1), radius in (0.5, 1).

    Args:
        count: number of signals.
        size: samples per signal.
        seed: seed of a private ``numpy.random.RandomState``.

    Returns:
        Signals with pixels of shape (1, size).
    """
    random = np.random.RandomState(seed)
    domain = np.linspace(-2, 2, size)
    signals = []
    for index in range(count):
        center = random.uniform(-1, 1)
        radius = random.uniform(-0.5, -1.0)
        signal = ((domain - center) ** 2 < radius**2).astype(np.float64)
        signals.append(NamedImage(torch.from_numpy(signal)[None], f"signal {index}", f"signal {index}"))
    return signals
