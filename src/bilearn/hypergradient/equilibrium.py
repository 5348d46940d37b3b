r"""Implicit differentiation of fixed points x = T(x; theta).

With J = dT/dx and A = I - J at the fixed point, dx/dtheta = A^-1 dT/dtheta, hence

    gradient = (dT/dtheta)' w,      A' w = g,      that is  w = J' w + g,

the adjoint itself a fixed point, solved with vector-Jacobian products. This is the adjoint form of ``bounds.py`` with
B = -dT/dtheta, A' in place of A and mu = 1 - rho: nothing in its proof uses the symmetry of A, only |A^-1| <= 1 / mu.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.energy import Energy, Hessian
from bilearn.hypergradient.implicit import ImplicitHypergradient
from bilearn.linear_systems import Correction, LinearMethod
from bilearn.lower.anderson import Anderson
from bilearn.lower.solver import LowerSolver
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class Unsymmetric(LinearMethod):
    """H e = r for H that need not be symmetric, by a residual-only method on F(e) = H e - r from e = 0.

    Args:
        solver: :class:`Anderson` (close to restarted GMRES) or :class:`Broyden`, with a given step size.
    """

    solver: LowerSolver = field(default_factory=lambda: Anderson(memory=20, step_size=1.0))

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        """Steps until every system meets its target; the iterate with the smallest residual is returned.

        Raises:
            ValueError: if there are several right-hand sides per sample.
        """
        if target.ndim != 1:
            raise ValueError(
                f"Unsymmetric: found targets of shape {tuple(target.shape)}, expected one system per sample"
            )
        problem = LowerProblem(_Linear(hessian), residual, Curvature())
        state = self.solver.init(problem, torch.zeros_like(residual))
        best, smallest = state.x, _batch.norm(state.gradient)
        steps = torch.zeros_like(target, dtype=torch.int64)
        for _ in range(max_steps):
            open_ = ~(smallest <= target) & torch.isfinite(_batch.norm(state.gradient))
            if not bool(open_.any()):
                break
            state = self.solver.step(problem, state)
            norm = _batch.norm(state.gradient)
            better = norm < smallest
            best, smallest = _batch.where(better, state.x, best), torch.where(better, norm, smallest)
            steps = steps + open_
        problem.cost.hessian_products, problem.cost.gradients = problem.cost.gradients, 0
        return Correction(best, steps, torch.zeros_like(target, dtype=torch.bool), problem.cost)


class _Linear(Energy):
    """F(e) = H e - r as the residual field of a lower-level method."""

    has_potential = False

    def __init__(self, hessian: Hessian) -> None:
        super().__init__()
        self._hessian = hessian

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        return self._hessian(x) - y


@dataclass(frozen=True, kw_only=True)
class EquilibriumHypergradient(ImplicitHypergradient):
    """(dT/dtheta)' w with w = (dT/dx)' w + grad loss, for a :class:`bilearn.fixed_points.FixedPointMap`.

    1. x = T(x) by the lower-level method (:class:`Anderson` unless another is given).
    2. w by ``linear``, to a requested residual, warm-started.
    3. The bound of ``bounds.py`` with mu = 1 - rho, where the map declares a contraction factor rho; infinite elsewhere.

    Memory does not depend on the number of iterations. It is also right for energies (A is symmetric there), where conjugate
    gradients cost less.

    Args:
        linear: method of the adjoint system; it must not need symmetry.
        error, relative, initial, fallback, max_rounds, loosest: see :class:`ImplicitHypergradient`.

    References:
        Bai, Kolter, Koltun, "Deep equilibrium models", NeurIPS 2019.
        Gilton, Ongie, Willett, "Deep equilibrium architectures for inverse problems in imaging", IEEE TCI 2021.
    """

    linear: LinearMethod | None = field(default_factory=Unsymmetric)
