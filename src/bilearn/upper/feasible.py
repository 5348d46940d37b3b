"""What a projected method may move in: the box of the coordinates, cut by at most one budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.parameters import ParameterVector

_MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class Budget:
    """sum_i weights_i theta_i = total over the coordinates ``start`` to ``stop`` (exclusive).

    Args:
        start, stop: range of coordinates.
        total: the sum.
        weights: (stop - start,) positive multiplicities; ones if None.

    Raises:
        ValueError: if the range is empty, the total is not finite, or a weight is not positive.
    """

    start: int
    stop: int
    total: float
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop or not math.isfinite(self.total):
            raise ValueError(
                f"Budget: found coordinates {self.start} to {self.stop} and total {self.total}, expected a range that is "
                "not empty and a finite total"
            )
        if self.weights is not None and not (
            self.weights.shape == (self.stop - self.start,) and bool((self.weights > 0).all())
        ):
            raise ValueError(
                f"Budget.weights: found shape {tuple(self.weights.shape)} with smallest entry {float(self.weights.min()):g}, "
                f"expected {self.stop - self.start} positive numbers"
            )

    def normal(self, like: Tensor) -> Tensor:
        """(P,) the weights in their range, zero elsewhere."""
        out = torch.zeros_like(like)
        out[self.start : self.stop] = 1.0 if self.weights is None else self.weights.to(like)
        return out

    def project(self, parameters: ParameterVector, theta: Tensor) -> Tensor:
        """Nearest point of the box that meets the budget.

        Raises:
            ValueError: if no point of the box meets it.
        """
        out = parameters.project(theta)
        part = slice(self.start, self.stop)
        weights = self._weights(theta)
        low, high = parameters.lower[part], parameters.upper[part]
        least, most = float(weights @ low), float(weights @ high)
        slack = 1e-12 * max(abs(least), abs(most))
        if not least - slack <= self.total <= most + slack:
            raise ValueError(f"Budget: found a total of {self.total:g}, expected a number in [{least:g}, {most:g}]")
        z = theta[part].to(out)
        left, right = float(((z - high) / weights).min()), float(((z - low) / weights).max())
        out[part] = clip_to_total(z, weights, low, high, self.total, left, right)
        return out

    def descent(self, parameters: ParameterVector, theta: Tensor, gradient: Tensor) -> Tensor:
        """(P,) minus the gradient, projected onto the directions that stay in the box and in the budget."""
        out = box_descent(parameters, theta, gradient)
        part = slice(self.start, self.stop)
        at, z = theta[part], -gradient[part]
        low = torch.where(at <= parameters.lower[part], 0.0, -torch.inf).to(z)
        high = torch.where(at >= parameters.upper[part], 0.0, torch.inf).to(z)
        weights = self._weights(theta)
        ratio = z / weights
        out[part] = clip_to_total(z, weights, low, high, 0.0, float(ratio.min()), float(ratio.max()))
        return out

    def _weights(self, like: Tensor) -> Tensor:
        if self.weights is None:
            return like.new_ones(self.stop - self.start)
        return self.weights.to(like)


def box_descent(parameters: ParameterVector, theta: Tensor, gradient: Tensor) -> Tensor:
    """(P,) minus the gradient without the components that leave the box."""
    blocked = ((theta <= parameters.lower) & (gradient > 0)) | ((theta >= parameters.upper) & (gradient < 0))
    return torch.where(blocked, torch.zeros_like(gradient), -gradient)


def clip_to_total(
    z: Tensor, weights: Tensor, low: Tensor, high: Tensor, total: float, left: float, right: float
) -> Tensor:
    """clip(z - c weights, low, high) with the multiplier c in [left, right] for which its weighted sum is ``total``.

    The sum falls, piecewise linearly, as c grows, so that Newton's method inside a shrinking bracket ends after a few
    passes over the entries (Cominetti, Mascarenhas, Silva, A Newton's method for the continuous quadratic knapsack
    problem, Math. Program. Comput. 6, 2014).

    Args:
        z, weights, low, high: (n,) point, positive weights and bounds, which may be infinite.
        total: the weighted sum asked for.
        left, right: multipliers at which the sum is at least and at most ``total``.
    """
    multiplier = min(max(0.0, left), right)
    size = max(float((weights * z.abs()).sum()), abs(total))
    for _ in range(_MAX_STEPS):
        moved = z - multiplier * weights
        point = torch.minimum(torch.maximum(moved, low), high)
        excess = float(weights @ point) - total
        if abs(excess) <= 4 * torch.finfo(z.dtype).eps * size:
            break
        left, right = (multiplier, right) if excess > 0 else (left, multiplier)
        free = (moved > low) & (moved < high)
        rate = float(weights[free].square().sum())
        following = multiplier + excess / rate if rate > 0 else math.nan
        if not left < following < right:
            following = 0.5 * (left + right)
            if not left < following < right:
                break
        multiplier = following
    return torch.minimum(torch.maximum(z - multiplier * weights, low), high)
