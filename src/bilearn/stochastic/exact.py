"""The same problem in the terms of everything else: an energy, a loss, and exact values and gradients with certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.linear_systems import ConjugateGradient, solve_linear
from bilearn.losses import UpperLoss
from bilearn.lower.minimize import minimize
from bilearn.lower.newton_cg import NewtonCG
from bilearn.solution import Solution, Tolerance
from bilearn.stochastic.finite_sum import FiniteSum


class SharedEnergy(Energy):
    """G as an :class:`Energy` with one sample, z in row 0 of its argument, whose learnable parameter ``upper`` is x.

    Every lower-level method, estimator and upper-level method runs on it, with certificates where the problem declares
    constants. The data are a placeholder of shape (1, 1): :meth:`data` makes one.

    Args:
        problem: the finite sum.
        x: (p,) upper-level variable; the problem's start if None.
    """

    def __init__(self, problem: FiniteSum, x: Tensor | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.upper = nn.Parameter((problem.upper_start if x is None else x).detach().clone())

    def data(self) -> Tensor:
        """(1, 1) placeholder."""
        return self.problem.lower_start.new_zeros(1, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """G(z, x), shape (1,)."""
        return self.problem.lower(x[0], self.upper, None)[None]

    def start(self, y: Tensor) -> Tensor:
        """The problem's first z."""
        return self.problem.lower_start.detach().clone()[None]

    def curvature(self, y: Tensor) -> Curvature:
        """What the problem declares."""
        return self.problem.curvature(self.upper.detach())


@dataclass(frozen=True)
class SharedLoss(UpperLoss):
    """F as a loss of z in row 0, for problems whose F does not depend on x. The target is not used.

    Args:
        problem: the finite sum.
    """

    problem: FiniteSum

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        return self.problem.upper(x[0], self.problem.upper_start, None)[None]


@dataclass(frozen=True)
class Exact:
    """Phi and its gradient at x, from accurate solves.

    Attributes:
        value: Phi(x).
        gradient: (p,) grad Phi(x).
        lower: solve of the lower level.
        adjoint: (n,) v with grad_zz G v = -grad_z F.
    """

    value: float
    gradient: Tensor
    lower: Solution
    adjoint: Tensor

    @property
    def z(self) -> Tensor:
        """(n,) minimizer of G."""
        return self.lower.x[0]


def exact(
    problem: FiniteSum, x: Tensor, z: Tensor | None = None, v: Tensor | None = None, tolerance: float = 1e-10
) -> Exact:
    """Phi(x) and grad Phi(x) = grad_x F + grad_xz G v with full sums, by Newton's method and conjugate gradients.

    Args:
        problem: the finite sum.
        x: (p,).
        z, v: (n,) warm starts.
        tolerance: norm of grad_z G asked for, and residual of the adjoint system relative to grad_z F.
    """
    energy = SharedEnergy(problem, x)
    data = energy.data()
    start = energy.start(data) if z is None else z.detach()[None]
    lower = minimize(energy, data, NewtonCG(), start, Tolerance(gradient=tolerance), throw=False)
    upper = problem.upper_parts(lower.x[0], x, None)
    slope = upper.lower[None]
    size = torch.linalg.vector_norm(slope).clamp(min=torch.finfo(slope.dtype).tiny)
    adjoint = solve_linear(
        energy.hessian(lower.x, data),
        -slope,
        method=ConjugateGradient(),
        x0=None if v is None else v.detach()[None],
        tolerance=cast(float, tolerance * size),
        throw=False,
    ).x[0]
    gradient = upper.upper + problem.cross_product(lower.x[0], x, adjoint, None)
    with torch.no_grad():
        value = float(problem.upper(lower.x[0], x, None))
    return Exact(value, gradient, lower, adjoint)
