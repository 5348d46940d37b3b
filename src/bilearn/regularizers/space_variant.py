"""Total variation whose weight, direction, anisotropy and exponent are maps.

With q = K x at a pixel, K = diag(1, a) R(theta) D, and g(q) = alpha grad phi(|q|), the term of that pixel in
<grad R(x), v> is <g(q), p> with p = K v. Its derivative in a number eta that K depends on, dK/d(eta) = N K, is <F(q), p>
with F(q) = Dg(q) N q + N' g(q). Only the symmetric part of N counts, because phi depends on |q| only. So F is Lipschitz
with the constant |sym N| (sup |D^2 g(q)| |q| + 2 sup |Dg(q)|), and |F(q)| <= 2 |sym N| |Dg| |q|.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import UNKNOWN_LOWER, Constant, Curvature
from bilearn.energy import Advance
from bilearn.parameters import Log10, collect, is_learned, learnable
from bilearn.regularizers.differences import Boundary, Direction
from bilearn.regularizers.oriented import OrientedDifferences
from bilearn.regularizers.potential_regularizer import LN10, PotentialRegularizer
from bilearn.regularizers.power_potential import PowerAbsolute
from bilearn.regularizers.regularizer import Regularizer, TermHessian

BOUNDS: dict[str, tuple[float, float]] = {
    "alpha": (1e-7, 1e7),
    "angle": (-2 * math.pi, 2 * math.pi),
    "ratio": (1e-2, 1.0),
    "exponent": (1.0, 2.0),
    "xi": (1e-7, 1.0),
    "nu": (1e-7, 1.0),
}


class SpaceVariantTV(PotentialRegularizer):
    """R(x) = sum_j alpha_j (|diag(1, a_j) R(theta_j) (D x)_j|^2 + nu^2)^(p_j/2) + xi/2 |x|^2.

    Differences along theta_j cost in full, those across it a_j times as much (see :class:`OrientedDifferences`): theta is
    the direction of edges. Smoothed form of the regularizer of Calatroni, Lanza, Pragliola and Sgallari (SIAM J. Imaging
    Sci. 12, 2019), where it is the negative log-likelihood of image gradients that follow a bivariate generalized Gaussian
    distribution at each pixel; :func:`~bilearn.regularizers.gradient_maps` estimates the maps from images by its likelihood.

    Each of alpha, angle, ratio, exponent is a number, a map that broadcasts against one image, or a
    :class:`~bilearn.coarse_map.CoarseMap` of few numbers. Start with ratios below 1 if angles are learned: at 1 they have
    no effect.

    R is convex if and only if all exponents are at least 1, the default lower bound. With a smaller one no strong convexity
    is declared, so that nothing is certified.

    Args:
        alpha: weights.
        angle: theta, radians from the axis of columns towards that of rows.
        ratio: a, in (0, 1].
        exponent: p, in (0, 2].
        xi: coefficient of the ridge, which makes the energy strongly convex.
        nu: smoothing, in units of the image's gray values per pixel.
        learn: names of the learned ones.
        bounds: bounds by name; ``BOUNDS`` otherwise. alpha, ratio, xi and nu are optimized as log10.
        coupled: magnitude over all channels jointly (complex images, color); maps then have one channel.
        boundary, direction: see :class:`FiniteDifferences`.

    Raises:
        ValueError: a value outside its bounds, an unknown name, or a map with several channels where they are coupled.
    """

    alpha: Tensor
    xi: Tensor
    nu: Tensor
    analysis: OrientedDifferences
    potential: PowerAbsolute

    def __init__(
        self,
        alpha: float | Tensor | CoarseMap = 0.1,
        angle: float | Tensor | CoarseMap = 0.0,
        ratio: float | Tensor | CoarseMap = 0.5,
        exponent: float | Tensor | CoarseMap = 1.0,
        xi: float = 1e-3,
        nu: float = 1e-2,
        learn: Iterable[str] = ("alpha", "angle", "ratio"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        coupled: bool = False,
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
    ) -> None:
        learned, limits = frozenset(learn), {**BOUNDS, **(bounds or {})}
        unknown = sorted((learned | set(limits)) - set(BOUNDS))
        if unknown:
            raise ValueError(f"learn, bounds: found {unknown}, expected names out of {list(BOUNDS)}")
        analysis = OrientedDifferences(angle, ratio, learned, limits, boundary, direction)
        super().__init__(analysis, PowerAbsolute(exponent, "exponent" in learned, limits["exponent"]), coupled=coupled)
        for name, value in (("alpha", alpha), ("xi", xi), ("nu", nu)):
            learnable(self, name, value, Log10(limits[name]), name in learned)
        for name, value in (
            ("alpha", self.alpha),
            ("angle", self.angle),
            ("ratio", self.ratio),
            ("exponent", self.exponent),
        ):
            if coupled and value.shape[-3:-2] not in ((), (1,)):
                raise ValueError(f"{name}: found {value.shape[-3]} channels, expected 1 where coupled=True")

    @property
    def angle(self) -> Tensor:
        """theta; set it as ``analysis.angle``."""
        return self.analysis.angle

    @property
    def ratio(self) -> Tensor:
        """a; set it as ``analysis.ratio``."""
        return self.analysis.ratio

    @property
    def exponent(self) -> Tensor:
        """p; set it as ``potential.exponent``."""
        return self.potential.exponent

    def scale(self, like: Tensor) -> Tensor:
        """alpha."""
        return self.alpha.to(like.dtype)

    def shape(self, like: Tensor) -> Tensor:
        """nu."""
        return self.nu.to(like.dtype)

    def ridge(self, like: Tensor) -> Tensor:
        """xi."""
        return self.xi.to(like.dtype)

    def newton_model(self, x: Tensor, memory: Any) -> tuple[TermHessian, Advance]:
        """The primal-dual linearization where R is convex, which keeps it positive; else the Hessian."""
        return super().newton_model(x, memory) if self.potential.convex else Regularizer.newton_model(self, x, memory)

    def _owners(self) -> dict[str, PotentialRegularizer | OrientedDifferences | PowerAbsolute]:
        """Learned numbers of the sum over pixels, by name, with the module that owns them."""
        owners = {
            "alpha": self,
            "angle": self.analysis,
            "ratio": self.analysis,
            "exponent": self.potential,
            "nu": self,
        }
        return {name: owner for name, owner in owners.items() if is_learned(owner, name)}

    def _slopes(self, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        """Lipschitz constant in q of each derivative of the flux, by name, at each pixel with low <= |q| <= high."""
        alpha, nu, potential = self.scale(low), self.shape(low), self.potential
        slopes = {}
        for name in self._owners():
            if name == "alpha":
                slope = LN10 * potential.first(low.square(), nu)
            elif name == "nu":
                slope = LN10 * potential.shape_slope(low, nu)
            elif name == "exponent":
                slope = potential.exponent_slope(low, high, nu)
            else:
                bend = self.analysis.angle_bend(low) if name == "angle" else self.analysis.ratio_bend()
                slope = bend * (potential.third_times_size(low, nu) + 2 * potential.first(low.square(), nu))
            slopes[name] = alpha * slope
        return slopes

    def _sizes(self, t: Tensor) -> dict[str, Tensor]:
        """Bound on the size of each derivative of the flux, by name, at each pixel with |q|^2 = t."""
        alpha, nu, potential = self.scale(t), self.shape(t), self.potential
        sizes = {}
        for name in self._owners():
            if name == "alpha":
                size = LN10 * potential.first(t, nu)
            elif name == "nu":
                size = LN10 * potential.shape_column(t, nu).abs()
            elif name == "exponent":
                size = potential.exponent_column(t, nu).abs()
            else:
                bend = self.analysis.angle_bend(t) if name == "angle" else self.analysis.ratio_bend()
                size = 2 * bend * potential.first(t, nu)
            sizes[name] = alpha * size * torch.sqrt(t)
        return sizes

    def _ridge_slope(self, like: Tensor) -> Tensor:
        xi = self.ridge(like)
        return LN10 * xi if is_learned(self, "xi") else torch.zeros_like(xi)

    def _largest_sums(self, entries: Mapping[str, Tensor]) -> Tensor:
        """2-norm (B,) over the names of the roots of the largest sums of squares that share a coordinate."""
        owners = self._owners()
        squares = [_batch.max_abs(collect(owners[name], name, e.square())) for name, e in entries.items()]
        return torch.sqrt(torch.stack(squares).sum(0))

    def curvature(self, like: Tensor) -> Curvature:
        """mu = xi where all exponents are at least 1, L = max(alpha p nu^(p-2)) |D|^2 + xi, and so on place by place.

        The cross derivative has no Lipschitz constant for all x where exponents are learned: it grows like ln |x| at p = 2.
        """
        alpha, nu, xi = self.scale(like), self.shape(like), self.ridge(like)
        square = self.analysis.norm_squared
        zero = torch.zeros(1, 1, 1, 1, dtype=like.dtype, device=like.device)
        top = (alpha * self.potential.first(zero, nu)).max()
        third = (alpha * self.potential.third(zero, nu)).max()
        if is_learned(self.potential, "exponent"):
            cross = torch.full_like(xi, torch.inf)
        else:
            slopes = self._slopes(zero, zero)
            cross = self._ridge_slope(like) + square * sum((s.square().max() for s in slopes.values()), 0 * xi).sqrt()
        return Curvature(
            Constant(xi) if self.potential.convex else UNKNOWN_LOWER,
            Constant(top * square + xi),
            Constant(third * square**1.5),
            Constant(cross),
        )

    def _reach(self, x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest |q| that each pixel can take while x moves by at most radius."""
        size = torch.sqrt(self._magnitude(self.analysis(x), [0, 1]))
        moved = _batch.expand(radius * self.analysis.local_norm, size)
        return (size - moved).clamp(min=0.0), size + moved

    def cross_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Change of <d/dtheta grad R, v>: the slopes over what each pixel can reach times |K v|, summed by coordinate."""
        with torch.no_grad():
            total = self._ridge_slope(x) * radius * _batch.norm(v)
            size = torch.sqrt(self._magnitude(self.analysis(v), [0, 1]))
            slopes = {name: slope * size for name, slope in self._slopes(*self._reach(x, radius)).items()}
            if not slopes:
                return total
            return total + math.sqrt(self.analysis.norm_squared) * radius * self._largest_sums(slopes)

    def column_variation(self, x: Tensor, radius: Tensor) -> Tensor:
        """|D|^2 radius times the largest 2-norm of the slopes of a pixel."""
        with torch.no_grad():
            slopes = self._slopes(*self._reach(x, radius))
            worst = torch.zeros_like(radius)
            if slopes:
                worst = torch.sqrt(_batch.max_abs(sum((s.square() for s in slopes.values()), torch.zeros_like(x))))
            return (self._ridge_slope(x) + self.analysis.norm_squared * worst) * radius

    def cross_norm(self, x: Tensor) -> Tensor:
        """|D| times the sizes of the derivatives of the flux, summed by coordinate; plus that of the ridge."""
        with torch.no_grad():
            total = self._ridge_slope(x) * _batch.norm(x)
            sizes = self._sizes(self._magnitude(self.analysis(x), [0, 1]))
            return total + math.sqrt(self.analysis.norm_squared) * self._largest_sums(sizes) if sizes else total

    def rounding(self, x: Tensor) -> Tensor:
        """A few unit roundoffs of the differences, through the steepest slope of each pixel, and of the flux."""
        with torch.no_grad():
            alpha, nu = self.scale(x), self.shape(x)
            differences = torch.sqrt(sum((d.square() for d in self.analysis.differences(x)), torch.zeros_like(x)))
            steep = alpha * self.potential.first(self._magnitude(self.analysis(x), [0, 1]), nu)
            root = math.sqrt(self.analysis.norm_squared)
            size = 2 * root * _batch.norm(steep * differences) + self.ridge(x) * _batch.norm(x)
            return 8 * torch.finfo(x.dtype).eps * size

    def cross_factors(self, like: Tensor) -> tuple[bool, bool, Tensor]:
        """As for other potentials; what else is learned is bounded by the methods above."""
        return is_learned(self, "alpha"), is_learned(self, "nu"), self._ridge_slope(like)
