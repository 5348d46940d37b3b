"""Weighted least squares, the fidelity of Gaussian noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities.fidelity import Fidelity
from bilearn.parameters import Log10, is_learned, learnable


class LeastSquares(Fidelity):
    """D(z, y) = 1/2 sum_k w_k (z_k - y_k)^2.

    Args:
        weight: w > 0 (one over the variance of the noise), one number or a map that broadcasts against one datum (1, ...),
            also of few numbers (:class:`~bilearn.coarse_map.CoarseMap`).
        learn: whether the weight is learned.
        bounds: bounds of the weight.
    """

    weight: Tensor

    def __init__(
        self, weight: float | Tensor | CoarseMap = 1.0, learn: bool = False, bounds: tuple[float, float] = (1e-7, 1e7)
    ) -> None:
        super().__init__()
        learnable(self, "weight", weight, Log10(bounds), learn)

    def _weight(self, z: Tensor) -> Tensor:
        return self.weight.to(z.dtype)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        return 0.5 * _batch.total(self._weight(z) * (z - y).square())

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """w (z - y)."""
        weight = self._weight(z)
        return weight * (z - y) if torch.is_grad_enabled() else (z - y).mul_(weight)

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """w, expanded."""
        return self._weight(z).expand_as(z)

    def entry_slopes(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """ln(10) w (z - y)."""
        return {"weight": math.log(10.0) * self.grad(z, y)} if is_learned(self, "weight") else {}

    def curvature(self, y: Tensor) -> Curvature:
        """mu = min w, L = max w, constant Hessian; the cross derivative in log10 w moves by ln(10) w."""
        largest = self.weight.max()
        cross = math.log(10.0) * largest if is_learned(self, "weight") else torch.zeros_like(largest)
        return Curvature(Constant(self.weight.min()), Constant(largest), Constant(0.0), Constant(cross))

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Zero: the Hessian is constant."""
        return torch.zeros(v.shape[: v.ndim - z.ndim + 1], dtype=z.dtype, device=z.device)
