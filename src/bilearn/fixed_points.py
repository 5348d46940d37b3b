"""Deep equilibria and plug-and-play: lower levels that are fixed points x = T(x; theta, y) instead of minimizers."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import UNKNOWN_UPPER, Constant, Curvature
from bilearn.energy import Advance, AutogradHessian, Energy, Hessian
from bilearn.operators import ForwardOperator


class TransposedJacobian(AutogradHessian):
    """v -> (I - dT/dx)' v at a fixed point, by reverse mode: the matrix of adjoint systems. In general not symmetric."""

    def __call__(self, v: Tensor) -> Tensor:
        if v.ndim > self._x.ndim:
            raise ValueError(
                f"{type(self._energy).__name__}: found several right-hand sides, expected one adjoint; tangents need a "
                "symmetric derivative, use EquilibriumHypergradient() for fixed points"
            )
        return super().__call__(v)

    def select(self, index: Tensor) -> Hessian:
        """The same of the samples ``index``."""
        return TransposedJacobian(self._energy, _batch.select(self._x.detach(), index), _batch.select(self._y, index))


class FixedPointMap(Energy):
    """T(x; theta, y); its lower-level problem is x = T(x; theta, y), sample by sample.

    What an author must write: ``map``. What an author may write: ``contraction`` and what an :class:`Energy` may have.

    Everything that works on gradients works on the residual F(x) = x - T(x), which stands in for the gradient: ``minimize``
    solves F(x) = 0, norms of gradients are norms of residuals. Where T contracts with a declared factor rho < 1,

        |x - xhat| <= |F(x)| / (1 - rho),

    so 1 - rho takes the place of the strong convexity constant in every certificate, and 1 + rho that of L. F has no
    potential and its derivative need not be symmetric: use :class:`bilearn.lower.Anderson` or
    :class:`bilearn.lower.Broyden` (the default picks the first) and :class:`bilearn.hypergradient.EquilibriumHypergradient`.
    """

    has_potential = False

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """T(x; theta, y), same shape as x, differentiable in x and theta."""
        raise NotImplementedError(f"{type(self).__name__} must define map(x, y) -> tensor shaped like x")

    def contraction(self, y: Tensor) -> Constant:
        """Lipschitz constant rho of T in x, at the current theta; unknown unless declared."""
        return UNKNOWN_UPPER

    def forward(self, x: Tensor, y: Tensor) -> NoReturn:
        """There is no energy.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: a fixed-point problem has no energy to evaluate; use Anderson() or Broyden(), which "
            "need residuals only"
        )

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        """The residual x - T(x)."""
        return x - self.map(x, y)

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        """(I - dT/dx)' at x."""
        return TransposedJacobian(self, x, y)

    def newton_model(self, x: Tensor, y: Tensor, memory: Any) -> tuple[Hessian, Advance]:
        """There is none.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: a fixed-point problem has no symmetric Newton system; use Anderson() or Broyden()"
        )

    def curvature(self, y: Tensor) -> Curvature:
        """1 - rho and 1 + rho, where rho is known."""
        rho = self.contraction(y)
        if not rho.known:
            return Curvature()
        return Curvature(Constant(1 - rho.value, rho.source), Constant(1 + rho.value, rho.source))


class ProximalGradientMap(FixedPointMap):
    """Plug-and-play proximal gradient, T(x) = W(x - s A'(A x - y)), with a denoiser W in place of a proximal map.

    Its factor is rho = Lip(W) max(|1 - s a|, |1 - s b|), with a I <= A'A <= b I.

    Args:
        operator: A.
        denoiser: W, a module x -> x of the same shape; its learnable parameters are theta.
        step_size: s.
        lipschitz: Lipschitz constant of W for all theta, where known.

    Raises:
        ValueError: if ``step_size`` is not positive.

    References:
        Venkatakrishnan, Bouman, Wohlberg, "Plug-and-play priors for model based reconstruction", GlobalSIP 2013.
        Gilton, Ongie, Willett, "Deep equilibrium architectures for inverse problems in imaging", IEEE TCI 2021.
    """

    def __init__(
        self, operator: ForwardOperator, denoiser: nn.Module, step_size: float, lipschitz: Constant = UNKNOWN_UPPER
    ) -> None:
        super().__init__()
        if not (step_size > 0 and math.isfinite(step_size)):
            raise ValueError(f"step_size: found {step_size}, expected a positive number")
        self.operator, self.denoiser = operator, denoiser
        self.step_size, self._lipschitz = step_size, lipschitz

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """W(x - s A'(A x - y))."""
        return self.denoiser(x - self.step_size * self.operator.A_adjoint(self.operator.A(x) - y))

    def contraction(self, y: Tensor) -> Constant:
        """Lip(W) times that of the gradient step."""
        smallest, largest = self.operator.smallest_squared(), self.operator.norm_squared()
        if not (smallest.known and largest.known and self._lipschitz.known):
            return UNKNOWN_UPPER
        ends = [(1 - self.step_size * torch.as_tensor(c.value, dtype=torch.float64)).abs() for c in (smallest, largest)]
        step = Constant(torch.maximum(*ends), max(smallest.source, largest.source))
        return self._lipschitz.times(step)

    def start(self, y: Tensor) -> Tensor:
        """What the operator makes of the data."""
        return self.operator.start(y)
