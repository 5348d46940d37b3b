"""Gaussian means around every pixel, the window of structural similarity."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 5
"""Pixels on each side of the middle of the window."""
_SIGMA = 1.5
_LARGEST_MATRIX = 256


def local_means(x: Tensor) -> Tensor:
    """Mean of (B, C, H, W) around every pixel under a Gaussian of standard deviation 1.5 pixels, 11 wide, images reflected.

    One axis after the other, as a product with a matrix where the axis is short, else as a sum of shifted images: in float64
    on a CPU many times faster than a convolution with the two-dimensional window (``benchmarks/ssim.py``).
    """
    return _along(_along(x, -2), -1)


def _along(x: Tensor, axis: int) -> Tensor:
    n = x.shape[axis]
    if n > _LARGEST_MATRIX:
        return _shifted(x, axis)
    matrix = _matrix(n, x.dtype, x.device)
    return matrix @ x if axis == -2 else x @ matrix.T


def _shifted(x: Tensor, axis: int) -> Tensor:
    n = x.shape[axis]
    window = torch.exp(-torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64).square() / (2 * _SIGMA**2))
    weights = (window / window.sum()).tolist()
    pad = (0, 0, RADIUS, RADIUS) if axis == -2 else (RADIUS, RADIUS, 0, 0)
    padded = F.pad(x, pad, mode="reflect")
    total = padded.narrow(axis, RADIUS, n) * weights[RADIUS]
    for k in range(RADIUS):
        both = padded.narrow(axis, k, n) + padded.narrow(axis, 2 * RADIUS - k, n)
        total = total.add(both, alpha=weights[k])
    return total


@lru_cache(maxsize=16)
def _matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return _shifted(torch.eye(n, dtype=torch.float64)[None, None], -2)[0, 0].to(device, dtype)
