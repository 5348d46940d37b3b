"""Quadratic energies: one direct solve, refined until rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.lower.solver import LowerSolver
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class ClosedFormState:
    """Point, gradient there, and whether the last solve brought no gain."""

    x: Tensor
    gradient: Tensor
    exhausted: Tensor


@dataclass(frozen=True)
class ClosedForm(LowerSolver):
    """x <- x - H^-1 grad h(x) for h quadratic in x: exact after one step, further steps refine rounding errors.

    A step that does not decrease the gradient norm is undone and ends the sample.

    Args:
        max_steps: step limit.

    Raises:
        ValueError: from :meth:`check`, if the energy is not declared quadratic or offers no direct solve.
    """

    max_steps: int = 5
    check_every: int = 1

    def check(self, problem: LowerProblem) -> None:
        """The Hessian must be constant (declared) and offer a direct solve."""
        energy = type(problem.energy).__name__
        if not is_quadratic(problem.curvature):
            raise ValueError(
                f"ClosedForm: {energy}.curvature(y).hessian_lipschitz is not a declared zero, expected an energy that "
                "is quadratic in x; use NewtonCG()"
            )
        if not offers_direct_solve(problem.energy, problem.y):
            raise ValueError(
                f"ClosedForm: the Hessian of {energy} offers no direct solve, expected `hessian(x, y).direct()` to "
                "return one; use NewtonCG()"
            )

    def init(self, problem: LowerProblem, x0: Tensor) -> ClosedFormState:
        """One gradient at x0."""
        return ClosedFormState(x0, problem.grad(x0), torch.zeros(x0.shape[0], dtype=torch.bool, device=x0.device))

    def step(self, problem: LowerProblem, state: ClosedFormState) -> ClosedFormState:
        """One direct solve and one gradient."""
        solve = problem.hessian(state.x).direct()
        assert solve is not None
        problem.cost.direct_solves += _batch.size(state.x)
        x = state.x - solve(state.gradient)
        gradient = problem.grad(x)
        # negated, so that NaN is a gain that the loop reports instead of a silent stop
        gained = ~(_batch.norm(gradient) >= _batch.norm(state.gradient))
        return ClosedFormState(
            _batch.where(gained, x, state.x), _batch.where(gained, gradient, state.gradient), ~gained
        )

    def stalled(self, state: ClosedFormState) -> Tensor:
        """Samples whose last solve brought no gain."""
        return state.exhausted


def is_quadratic(curvature: Curvature) -> bool:
    """Whether the Hessian is declared not to change with x."""
    constant = curvature.hessian_lipschitz
    return constant.declared and bool((torch.as_tensor(constant.value) == 0).all())


def offers_direct_solve(energy: Energy, y: Tensor) -> bool:
    """Whether Hessians of this energy offer a direct solve, judged from the first sample."""
    if y.shape[0] == 0:
        return True
    first = y[:1].detach()
    return energy.hessian(energy.start(first), first).direct() is not None
