"""The smoothed power of a magnitude, with an exponent that may vary from place to place and be learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn.coarse_map import CoarseMap
from bilearn.parameters import Identity, learnable
from bilearn.regularizers.potentials import Potential


class PowerAbsolute(nn.Module, Potential):
    """phi(r) = rho^p with rho = sqrt(r^2 + nu^2), for exponents 0 < p <= 2.

    u -> phi(|u|) is convex if and only if p >= 1: its Hessian p rho^(p-2) (I - (2 - p) u u'/rho^2) has the eigenvalue
    p rho^(p-2) (1 - (2 - p) |u|^2/rho^2) along u, which tends to (p - 1) p rho^(p-2) far out. All eigenvalues lie within
    p rho^(p-2) of zero, since 0 < p <= 2.

    Args:
        exponent: p, a number or a map that broadcasts against one image, also of few numbers.
        learn: whether it is learned (in its own value).
        bounds: its bounds, within (0, 2].

    Raises:
        ValueError: bounds outside (0, 2], or an exponent outside its bounds.
    """

    exponent: Tensor

    def __init__(
        self, exponent: float | Tensor | CoarseMap = 1.0, learn: bool = True, bounds: tuple[float, float] = (1.0, 2.0)
    ) -> None:
        super().__init__()
        if not 0 < bounds[0] < bounds[1] <= 2:
            raise ValueError(f"bounds of the exponent: found {bounds}, expected 0 < lower < upper <= 2")
        learnable(self, "exponent", exponent, Identity(bounds), learn)

    @property
    def convex(self) -> bool:
        """Whether every exponent is at least 1."""
        return bool((self.exponent >= 1).all())

    def _power(self, like: Tensor) -> Tensor:
        return self.exponent.to(like.dtype)

    def value(self, t: Tensor, nu: Tensor) -> Tensor:
        """rho^p."""
        return (t + nu * nu) ** (self._power(t) / 2)

    def first(self, t: Tensor, nu: Tensor) -> Tensor:
        """p rho^(p-2), largest at r = 0."""
        p = self._power(t)
        return p * (t + nu * nu) ** (p / 2 - 1)

    def cross(self, t: Tensor, nu: Tensor) -> Tensor:
        """-p (2 - p) rho^(p-4)."""
        p = self._power(t)
        return -p * (2 - p) * (t + nu * nu) ** (p / 2 - 2)

    def first_and_root(self, t: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
        """The root is sqrt(2 - p)/rho."""
        return self.first(t, nu), torch.sqrt((2 - self._power(t)).clamp(min=0.0)) * torch.rsqrt(t + nu * nu)

    def first_max(self, nu: Tensor) -> Tensor:
        """p nu^(p-2), place by place."""
        return self.first(torch.zeros_like(nu), nu)

    def second_min(self, nu: Tensor) -> Tensor:
        """0 where p >= 1 (not sharp for p > 1); -p (1 - p) nu^(p-2) bounds it elsewhere."""
        p = self._power(nu)
        return torch.where(p >= 1, 0.0, -(1 - p) * self.first_max(nu))

    def third(self, r: Tensor, nu: Tensor) -> Tensor:
        """3 p (2 - p) s rho(s)^(p-4) at s = max(r, nu/sqrt(3 - p)), where that function is largest over s >= r.

        The derivative of the Hessian in a direction d is -p (2 - p) rho^(p-4) (<u, d> I + d u' + u d' - (4 - p) <u, d> u
        u'/rho^2). For a unit d = (c, s) in the plane of u its bracket over |u| is ((k c, s), (s, c)) with
        k = 3 - (4 - p) |u|^2/rho^2 in [p - 1, 3]; it is affine in k and of norm at most 3 at k = 3 and 1 at k = -1.
        """
        p = self._power(nu)
        s = torch.maximum(r, nu * torch.rsqrt(3 - p))
        return 3 * p * (2 - p) * s * (s * s + nu * nu) ** (p / 2 - 2)

    def third_times_size(self, r: Tensor, nu: Tensor) -> Tensor:
        """Largest 3 p (2 - p) s^2 rho(s)^(p-4) over s >= r, which is at s^2 = max(r^2, 2 nu^2/(2 - p))."""
        p = self._power(nu)
        t = torch.maximum(r * r, 2 * nu * nu / (2 - p).clamp(min=1e-12))
        return 3 * p * (2 - p) * t * (t + nu * nu) ** (p / 2 - 2)

    def shape_slope(self, r: Tensor, nu: Tensor) -> Tensor:
        """p (2 - p) (3 - p) nu^2 rho(r)^(p-4).

        nu d/dnu [p rho^(p-2) u] = -p (2 - p) nu^2 rho^(p-4) u, whose Jacobian has the eigenvalues 1 and
        1 - (4 - p) |u|^2/rho^2 times -p (2 - p) nu^2 rho^(p-4), at most 3 - p >= 1 in size.
        """
        p = self._power(nu)
        return p * (2 - p) * (3 - p) * nu * nu * (r * r + nu * nu) ** (p / 2 - 2)

    def shape_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """-p (2 - p) nu^2 rho^(p-4)."""
        return nu * nu * self.cross(t, nu)

    def exponent_slope(self, low: Tensor, high: Tensor, nu: Tensor) -> Tensor:
        """Bound on the Lipschitz constant in u of d/dp [p rho^(p-2) u] over low <= |u| <= high.

        The derivative is (1 + p ln rho) rho^(p-2) u. Its Jacobian is at most rho^(p-2) (|1 + p ln rho| + p): (1 + p ln rho)
        times I - (2 - p) u u'/rho^2, of norm at most 1, plus p u u'/rho^2.
        """
        p = self._power(nu)
        least, most = low * low + nu * nu, high * high + nu * nu
        swing = torch.maximum((1 + 0.5 * p * least.log()).abs(), (1 + 0.5 * p * most.log()).abs())
        return least ** (p / 2 - 1) * (swing + p)

    def exponent_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """d/dp [p rho^(p-2)] = (1 + p ln rho) rho^(p-2)."""
        p, square = self._power(t), t + nu * nu
        return (1 + 0.5 * p * square.log()) * square ** (p / 2 - 1)
