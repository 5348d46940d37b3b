"""Structural similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.losses.local_means import RADIUS, local_means
from bilearn.losses.loss import UpperLoss, scaled_variation, slack, smooth_interval


@dataclass(frozen=True)
class SSIMLoss(UpperLoss):
    """1 - SSIM of images (B, C, H, W), the mean over pixels and channels; the same number as torchmetrics computes.

    Gaussian window with standard deviation 1.5, 11 pixels wide, images reflected at the border, K1 = 0.01, K2 = 0.03.

    No Lipschitz constant of it is known to us: intervals are infinite unless one is given.

    Args:
        max_value: range of the pixel values.
        lipschitz: Lipschitz constant of 1 - SSIM in x, 2-norm per sample, or None.

    Raises:
        ValueError: if ``max_value`` or a given ``lipschitz`` is not positive, or (when called) x is not (B, C, H, W)
            with more than 5 pixels on each side.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", 2004.
    """

    max_value: float = 1.0
    lipschitz: float | None = None

    def __post_init__(self) -> None:
        if not self.max_value > 0:
            raise ValueError(f"max_value: found {self.max_value}, expected a positive number")
        if self.lipschitz is not None and not self.lipschitz > 0:
            raise ValueError(
                f"lipschitz: found {self.lipschitz}, expected a positive number, or None where it is unknown"
            )

    @property
    def _lipschitz(self) -> float:
        return math.inf if self.lipschitz is None else self.lipschitz

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape != target.shape:
            raise ValueError(
                f"SSIMLoss: found reconstructions {tuple(x.shape)} and targets {tuple(target.shape)}, "
                "expected two batches of images of the same shape (B, C, H, W)"
            )
        if min(x.shape[-2:]) <= RADIUS:
            raise ValueError(
                f"SSIMLoss: found images of {x.shape[-2]} x {x.shape[-1]} pixels, expected more than {RADIUS} on each side, as "
                "the window is reflected at the border"
            )
        c1, c2 = (0.01 * self.max_value) ** 2, (0.03 * self.max_value) ** 2
        a, b, aa, bb, ab = local_means(torch.cat((x, target, x * x, target * target, x * target))).chunk(5)
        luminance = (2 * a * b + c1) / (a * a + b * b + c1)
        spread = (aa - a * a).clamp(min=0) + (bb - b * b).clamp(min=0)
        structure = (2 * (ab - a * b) + c2) / (spread + c2)
        return 1 - (luminance * structure).flatten(1).mean(1)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """value +- lipschitz * radius; infinite without a constant."""
        with torch.no_grad():
            value = self(x, target)
        low, high = smooth_interval(value, torch.zeros_like(value), math.inf, self._lipschitz, radius)
        return low - slack(value, x), high + slack(value, x)

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """2 * lipschitz; infinite without a constant."""
        return scaled_variation(math.inf, self._lipschitz, radius)
