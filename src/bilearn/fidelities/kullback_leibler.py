"""Kullback-Leibler divergence, the fidelity of Poisson data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities.fidelity import Fidelity
from bilearn.parameters import Log10, is_learned, learnable


class KullbackLeibler(Fidelity):
    """D(z, y) = weight * sum_k [ s_k - y_k + y_k log(y_k / s_k) ],  s = z + background, y >= 0 counts in units of z.

    Below s = background (that is, z < 0) the logarithm is continued by its second-order Taylor polynomial at s =
    background, so that D is twice continuously differentiable, convex and finite for every z.

    Args:
        background: expected counts without any signal, positive, in units of z.
        weight: number or map (1/gain where y = gain * counts).
        learn: whether the weight is learned.
        bounds: bounds of the weight.

    Raises:
        ValueError: the background is not positive, or (when used) y has a negative entry.
    """

    weight: Tensor

    def __init__(
        self,
        background: float = 1e-2,
        weight: float | Tensor = 1.0,
        learn: bool = False,
        bounds: tuple[float, float] = (1e-7, 1e7),
    ) -> None:
        super().__init__()
        if not background > 0:
            raise ValueError(f"background: found {background}, expected a positive number")
        self.background = float(background)
        learnable(self, "weight", weight, Log10(bounds), learn)

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Clamped s and the (nonpositive) part of s below the background."""
        s = z + self.background
        clamped = s.clamp(min=self.background)
        return clamped, s - clamped

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        if bool((y < 0).any()):
            raise ValueError(f"y: found {float(y.min()):.3g}, expected counts >= 0 for the Kullback-Leibler fidelity")
        s, below = self._split(z)
        q = below / s
        logarithm = torch.xlogy(y, y) - torch.xlogy(y, s) - y * (q - 0.5 * q.square())
        return _batch.total(self.weight.to(z.dtype) * (s + below - y + logarithm))

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """weight (1 - y/s), continued linearly."""
        s, below = self._split(z)
        return self.weight.to(z.dtype) * (1 - y / s + y * below / s.square())

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """weight y/s^2, constant below the background."""
        s, _ = self._split(z)
        return self.weight.to(z.dtype) * y / s.square()

    def curvature(self, y: Tensor) -> Curvature:
        """mu = 0, L = max(weight y)/background^2, Hessian constant 2 max(weight y)/background^3, per sample."""
        top = (self.weight.to(y.dtype) * y).flatten(1).amax(1)
        steep = top / self.background**2
        cross = math.log(10.0) * steep if is_learned(self, "weight") else torch.zeros_like(steep)
        return Curvature(
            Constant(torch.zeros_like(top)), Constant(steep), Constant(2 * top / self.background**3), Constant(cross)
        )

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Third derivative over what each entry can reach: radius * max_k(2 weight y_k / s_low^3 |v_k|)."""
        with torch.no_grad():
            s, _ = self._split(z)
            low = (s - _batch.expand(radius, s)).clamp(min=self.background)
            third = 2 * self.weight.to(z.dtype) * y / low**3
            return radius * _batch.max_abs(third * v, lead=v.ndim - z.ndim + 1)

    def rounding(self, z: Tensor, y: Tensor) -> Tensor:
        """Each entry is a sum of terms of size weight and weight y/s."""
        with torch.no_grad():
            s, below = self._split(z)
            weight = self.weight.to(z.dtype)
            size = weight * (1 + y / s + y * below.abs() / s.square() + y * z.abs() / s.square())
            return 8 * torch.finfo(z.dtype).eps * _batch.norm(size)
