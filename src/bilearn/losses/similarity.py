"""Squared error and structural similarity of magnitudes together, with a proved interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, slack
from bilearn.losses.squared_error import SquaredError
from bilearn.losses.ssim import SSIMLoss, ssim_lipschitz


@dataclass(frozen=True)
class SimilarityError(UpperLoss):
    """factor |x - x*|^2 + weight (1 - SSIM(|x|, |x*|)) for images (B, C, H, W), |x| the magnitude over the channels.

    SSIM as :class:`SSIMLoss` computes it, with the largest |x*| of every image as its range. Values have proved intervals;
    the Lipschitz constant of the gradient is unknown, so that hypergradients have no bounds.

    Args:
        factor: positive weight of the squared error.
        weight: nonnegative weight of 1 - SSIM.

    Raises:
        ValueError: if a number is out of range, or (when called) x is not (B, C, H, W).
    """

    factor: float = 1.0
    weight: float = 0.01

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight: found {self.weight}, expected a finite number >= 0")
        SquaredError(self.factor)

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        top = target.square().sum(1, keepdim=True).amax((1, 2, 3), keepdim=True).sqrt()
        scale = torch.where(top > 0, top, 1.0)
        tiny = torch.finfo(x.dtype).tiny
        sizes = [((t / scale).square().sum(1, keepdim=True) + tiny).sqrt() for t in (x, target)]
        return SquaredError(self.factor)(x, target) + self.weight * SSIMLoss(1.0)(*sizes)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The exact interval of the squared error, plus that of the similarity from its Lipschitz constant."""
        low, high = SquaredError(self.factor).interval(x, target, radius)
        with torch.no_grad():
            similarity = self(x, target) - SquaredError(self.factor)(x, target)
        top = target.square().sum(1).flatten(1).amax(1).sqrt()
        pixels = _batch.samples(x) // x.shape[1]
        reach = ssim_lipschitz(pixels) * radius / torch.where(top > 0, top, 1.0)
        # variances are differences of means of squares
        rounding = 64 * torch.finfo(x.dtype).eps / 0.03**2
        change = self.weight * (reach.clamp(max=2.0) + rounding) + slack(similarity, x)
        return low + similarity - change, high + similarity + change
