"""Noise with explicit random generators, drawn in float64 so that every dtype sees the same data."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.data.images import DataError


def add_gaussian_noise(clean: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """``clean`` + sigma * standard normal numbers.

    Args:
        clean: noise-free data of any shape, real.
        sigma: standard deviation, >= 0, in units of the data.
        generator: a CPU generator.

    Returns:
        Noisy data with the dtype and device of ``clean``.
    """
    if sigma < 0:
        raise DataError(f"noise sigma: found {sigma:g}, expected a number >= 0")
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return (clean.double().cpu() + sigma * noise).to(clean)


def add_poisson_noise(clean: Tensor, gain: float, generator: torch.Generator) -> Tensor:
    """gain * Poisson(clean / gain): photon counts scaled back to the range of ``clean``; larger gain, more noise.

    Args:
        clean: noise-free data >= 0 of any shape.
        gain: brightness of one photon, > 0.
        generator: a CPU generator.

    Raises:
        DataError: if the gain is not positive or the data contain negative numbers.
    """
    if gain <= 0:
        raise DataError(f"noise gain: found {gain:g}, expected a positive number")
    rate = clean.double().cpu() / gain
    lowest = float(rate.min())
    if lowest < -1e-9 / gain:
        raise DataError(
            f"Poisson noise: found clean data down to {lowest * gain:g}, expected numbers >= 0; use Gaussian noise"
        )
    return (gain * torch.poisson(rate.clamp(min=0.0), generator=generator)).to(clean)
