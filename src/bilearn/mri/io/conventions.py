"""Where the zero frequency sits: unshifted in this library, centered in most files and tools.

Let x be an image (H, W) as it is looked at, its object in the middle, and F the orthonormal DFT.

=============  ======================================  ===========================  =========================================
convention     k-space of x                            zero frequency at            used by
=============  ======================================  ===========================  =========================================
``unshifted``  F x                                     [0, 0]                       ``torch.fft``, :mod:`bilearn.mri`
``centered``   fftshift F ifftshift x                  [H // 2, W // 2]             fastMRI, ISMRMRD, BART, SigPy, deepinv
=============  ======================================  ===========================  =========================================

The two differ by the order of the entries *and* by a phase, because the centered transform also moves the image: with
k the signed frequency, ``centered = fftshift(exp(2 pi i (k1 (H//2)/H + k2 (W//2)/W)) F x)``, for even sizes a change of
sign at every second entry. Masks have no phase: for them only the order changes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Convention = Literal["centered", "unshifted"]
CONVENTIONS: tuple[Convention, ...] = ("centered", "unshifted")

_AXES = (-2, -1)


def unshift_mask(mask: Tensor) -> Tensor:
    """(..., H, W) centered to unshifted: ``ifftshift``."""
    return torch.fft.ifftshift(mask, dim=_AXES)


def center_mask(mask: Tensor) -> Tensor:
    """(..., H, W) unshifted to centered: ``fftshift``."""
    return torch.fft.fftshift(mask, dim=_AXES)


def unshift_kspace(kspace: Tensor) -> Tensor:
    """(..., H, W) complex, centered to unshifted: ``torch.fft.ifft2(., norm="ortho")`` then gives the image as looked at."""
    return torch.fft.ifftshift(kspace, dim=_AXES) * _phase(kspace).conj()


def center_kspace(kspace: Tensor) -> Tensor:
    """(..., H, W) complex, unshifted to centered; the inverse of :func:`unshift_kspace`."""
    return torch.fft.fftshift(kspace * _phase(kspace), dim=_AXES)


def _phase(kspace: Tensor) -> Tensor:
    """Factor by which ``ifftshift`` of an image multiplies its unshifted k-space."""
    factors = []
    for n in kspace.shape[-2:]:
        turns = torch.arange(n, device=kspace.device) * (n // 2) % n
        angle = turns.to(torch.float64) * (2 * math.pi / n)
        factors.append(torch.polar(torch.ones_like(angle), angle).to(kspace.dtype))
    return factors[0][:, None] * factors[1]


def to_channels(images: Tensor) -> Tensor:
    """(..., H, W) complex or real to (..., 2, H, W) real: real and imaginary part."""
    return torch.stack((images.real, images.imag if images.is_complex() else torch.zeros_like(images)), -3)


def to_complex(channels: Tensor) -> Tensor:
    """(..., 2, H, W) real to (..., H, W) complex."""
    return torch.complex(channels[..., 0, :, :], channels[..., 1, :, :])
