"""Even scalar functions phi of filter responses, one per filter: values, two derivatives, and bounds on the curvature."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from bilearn.parameters import Log10, learnable


class ResponsePotential(nn.Module):
    """phi_c(u) elementwise on responses u (P, F, h, w); learned shape parameters are this module's parameters.

    ``slope`` may overwrite u outside of grad mode. All bounds have shape (F,), or () where equal for all filters.
    """

    @abstractmethod
    def value(self, u: Tensor) -> Tensor:
        """phi(u)."""

    @abstractmethod
    def slope(self, u: Tensor) -> Tensor:
        """phi'(u)."""

    @abstractmethod
    def second(self, u: Tensor) -> Tensor:
        """phi''(u), or one element of the generalized derivative at a kink of phi'."""

    @abstractmethod
    def lowest(self, like: Tensor) -> Tensor:
        """Largest lower bound on phi''; negative where phi is only weakly convex."""

    @abstractmethod
    def highest(self, like: Tensor) -> Tensor:
        """Smallest upper bound on phi''."""

    @abstractmethod
    def third(self, like: Tensor) -> Tensor:
        """Lipschitz constant of phi''; infinite where phi'' jumps."""

    def variation(self, u: Tensor, reach: Tensor) -> Tensor:
        """Bound on |phi''(u') - phi''(u)| over |u' - u| <= reach, which broadcasts against u."""
        third, span = self.third(u).reshape(-1, 1, 1), (self.highest(u) - self.lowest(u)).reshape(-1, 1, 1)
        return torch.where(reach > 0, torch.minimum(third * reach, span), 0.0).expand_as(u)


class StudentTResponse(ResponsePotential):
    """phi(u) = log(1 + u^2): not convex, -1/4 <= phi'' <= 2, |phi'''| < 2.92.

    phi'' = 2 (1 - u^2)/(1 + u^2)^2 has its minimum -1/4 at u^2 = 3; phi''' = 4 u (u^2 - 3)/(1 + u^2)^3 is largest where
    u^4 - 6 u^2 + 1 = 0, at u = sqrt 2 - 1.
    """

    def value(self, u: Tensor) -> Tensor:
        """log(1 + u^2)."""
        return torch.log1p(u * u)

    def slope(self, u: Tensor) -> Tensor:
        """2 u/(1 + u^2)."""
        if torch.is_grad_enabled():
            return 2 * u / (1 + u * u)
        return u.div_((u * u).add_(1.0).mul_(0.5))

    def second(self, u: Tensor) -> Tensor:
        """2 (1 - u^2)/(1 + u^2)^2."""
        inverse = 1 / (1 + u * u)
        return 2 * inverse * (2 * inverse - 1)

    def lowest(self, like: Tensor) -> Tensor:
        """-1/4."""
        return like.new_tensor(-0.25)

    def highest(self, like: Tensor) -> Tensor:
        """2."""
        return like.new_tensor(2.0)

    def third(self, like: Tensor) -> Tensor:
        """The maximum of |phi'''|, rounded up."""
        u = 2**0.5 - 1
        return like.new_tensor(4 * u * (3 - u * u) / (1 + u * u) ** 3 * (1 + 1e-6))


class LogCoshResponse(ResponsePotential):
    """phi(u) = log cosh u: convex, phi'' = 1 - tanh^2 u in (0, 1], |phi'''| <= 4/(3 sqrt 3)."""

    def value(self, u: Tensor) -> Tensor:
        """|u| + log(1 + e^(-2|u|)) - log 2, which does not overflow."""
        size = u.abs()
        return size + torch.log1p(torch.exp(-2 * size)) - 0.6931471805599453

    def slope(self, u: Tensor) -> Tensor:
        """tanh u."""
        return torch.tanh(u) if torch.is_grad_enabled() else u.tanh_()

    def second(self, u: Tensor) -> Tensor:
        """1 - tanh^2 u."""
        return 1 - torch.tanh(u).square()

    def lowest(self, like: Tensor) -> Tensor:
        """0."""
        return like.new_tensor(0.0)

    def highest(self, like: Tensor) -> Tensor:
        """1."""
        return like.new_tensor(1.0)

    def third(self, like: Tensor) -> Tensor:
        """4/(3 sqrt 3), at tanh^2 u = 1/3, rounded up."""
        return like.new_tensor(4 / (3 * 3**0.5) * (1 + 1e-6))


class AbsoluteResponse(ResponsePotential):
    """phi(u) = sqrt(u^2 + nu_c^2): convex, phi'' = nu^2 (u^2 + nu^2)^(-3/2) in (0, 1/nu].

    phi''' = -3 nu^2 u (u^2 + nu^2)^(-5/2) is largest at u = nu/2, where it is 48/(25 sqrt 5 nu^2).

    Args:
        filters: number of filters.
        nu: smoothing of every filter, or (filters,).
        learn: whether it is learned.
        bounds: its bounds.
    """

    nu: Tensor

    def __init__(
        self,
        filters: int,
        nu: float | Tensor = 0.01,
        learn: bool = True,
        bounds: tuple[float, float] = (1e-4, 1.0),
    ) -> None:
        super().__init__()
        values = torch.as_tensor(nu, dtype=torch.float64).expand(filters)
        learnable(self, "nu", values, Log10(bounds), learn)

    def _square(self, u: Tensor) -> Tensor:
        return self.nu.to(u).square().reshape(-1, 1, 1)

    def value(self, u: Tensor) -> Tensor:
        """sqrt(u^2 + nu^2)."""
        return torch.sqrt(u * u + self._square(u))

    def slope(self, u: Tensor) -> Tensor:
        """u (u^2 + nu^2)^(-1/2)."""
        if torch.is_grad_enabled():
            return u * torch.rsqrt(u * u + self._square(u))
        return u.mul_((u * u).add_(self._square(u)).rsqrt_())

    def second(self, u: Tensor) -> Tensor:
        """nu^2 (u^2 + nu^2)^(-3/2)."""
        square = self._square(u)
        return square * torch.rsqrt(u * u + square) ** 3

    def lowest(self, like: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(self.nu).to(like)

    def highest(self, like: Tensor) -> Tensor:
        """1/nu."""
        return 1 / self.nu.to(like)

    def third(self, like: Tensor) -> Tensor:
        """48/(25 sqrt 5 nu^2), rounded up."""
        return 48 / (25 * 5**0.5) * (1 + 1e-6) / self.nu.to(like).square()
