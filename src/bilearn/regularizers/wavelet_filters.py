"""Filters of orthogonal wavelets, orthonormal to machine precision."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

#: Low-pass and high-pass coefficient at each tap.
Taps = tuple[tuple[float, float], ...]

#: Largest error of orthonormality of a tabulated filter that is taken for rounding.
_TABULATED = 1e-10


@lru_cache
def filter_pair(name: str) -> Taps:
    """Low-pass and high-pass coefficient (reversed decomposition filters) at each of the L taps, orthonormal to rounding.

    The filters are those of PyWavelets, which are tabulated to about 12 digits; Newton steps of least norm on
    sum_n h_n h_(n+2m) = [m = 0] make them orthonormal to machine precision.

    Args:
        name: of a discrete orthogonal wavelet of PyWavelets, such as 'haar', 'db4', 'sym8', 'coif2'.

    Raises:
        ValueError: an unknown wavelet, or one that is not orthogonal (PyWavelets' 'dmey' is only nearly so).
    """
    pywt: Any = import_module("pywt")
    advice = "expected an orthogonal discrete wavelet of PyWavelets such as 'haar', 'db4' or 'sym8'"
    if name not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(name).orthogonal:
        raise ValueError(f"wavelet: found {name!r}, {advice}")
    wavelet = pywt.Wavelet(name)
    low, high = (np.array(taps, dtype=np.float64)[::-1] for taps in (wavelet.dec_lo, wavelet.dec_hi))
    length = low.size
    for _ in range(3):
        shifts = [_shifted(low, 2 * m) for m in range(length // 2)]
        defects = np.array([low @ moved for moved in shifts]) - np.eye(length // 2)[0]
        if np.abs(defects).max() > _TABULATED:
            raise ValueError(
                f"wavelet: found {name!r}, which is orthogonal up to {np.abs(defects).max():.1g} only, {advice}"
            )
        jacobian = np.stack([moved + _shifted(low, -2 * m) for m, moved in enumerate(shifts)])
        low = low - np.linalg.lstsq(jacobian, defects, rcond=None)[0]
    mirror = low[::-1] * (-1.0) ** np.arange(length)
    mirror *= np.sign(mirror @ high)
    return tuple(zip(low.tolist(), mirror.tolist(), strict=True))


def _shifted(taps: np.ndarray, by: int) -> np.ndarray:
    """taps[n + by], zero outside."""
    out = np.zeros_like(taps)
    if by >= 0:
        out[: taps.size - by] = taps[by:]
    else:
        out[-by:] = taps[:by]
    return out
