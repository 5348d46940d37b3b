"""Which lower-level method to take when the user names none."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.lower.anderson import Anderson
from bilearn.lower.closed_form import ClosedForm, is_quadratic
from bilearn.lower.lbfgs import LBFGS
from bilearn.lower.nesterov import NesterovGradient
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver

# condition number up to which accelerated gradients cost less than Newton systems (measured on 256 x 256 denoising)
_MILD = 200.0


def default_solver(energy: Energy, y: Tensor, curvature: Curvature | None = None) -> LowerSolver:
    """The method that fits what the energy declares; looks at the first sample's Hessian only.

    0. No energy, a fixed-point map: :class:`Anderson`.
    1. Quadratic with a direct solve: :class:`ClosedForm`.
    2. Another energy with a direct solve: :class:`NewtonCG`.
    3. Well conditioned, L/mu <= 200: :class:`NesterovGradient`.
    4. Hessians with a preconditioner or in closed form: :class:`NewtonCG`.
    5. Gradients only, with a known Lipschitz constant: :class:`NesterovGradient`; without: :class:`LBFGS`.

    Args:
        energy: the energy at its current theta.
        y: (B, ...) data.
        curvature: ``energy.curvature(y)`` where the caller has it already.
    """
    return _choose(energy, y, curvature)[0]


def explain_default(energy: Energy, y: Tensor) -> str:
    """One sentence that says what :func:`default_solver` picks for these arguments and why."""
    solver, reason = _choose(energy, y, None)
    return f"{solver.name}, because {reason}."


def _choose(energy: Energy, y: Tensor, known: Curvature | None) -> tuple[LowerSolver, str]:
    if y.shape[0] == 0:
        return LBFGS(), "there are no samples to solve"
    if not energy.has_potential:
        return Anderson(), "it is a fixed-point problem: there are residuals, but no energy"
    with torch.no_grad():
        first = y[:1].detach()
        curvature = energy.curvature(y) if known is None else known
        hessian = energy.hessian(energy.start(first), first)
        if hessian.direct() is not None:
            if is_quadratic(curvature):
                return ClosedForm(), "the energy is quadratic and its Hessian offers a direct solve"
            return NewtonCG(), "the Hessian offers a direct solve"
        mu, smoothness = curvature.strong_convexity.per_sample(y), curvature.smoothness.per_sample(y)
        if curvature.smoothness.known and bool((smoothness <= _MILD * mu).all()):
            return NesterovGradient(
                steady=True
            ), f"the energy is well conditioned (L/mu = {float((smoothness / mu).max()):.3g})"
        if hessian.preconditioner() is not None:
            return NewtonCG(), "the Hessian offers products and a preconditioner"
    if type(energy).hessian is not Energy.hessian:
        return NewtonCG(), "the Hessian is known in closed form"
    if curvature.smoothness.known:
        return NesterovGradient(), "only gradients are in closed form, and their Lipschitz constant is known"
    return LBFGS(), "only gradients are known, without a Lipschitz constant"
