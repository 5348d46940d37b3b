"""Kullback-Leibler divergence, the fidelity of Poisson data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities.fidelity import Fidelity
from bilearn.parameters import Log10, is_learned, learnable

LN10 = math.log(10.0)


class KullbackLeibler(Fidelity):
    """D(z, y) = weight * sum_k [ s_k - y_k + y_k log(y_k / s_k) ],  s = z + background, y >= 0 counts in units of z.

    Below s = background (that is, z < 0) the logarithm is continued by its second-order Taylor polynomial at s =
    background, so that D is twice continuously differentiable, convex and finite for every z.

    Args:
        background: expected counts without any signal, positive, in units of z: a number or a map, also of few numbers
            (:class:`~bilearn.coarse_map.CoarseMap`).
        weight: number or map as well (1/gain where y = gain * counts).
        learn: whether the weight is learned (True, False), or names out of 'background', 'weight'.
        bounds: bounds of the weight, or bounds by name.

    Raises:
        ValueError: a background or weight outside its bounds, an unknown name, or (when used) y has a negative entry.
    """

    background: Tensor
    weight: Tensor

    def __init__(
        self,
        background: float | Tensor | CoarseMap = 1e-2,
        weight: float | Tensor | CoarseMap = 1.0,
        learn: bool | Iterable[str] = False,
        bounds: tuple[float, float] | Mapping[str, tuple[float, float]] = (1e-7, 1e7),
    ) -> None:
        super().__init__()
        learned = {"weight"} if learn is True else set(learn or ())
        given = bounds if isinstance(bounds, Mapping) else {"weight": bounds}
        limits = {"background": (1e-7, 1e7), "weight": (1e-7, 1e7), **given}
        unknown = sorted((learned | set(limits)) - {"background", "weight"})
        if unknown:
            raise ValueError(f"learn, bounds: found {unknown}, expected names out of ['background', 'weight']")
        learnable(self, "background", background, Log10(limits["background"]), "background" in learned)
        learnable(self, "weight", weight, Log10(limits["weight"]), "weight" in learned)

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Clamped s and the (nonpositive) part of s below the background."""
        above = z.clamp(min=0.0)
        return above + self.background.to(z.dtype), z - above

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

    def entry_slopes(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """ln(10) D' for the weight; ln(10) weight b (y/s^2 - 2 y below/s^3) for the background b."""
        slopes = {}
        if is_learned(self, "background"):
            s, below = self._split(z)
            bend = self.weight.to(z.dtype) * self.background.to(z.dtype) * y / s.square()
            slopes["background"] = LN10 * bend * (1 - 2 * below / s)
        if is_learned(self, "weight"):
            slopes["weight"] = LN10 * self.grad(z, y)
        return slopes

    def curvature(self, y: Tensor) -> Curvature:
        """mu = 0, L = max(weight y/b^2), Hessian constant max(2 weight y/b^3), per sample, b the background.

        The cross derivative in log10 weight moves by at most ln(10) L; that in log10 b by 2 ln(10) L: the derivative in z
        of b (y/s^2 - 2 y below/s^3) is -2 b y/s^3 above the background and -2 y/b^2 below.
        """
        weight, background = self.weight.to(y.dtype), self.background.to(y.dtype)
        steep = (weight * y / background.square()).flatten(1).amax(1)
        third = (2 * weight * y / background**3).flatten(1).amax(1)
        factor = LN10 * math.sqrt(is_learned(self, "weight") + 4 * is_learned(self, "background"))
        return Curvature(Constant(torch.zeros_like(steep)), Constant(steep), Constant(third), Constant(factor * steep))

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Third derivative over what each entry can reach: radius * max_k(2 weight y_k / s_low^3 |v_k|)."""
        with torch.no_grad():
            s, _ = self._split(z)
            low = torch.maximum(s - _batch.expand(radius, s), self.background.to(z.dtype))
            third = 2 * self.weight.to(z.dtype) * y / low**3
            return radius * _batch.max_abs(third * v, lead=v.ndim - z.ndim + 1)

    def rounding(self, z: Tensor, y: Tensor) -> Tensor:
        """Each entry is a sum of terms of size weight and weight y/s."""
        with torch.no_grad():
            s, below = self._split(z)
            weight = self.weight.to(z.dtype)
            size = weight * (1 + y / s + y * below.abs() / s.square() + y * z.abs() / s.square())
            return 8 * torch.finfo(z.dtype).eps * _batch.norm(size)
