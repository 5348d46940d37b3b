"""Fidelities of the residual r = z - y that forgive outliers: Huber, pseudo-Huber and Student-t."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities.fidelity import Fidelity
from bilearn.parameters import Log10, is_learned, learnable

LN10 = math.log(10.0)


class ResidualFidelity(Fidelity):
    """D(z, y) = weight * sum_k rho(z_k - y_k; scale), with rho(r; s) = s^2 rho(r/s; 1) and rho''(0) = 1.

    A subclass writes rho and its derivatives and the constants of weight = 1.

    Args:
        weight: positive number or map, also of few numbers (:class:`~bilearn.coarse_map.CoarseMap`).
        scale: residual size at which rho leaves the parabola, in data units: a number or a map as well.
        learn: names out of 'weight', 'scale'.
        bounds: bounds by name.
    """

    weight: Tensor
    scale: Tensor
    #: Smallest second derivative.
    second_min: float = 0.0
    #: Largest |third derivative| times the scale; None where the second derivative jumps.
    third_max: float | None = None
    #: Lipschitz constant of d rho'/d(ln scale); None where it jumps.
    scale_slope: float | None = None

    def __init__(
        self,
        weight: float | Tensor | CoarseMap = 1.0,
        scale: float | Tensor | CoarseMap = 0.1,
        learn: Iterable[str] = (),
        bounds: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        learned, limits = set(learn), {"weight": (1e-7, 1e7), "scale": (1e-7, 1e7), **(bounds or {})}
        unknown = sorted((learned | set(limits)) - {"weight", "scale"})
        if unknown:
            raise ValueError(f"learn, bounds: found {unknown}, expected names out of ['weight', 'scale']")
        learnable(self, "weight", weight, Log10(limits["weight"]), "weight" in learned)
        learnable(self, "scale", scale, Log10(limits["scale"]), "scale" in learned)

    def rho(self, r: Tensor, s: Tensor) -> Tensor:
        """rho(r)."""
        raise NotImplementedError(f"{type(self).__name__} must define rho")

    def slope(self, r: Tensor, s: Tensor) -> Tensor:
        """rho'(r)."""
        raise NotImplementedError(f"{type(self).__name__} must define slope")

    def bend(self, r: Tensor, s: Tensor) -> Tensor:
        """rho''(r)."""
        raise NotImplementedError(f"{type(self).__name__} must define bend")

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        return _batch.total(self.weight.to(z.dtype) * self.rho(z - y, self.scale.to(z.dtype)))

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """weight * rho'."""
        return self.weight.to(z.dtype) * self.slope(z - y, self.scale.to(z.dtype))

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """weight * rho''."""
        return (self.weight.to(z.dtype) * self.bend(z - y, self.scale.to(z.dtype))).expand_as(z)

    def entry_slopes(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """ln(10) weight rho' for the weight; ln(10) weight (rho' - r rho'') for the scale, as rho'(r; s) = s rho'(r/s; 1)."""
        slopes, gradient = {}, self.grad(z, y)
        if is_learned(self, "weight"):
            slopes["weight"] = LN10 * gradient
        if is_learned(self, "scale"):
            slopes["scale"] = LN10 * (gradient - (z - y) * self.second(z, y))
        return slopes

    def curvature(self, y: Tensor) -> Curvature:
        """Constants of rho times the largest weight; (proved) infinity where a derivative jumps."""
        top = self.weight.max()
        jumps = Constant(torch.full_like(top, torch.inf))
        third = jumps if self.third_max is None else Constant(self.third_max * (self.weight / self.scale).max())
        cross: Constant = Constant(LN10 * top if is_learned(self, "weight") else torch.zeros_like(top))
        if is_learned(self, "scale"):
            cross = jumps if self.scale_slope is None else cross + Constant(LN10 * top * self.scale_slope)
        return Curvature(Constant(top * self.second_min), Constant(top), third, cross)


class PseudoHuber(ResidualFidelity):
    """rho(r) = s^2 (sqrt(1 + (r/s)^2) - 1): parabola near zero, slope at most s; smooth everywhere."""

    third_max = 0.86
    scale_slope = 0.56

    def rho(self, r: Tensor, s: Tensor) -> Tensor:
        """s^2 (sqrt(1 + (r/s)^2) - 1), written without cancellation."""
        return r.square() / (torch.sqrt(1 + (r / s).square()) + 1)

    def slope(self, r: Tensor, s: Tensor) -> Tensor:
        """r / sqrt(1 + (r/s)^2)."""
        return r * torch.rsqrt(1 + (r / s).square())

    def bend(self, r: Tensor, s: Tensor) -> Tensor:
        """(1 + (r/s)^2)^(-3/2)."""
        return torch.rsqrt(1 + (r / s).square()) ** 3


class StudentT(ResidualFidelity):
    """rho(r) = s^2/2 log(1 + (r/s)^2), the negative log-likelihood of heavy-tailed noise. Not convex: rho'' >= -1/8.

    Student-t noise with k degrees of freedom and scale tau has, up to a constant, the negative log-likelihood with
    s^2 = k tau^2 and weight = (k + 1)/s^2.
    """

    second_min = -0.125
    third_max = 1.46
    scale_slope = 0.76

    def rho(self, r: Tensor, s: Tensor) -> Tensor:
        """s^2/2 log(1 + (r/s)^2)."""
        return 0.5 * s.square() * torch.log1p((r / s).square())

    def slope(self, r: Tensor, s: Tensor) -> Tensor:
        """r / (1 + (r/s)^2)."""
        return r / (1 + (r / s).square())

    def bend(self, r: Tensor, s: Tensor) -> Tensor:
        """(1 - (r/s)^2) / (1 + (r/s)^2)^2."""
        t = (r / s).square()
        return (1 - t) / (1 + t).square()


class Huber(ResidualFidelity):
    """rho(r) = r^2/2 for |r| <= s, s |r| - s^2/2 beyond. C1; its second derivative jumps at |r| = s.

    The bounds on changes of derivatives count the entries that can cross the jump inside the given radius, so they are
    finite and vanish once no entry can.
    """

    def rho(self, r: Tensor, s: Tensor) -> Tensor:
        """Parabola, then straight line."""
        c = torch.minimum(torch.maximum(r, -s), s)
        return c * r - 0.5 * c.square()

    def slope(self, r: Tensor, s: Tensor) -> Tensor:
        """r clipped to [-s, s]."""
        return torch.minimum(torch.maximum(r, -s), s)

    def bend(self, r: Tensor, s: Tensor) -> Tensor:
        """1 inside, 0 outside."""
        return (r.abs() <= s).to(r.dtype)

    def _crossing(self, z: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        gap = ((z - y).abs() - self.scale.to(z.dtype)).abs()
        return (gap <= _batch.expand(radius, gap)).to(z.dtype)

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """|weight v| over the entries that can cross."""
        with torch.no_grad():
            crossing = self.weight.to(z.dtype) * self._crossing(z, y, radius)
            return _batch.norm(crossing * v, lead=v.ndim - z.ndim + 1)

    def _jumps(self, z: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """By how many times the scale d rho'/d(ln scale) can jump: 1 onto or off the parabola, 2 across it."""
        across = (z - y).abs() + self.scale.to(z.dtype) <= _batch.expand(radius, z)
        return self._crossing(z, y, radius) + across.to(z.dtype)

    def cross_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """ln(10) weight |dz| |v| for the weight; ln(10) weight s |v_k| summed over the entries that can jump for s."""
        with torch.no_grad():
            weight, scale = self.weight.to(z.dtype), self.scale.to(z.dtype)
            total = torch.zeros_like(radius)
            if is_learned(self, "weight"):
                total = total + LN10 * weight.max() * radius * _batch.norm(v)
            if is_learned(self, "scale"):
                total = total + LN10 * _batch.total(weight * scale * self._jumps(z, y, radius) * v.abs())
            return total

    def column_variation(self, z: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """ln(10) weight |dz| for the weight; the 2-norm of ln(10) weight s over the entries that can jump for s."""
        with torch.no_grad():
            weight, scale = self.weight.to(z.dtype), self.scale.to(z.dtype)
            total = torch.zeros_like(radius)
            if is_learned(self, "weight"):
                total = total + LN10 * weight.max() * radius
            if is_learned(self, "scale"):
                total = total + LN10 * _batch.norm(weight * scale * self._jumps(z, y, radius))
            return total
