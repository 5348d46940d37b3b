"""Peak signal-to-noise ratio, negated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, distance, slack


@dataclass(frozen=True)
class NegativePSNR(UpperLoss):
    """-PSNR = 10 log10(|x - target|^2 / (n max_value^2)) in decibel, n entries per sample.

    Minus infinity at x = target. With rho = |x - target| the loss in the ball of radius R lies exactly between its values
    at max(rho - R, 0) and rho + R; its gradient c (x - target) / rho^2, c = 20 / ln 10, is an inversion, so that it
    changes by at most c R / (rho (rho - R)) where R < rho, and without bound otherwise.

    Args:
        max_value: largest possible value of the target (1 for images in [0, 1]).

    Raises:
        ValueError: if ``max_value`` is not a positive finite number.
    """

    max_value: float = 1.0

    def __post_init__(self) -> None:
        if not (self.max_value > 0 and math.isfinite(self.max_value)):
            raise ValueError(f"max_value: found {self.max_value}, expected a positive finite number")

    @property
    def _scale(self) -> float:
        return 20 / math.log(10)

    def _decibel(self, rho: Tensor, entries: int) -> Tensor:
        return 20 * torch.log10(rho / (self.max_value * math.sqrt(entries)))

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        return self._decibel(distance(x, target), _batch.samples(x))

    def grad(self, x: Tensor, target: Tensor) -> Tensor:
        """(20 / ln 10) (x - target) / |x - target|^2."""
        rho = distance(x, target)
        return (x - target) * _batch.expand(self._scale / rho.square(), x)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Exact interval of the loss in the ball, widened by the rounding of rho."""
        rho, entries = distance(x, target), _batch.samples(x)
        allowance = slack(rho, x)
        low = self._decibel((rho - allowance - radius).clamp(min=0.0), entries)
        high = self._decibel(rho + allowance + radius, entries)
        return low - slack(low.nan_to_num(), x), high + slack(high.nan_to_num(), x)

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """c R / (rho (rho - R)) where R < rho, infinite elsewhere."""
        rho = distance(x, target)
        room = rho - radius
        return torch.where(room > 0, self._scale * radius / (rho * room), torch.inf)

    def gauss_newton(self, x: Tensor, target: Tensor, v: Tensor) -> Tensor:
        """(c / rho^2) v: the Hessian without its negative radial part."""
        weight = self._scale / distance(x, target).square()
        return v * _batch.expand(weight, x)
