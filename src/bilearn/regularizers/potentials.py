"""Scalar potentials phi(r; nu) of a magnitude r = |u|, written in t = r^2 so that they are smooth at r = 0.

All of them are convex and grow at most quadratically: first(t) = phi'(r)/r does not increase with t, hence the Hessian of
u -> phi(|u|) is first(t) I + cross(t) u u' with cross <= 0 and its largest eigenvalue is first(t).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Potential(ABC):
    """phi and what the solvers and certificates need of it; ``nu`` is its one shape parameter."""

    #: Whether the shape parameter matters.
    has_shape: bool = True

    @abstractmethod
    def value(self, t: Tensor, nu: Tensor) -> Tensor:
        """phi(sqrt t)."""

    @abstractmethod
    def first(self, t: Tensor, nu: Tensor) -> Tensor:
        """phi'(r)/r."""

    @abstractmethod
    def cross(self, t: Tensor, nu: Tensor) -> Tensor:
        """(phi''(r) - phi'(r)/r) / r^2, nonpositive."""

    def fill_first(self, t: Tensor, nu: Tensor) -> Tensor:
        """phi'(r)/r, in the memory of t."""
        return t.copy_(self.first(t, nu))

    def first_and_root(self, t: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
        """first and sqrt(-cross/first); may use the memory of t."""
        first = self.first(t, nu)
        return first, torch.sqrt(-self.cross(t, nu) / first)

    @abstractmethod
    def first_max(self, nu: Tensor) -> Tensor:
        """Largest phi'(r)/r."""

    @abstractmethod
    def second_min(self, nu: Tensor) -> Tensor:
        """Smallest curvature phi''(r) over all r."""

    @abstractmethod
    def third(self, r: Tensor, nu: Tensor) -> Tensor:
        """Bound on the Lipschitz constant of the Hessian of u -> phi(|u|) over |u| >= r."""

    @abstractmethod
    def shape_slope(self, r: Tensor, nu: Tensor) -> Tensor:
        """Bound on the Lipschitz constant in u of nu * d/dnu [phi'(|u|) u/|u|] over |u| >= r."""

    def shape_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """nu * d/dnu [phi'(r)/r]."""
        with torch.enable_grad():
            shape = nu.detach().requires_grad_(True)
            spread = torch.ones_like(t).requires_grad_(True)
            (row,) = torch.autograd.grad((self.first(t, shape) * spread).sum(), shape, create_graph=True)
            (column,) = torch.autograd.grad(row, spread, materialize_grads=True)
        return (nu * column).detach()


class SmoothedAbsolute(Potential):
    """phi(r) = sqrt(r^2 + nu^2)."""

    def value(self, t: Tensor, nu: Tensor) -> Tensor:
        """sqrt(t + nu^2)."""
        return torch.sqrt(t + nu * nu)

    def first(self, t: Tensor, nu: Tensor) -> Tensor:
        """(t + nu^2)^(-1/2)."""
        return torch.rsqrt(t + nu * nu)

    def cross(self, t: Tensor, nu: Tensor) -> Tensor:
        """-(t + nu^2)^(-3/2)."""
        return -(torch.rsqrt(t + nu * nu) ** 3)

    def fill_first(self, t: Tensor, nu: Tensor) -> Tensor:
        """In place."""
        return t.add_(nu * nu).rsqrt_()

    def first_and_root(self, t: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
        """Both are (t + nu^2)^(-1/2)."""
        first = self.fill_first(t, nu)
        return first, first

    def first_max(self, nu: Tensor) -> Tensor:
        """1/nu."""
        return 1 / nu

    def second_min(self, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(nu)

    def third(self, r: Tensor, nu: Tensor) -> Tensor:
        """3 s/(s^2 + nu^2)^(3/2) at s = max(r, nu/sqrt 2), where that function is largest over s >= r.

        The derivative of (I - u u'/rho^2)/rho, rho^2 = |u|^2 + nu^2, in a direction d has norm at most
        3 |u| |d| / rho^3 (diagonalize in the plane of u and d).
        """
        s = torch.maximum(r, nu * 0.5**0.5)
        return 3 * s * torch.rsqrt(s * s + nu * nu) ** 3

    def shape_slope(self, r: Tensor, nu: Tensor) -> Tensor:
        """2 nu^2/(r^2 + nu^2)^(3/2).

        nu d/dnu [u/rho] = -nu^2 u/rho^3, whose Jacobian -nu^2 (I/rho^3 - 3 u u'/rho^5) has norm at most
        nu^2 max(1, 2)/rho^3.
        """
        return 2 * nu * nu * torch.rsqrt(r * r + nu * nu) ** 3

    def shape_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """-nu^2 (t + nu^2)^(-3/2)."""
        return -(nu * nu) * torch.rsqrt(t + nu * nu) ** 3


class Quadratic(Potential):
    """phi(r) = r^2/2; no shape parameter."""

    has_shape = False

    def value(self, t: Tensor, nu: Tensor) -> Tensor:
        """t/2."""
        return 0.5 * t

    def first(self, t: Tensor, nu: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def cross(self, t: Tensor, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)

    def fill_first(self, t: Tensor, nu: Tensor) -> Tensor:
        """In place."""
        return t.fill_(1.0)

    def first_max(self, nu: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(nu)

    def second_min(self, nu: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(nu)

    def third(self, r: Tensor, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(r)

    def shape_slope(self, r: Tensor, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(r)

    def shape_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)


class CubicAbsolute(Potential):
    """phi(r) = r^2/nu - r^3/(3 nu^2) for r <= nu, r - nu/3 beyond: exactly linear away from zero, C^2 as a function of u.

    The smoothed 1-norm of Sherry et al. (IEEE Trans. Med. Imaging 39, 2020).
    """

    @staticmethod
    def _root(t: Tensor) -> Tensor:
        """sqrt t, with derivative 0 at 0."""
        positive = t > 0
        return torch.where(positive, torch.sqrt(torch.where(positive, t, 1.0)), 0.0)

    def value(self, t: Tensor, nu: Tensor) -> Tensor:
        """Two pieces."""
        r = self._root(t)
        return torch.where(r <= nu, t / nu - t * r / (3 * nu * nu), r - nu / 3)

    def first(self, t: Tensor, nu: Tensor) -> Tensor:
        """2/nu - r/nu^2, or 1/r beyond nu."""
        r = self._root(t)
        return torch.where(r <= nu, (2 - r / nu) / nu, 1 / torch.maximum(r, nu))

    def cross(self, t: Tensor, nu: Tensor) -> Tensor:
        """-1/(nu^2 r), or -1/r^3 beyond nu, and 0 at r = 0, where it multiplies u u' = 0."""
        r = self._root(t)
        inverse = torch.where(r > 0, 1 / torch.where(r > 0, r, 1.0), 0.0)
        return -inverse / torch.maximum(r, nu) ** 2

    def first_and_root(self, t: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(-cross/first) = (r (2 nu - r))^(-1/2), or 1/r beyond nu; 0 at r = 0."""
        r = self._root(t)
        square = torch.where(r <= nu, r * (2 * nu - r), t)
        return self.first(t, nu), torch.where(square > 0, torch.rsqrt(torch.where(square > 0, square, 1.0)), 0.0)

    def first_max(self, nu: Tensor) -> Tensor:
        """2/nu."""
        return 2 / nu

    def second_min(self, nu: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(nu)

    def third(self, r: Tensor, nu: Tensor) -> Tensor:
        """2/nu^2, or 2/(sqrt 3 r^2) beyond nu.

        With n = u/r the Hessian is first (I - n n') + phi'' n n'. In the plane of n and a unit direction c n + s m its
        derivative is -((2 c, s), (s, c))/nu^2 below nu, with the largest |eigenvalue| 2/nu^2 (at c = 1), and
        -((0, s), (s, c))/r^2 beyond, with the largest one 2/(sqrt 3 r^2) (at c = 1/sqrt 3); it is c times the derivative
        of first, which is smaller, on the rest of the space.
        """
        return torch.where(r < nu, 2 / (nu * nu), (2 / 3**0.5) / torch.maximum(r, nu) ** 2)

    def shape_slope(self, r: Tensor, nu: Tensor) -> Tensor:
        """2/nu below nu, 0 beyond.

        nu d/dnu [first u] = -(2/nu)(1 - r/nu) u, whose Jacobian has the eigenvalues -(2/nu)(1 - r/nu) and
        -(2/nu)(1 - 2 r/nu), at most 2/nu in size; beyond nu, u/r does not depend on nu.
        """
        return torch.where(r < nu, 2 / nu, torch.zeros_like(nu))

    def shape_column(self, t: Tensor, nu: Tensor) -> Tensor:
        """-(2/nu)(1 - r/nu) below nu, 0 beyond."""
        return -(2 / nu) * (1 - self._root(t) / nu).clamp(min=0.0)
