"""Structural similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, scaled_variation, slack, smooth_interval


@dataclass(frozen=True)
class SSIMLoss(UpperLoss):
    """1 - SSIM of images (B, C, H, W), by torchmetrics (Gaussian window, sigma 1.5).

    No Lipschitz constant of it is known to us: intervals are infinite unless one is given.

    Args:
        max_value: range of the pixel values.
        lipschitz: Lipschitz constant of 1 - SSIM in x, 2-norm per sample, or None.

    Raises:
        ValueError: if ``max_value`` or a given ``lipschitz`` is not positive, or (when called) x is not (B, C, H, W).

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
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = structural_similarity_index_measure(x, target, reduction="none", data_range=float(self.max_value))
        assert isinstance(similarity, Tensor)
        return 1 - similarity.reshape(_batch.size(x))

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """value +- lipschitz * radius; infinite without a constant."""
        with torch.no_grad():
            value = self(x, target)
        low, high = smooth_interval(value, torch.zeros_like(value), math.inf, self._lipschitz, radius)
        return low - slack(value, x), high + slack(value, x)

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """2 * lipschitz; infinite without a constant."""
        return scaled_variation(math.inf, self._lipschitz, radius)
