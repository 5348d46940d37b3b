"""The reconstruction as a differentiable torch function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.linear_systems import LinearMethod, solve_linear
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.solution import Tolerance


@dataclass(frozen=True)
class _Settings:
    energy: Energy
    solver: LowerSolver | None
    x0: Tensor | None
    tolerance: Tolerance | None
    linear: LinearMethod | None
    adjoint_tolerance: float
    max_steps: int | None
    throw: bool


def argmin_layer(
    energy: Energy,
    y: Tensor,
    solver: LowerSolver | None = None,
    x0: Tensor | None = None,
    tolerance: Tolerance | None = None,
    linear: LinearMethod | None = None,
    adjoint_tolerance: float = 1e-6,
    max_steps: int | None = None,
    throw: bool = True,
) -> Tensor:
    """argmin_x h(x; theta, y), differentiable in the learnable parameters of ``energy`` and in y.

    Forward: a lower-level solve. Backward, for the incoming gradient w: solve A q = w with the Hessian A at the returned
    point, then the gradients are -(d/dtheta)<grad h(x), q> and -(d/dy)<grad h(x), q> (implicit function theorem). Memory does
    not depend on the number of iterations. The gradient itself has no derivative: differentiating it again raises.

    Args:
        energy: the energy at its current theta. Its parameters must not change in place between forward and backward.
        y: (B, ...) data; receives a gradient if it requires one.
        solver: lower-level method; the default one for this energy if None.
        x0: (B, ...) start of the solve.
        tolerance: accuracy of the solve; see ``minimize``.
        linear: method of the adjoint system.
        adjoint_tolerance: residual of the adjoint system relative to |w|, per sample.
        max_steps: step limit of the lower-level solve.
        throw: raise where a solve does not converge; False continues with what was found.

    Returns:
        (B, ...) reconstructions.

    Raises:
        SolveError: a solve (forward or backward) did not converge and ``throw`` is set.
        RuntimeError: the gradient is differentiated a second time.
        ValueError: ``adjoint_tolerance`` is not in (0, 1).
    """
    if not 0 < adjoint_tolerance < 1:
        raise ValueError(f"adjoint_tolerance: found {adjoint_tolerance}, expected a number between 0 and 1")
    settings = _Settings(energy, solver, x0, tolerance, linear, adjoint_tolerance, max_steps, throw)
    parameters = [p for p in energy.parameters() if p.requires_grad]
    return _Argmin.apply(settings, y, *parameters)  # type: ignore[no-any-return]


class _Argmin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: _Settings, y: Tensor, *parameters: nn.Parameter) -> Tensor:
        s = settings
        solution = minimize(s.energy, y.detach(), s.solver, s.x0, s.tolerance, s.max_steps, s.throw)
        ctx.settings = settings
        ctx.save_for_backward(solution.x, y, *parameters)
        return solution.x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *parameters = ctx.saved_tensors
        (w,) = grad_outputs
        wanted = ctx.needs_input_grad[1:]
        with torch.no_grad():
            gradients = _pull_back(ctx.settings, x.detach(), y.detach(), parameters, w.detach(), wanted[0])
        if torch.is_grad_enabled():
            gradients = _refuse(gradients, (w, y, *parameters))
        return (None, *(g if used else None for g, used in zip(gradients, wanted, strict=True)))


def _pull_back(
    settings: _Settings, x: Tensor, y: Tensor, parameters: Sequence[nn.Parameter], w: Tensor, through_data: bool
) -> list[Tensor | None]:
    energy = settings.energy
    mu = energy.curvature(y).strong_convexity.per_sample(x).clamp(min=0.0)
    size = _batch.norm(w)
    relative = max(settings.adjoint_tolerance, 100 * torch.finfo(x.dtype).eps)
    adjoint = solve_linear(
        energy.hessian(x, y), w, mu=mu, method=settings.linear, tolerance=relative * size, throw=settings.throw
    )
    q = adjoint.x
    gradients: list[Tensor | None] = [None]
    if through_data:
        with torch.enable_grad():
            data = y.clone().requires_grad_(True)
            directional = _batch.dot(energy.grad(x, data), q).sum()
            (slope,) = torch.autograd.grad(directional, data, materialize_grads=True)
        gradients = [-slope]
    if parameters:
        gradients += [-g for g in energy.cross_vjp(x, y, q, parameters)]
    return gradients


def _refuse(gradients: list[Tensor | None], anchors: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Attach the gradients to the graph of ``anchors`` in such a way that going through them raises."""
    present = [g for g in gradients if g is not None]
    attached = iter(_OnceOnly.apply(len(present), *present, *anchors))
    return [None if g is None else next(attached) for g in gradients]


class _OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.clone() for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "argmin_layer: found a second derivative, expected first derivatives only; the gradient of a reconstruction "
            "cannot be differentiated again. Drop create_graph=True, or unroll the solver for higher derivatives"
        )
