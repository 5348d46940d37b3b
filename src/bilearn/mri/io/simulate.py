"""Phase and noise for images that come without: magnitude images become complex k-space data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.conventions import to_channels, to_complex


def smooth_phase(images: Tensor, seed: int, largest: float = math.pi / 2, order: int = 2) -> Tensor:
    """Multiply every image by exp(i phi) with its own smooth random phase phi.

    phi is a sum of products of cosines of at most ``order`` half periods over each side, with normal coefficients of
    variance 1 / (1 + a^2 + b^2)^2 for a and b half periods, scaled so that max |phi| = ``largest``. Magnitudes do not change.

    Args:
        images: (N, 2, H, W).
        seed: of the coefficients, drawn image after image, so that the phases of the first images do not depend on N.
        largest: largest absolute phase in radians.
        order: largest number of half periods over a side.

    Raises:
        DataError: if ``images`` does not have two channels, or ``order`` is negative.
    """
    _require_channels(images)
    if order < 0:
        raise DataError(f"order: found {order}, expected 0 (a constant phase) or more")
    generator = torch.Generator().manual_seed(seed)
    half_periods = torch.arange(order + 1, dtype=torch.float64)
    deviation = 1 / (1 + half_periods[:, None].square() + half_periods.square())
    drawn = [torch.randn((order + 1, order + 1), generator=generator, dtype=torch.float64) for _ in images]
    coefficients = torch.stack(drawn) * deviation if drawn else deviation.new_zeros((0, order + 1, order + 1))
    rows, columns = (
        torch.cos(math.pi * torch.outer((torch.arange(n) + 0.5) / n, half_periods)) for n in images.shape[-2:]
    )
    phase = torch.einsum("ha,nab,wb->nhw", rows, coefficients, columns)
    phase = largest * phase / phase.abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(phase.dtype).tiny)
    turn = torch.polar(torch.ones_like(phase), phase).to(images.device)
    return to_channels((to_complex(images) * turn).to(to_complex(images).dtype))


def simulate_kspace(images: Tensor, sigma: float, seed: int) -> Tensor:
    """Fully sampled noisy k-space F x + n, unshifted, F orthonormal.

    Every real and every imaginary part of n is normal with standard deviation ``sigma``; since F is orthonormal, so is the
    noise of the fully sampled inverse transform. Take samples away afterwards, by the weights of the data term.

    Args:
        images: (N, 2, H, W).
        sigma: standard deviation, in units of the image.
        seed: of the noise.

    Raises:
        DataError: if ``images`` does not have two channels, or ``sigma`` is negative.
    """
    _require_channels(images)
    if sigma < 0:
        raise DataError(f"sigma: found {sigma:g}, expected a standard deviation of at least 0")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images)
    return to_channels(torch.fft.fft2(to_complex(images), norm="ortho")) + sigma * noise


def _require_channels(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 2:
        raise DataError(
            f"images: found shape {tuple(images.shape)}, expected (N, 2, H, W): real and imaginary part in two channels"
        )
