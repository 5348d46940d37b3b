"""Image quality per sample: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses import SSIMLoss

#: Smallest side for which the 11 x 11 window of SSIM fits.
SSIM_SIDE = 11


def psnr(x: Tensor, truth: Tensor, max_value: float = 1.0) -> Tensor:
    """10 log10(max_value^2 / mean squared error) in decibel, shape (B,); infinite for equal images."""
    mean = _batch.total((x - truth).square()) / _batch.samples(x)
    return 10 * torch.log10(max_value**2 / mean)


def ssim(x: Tensor, truth: Tensor, max_value: float = 1.0) -> Tensor:
    """Structural similarity (B,), see :class:`bilearn.losses.SSIMLoss`."""
    return 1 - SSIMLoss(max_value)(x, truth)


def quality(x: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Metrics (B,) by name: 'psnr', and 'ssim' for images that are large enough for its window."""
    found = {"psnr": psnr(x, truth)}
    if truth.ndim == 4 and min(truth.shape[-2:]) >= SSIM_SIDE:
        found["ssim"] = ssim(x, truth)
    return found
