"""Smoothed absolute error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, check_pair, scaled_variation, slack, smooth_interval


@dataclass(frozen=True)
class SmoothedL1(UpperLoss):
    """sum_j (sqrt(|x_j - target_j|^2 + s^2) - s): convex, sqrt(n)-Lipschitz, with 1/s-Lipschitz gradient.

    Args:
        smoothing: s > 0, in the units of x; errors far below it count quadratically, far above it linearly.

    Raises:
        ValueError: if ``smoothing`` is not a positive finite number.
    """

    smoothing: float = 1e-2

    def __post_init__(self) -> None:
        if not (self.smoothing > 0 and math.isfinite(self.smoothing)):
            raise ValueError(f"smoothing: found {self.smoothing}, expected a positive finite number")

    def _length(self, difference: Tensor) -> Tensor:
        squared = (difference.conj() * difference).real if difference.is_complex() else difference.square()
        return torch.sqrt(squared + self.smoothing**2)

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        check_pair(x, target)
        return _batch.total(self._length(x - target) - self.smoothing)

    def grad(self, x: Tensor, target: Tensor) -> Tensor:
        """(x - target) / sqrt(|x - target|^2 + s^2), elementwise."""
        difference = x - target
        return difference / self._length(difference)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """From convexity below; above from the smaller of the quadratic and the Lipschitz bound."""
        value, steepness = self(x, target), _batch.norm(self.grad(x, target))
        allowance = slack(value + self.smoothing * _batch.samples(x), x)
        _, high = smooth_interval(value, steepness, 1 / self.smoothing, math.sqrt(_batch.samples(x)), radius)
        low = (value - steepness * radius * (1 + 16 * torch.finfo(x.dtype).eps) - allowance).clamp(min=0.0)
        return low, high + allowance

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """min(R / s, 2 sqrt(n))."""
        return scaled_variation(1 / self.smoothing, math.sqrt(_batch.samples(x)), radius)

    def gauss_newton(self, x: Tensor, target: Tensor, v: Tensor) -> Tensor:
        """The Hessian diag(s^2 / (|x - target|^2 + s^2)^(3/2)) times v (real x)."""
        return v * (self.smoothing**2 / self._length(x - target).pow(3))
