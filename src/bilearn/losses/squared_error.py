"""Squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, check_pair, distance, slack


@dataclass(frozen=True)
class SquaredError(UpperLoss):
    """factor * |x - target|^2, a sum over the entries of a sample (no 1/2, no 1/n).

    With rho = |x - target| the loss in the ball of radius R is exactly
    [factor * max(rho - R, 0)^2, factor * (rho + R)^2].

    Args:
        factor: positive weight; 1/n turns the sum into a mean over n entries.

    Raises:
        ValueError: if ``factor`` is not a positive finite number.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (self.factor > 0 and math.isfinite(self.factor)):
            raise ValueError(f"factor: found {self.factor}, expected a positive finite number")

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        check_pair(x, target)
        difference = x - target
        return self.factor * _batch.dot(difference, difference)

    def grad(self, x: Tensor, target: Tensor) -> Tensor:
        """2 * factor * (x - target)."""
        return (2 * self.factor) * (x - target)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Exact interval of the loss in the ball, widened by the rounding of rho."""
        rho = distance(x, target)
        allowance = slack(rho, x)
        low = (rho - allowance - radius).clamp(min=0.0)
        return self.factor * low.square(), self.factor * (rho + allowance + radius).square()

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """2 * factor * radius."""
        return 2 * self.factor * radius

    def residual(self, x: Tensor, target: Tensor) -> Tensor:
        """rho = |x - target|."""
        return distance(x, target)

    @property
    def gauss_newton_factor(self) -> float:
        """The loss's Hessian is this number times the identity."""
        return 2 * self.factor

    def gauss_newton(self, x: Tensor, target: Tensor, v: Tensor) -> Tensor:
        """2 * factor * v."""
        return torch.mul(v, self.gauss_newton_factor)
