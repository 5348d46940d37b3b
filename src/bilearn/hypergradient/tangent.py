"""Forward mode for few parameters: the derivative of the reconstructions themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.hypergradient.adaptive import AdaptiveEstimator, Attempt, linear_tolerance
from bilearn.hypergradient.bounds import tangent_bound
from bilearn.hypergradient.cross import MAX_COLUMNS
from bilearn.hypergradient.point import Point
from bilearn.linear_systems import LinearMethod, solve_linear
from bilearn.parameters import ParameterVector


@dataclass(frozen=True, kw_only=True)
class TangentHypergradient(AdaptiveEstimator):
    """T' grad loss with the tangents A t_p = -B_p, p = 1..P, solved together (``bounds.py``, tangent form).

    Also returns the Gauss-Newton matrix sum_i T_i' (loss Hessian) T_i. Costs P right-hand sides where the adjoint costs
    one, so it is for few parameters.

    Args:
        linear: method of the tangent systems; the default of ``solve_linear`` if None.
        relative, initial, fallback, max_rounds, loosest: see :class:`AdaptiveEstimator`.

    Raises:
        ValueError: from ``estimate``, if there are more than ``MAX_COLUMNS`` scalar parameters.
    """

    linear: LinearMethod | None = None

    def attempt(self, point: Point, start: Tensor | None, goal: float | None) -> Attempt:
        """Solve A T = -B to the residuals their share of the accuracy allows, and assemble T'g and T'(loss Hessian)T."""
        stage, columns = point.stage, _columns(point)
        reach = _batch.norm(point.slope) + point.loss.grad_variation(point.x, point.target, point.lower.error)
        sensitivity = (reach / stage.mu).expand(columns.shape[0], -1)
        tolerance = linear_tolerance(
            point, _batch.norm(columns, lead=2), sensitivity, goal, self.fallback, self.loosest
        )
        tangents = solve_linear(
            point.hessian, -columns, mu=stage.mu, method=self.linear, x0=start, tolerance=tolerance, throw=False
        )
        gradient = point.flatten(_batch.dot(tangents.x, point.slope, lead=2).sum(1))
        curved = point.loss.gauss_newton(point.x, point.target, tangents.x)
        rows, others = (t.reshape(t.shape[0], -1) for t in (tangents.x, curved))
        gram = (rows.conj() @ others.T).real if rows.is_complex() else rows @ others.T
        residual = tangents.gradient_norm + tangents.rounding
        bound = tangent_bound(point, tangents.x, residual, point.lower.error)
        return Attempt(
            gradient, bound, tangents, point.flatten((gram + gram.T) / 2), tangents.cost.copy(), goal is not None
        )

    def lower_part(self, point: Point, attempt: Attempt, radius: float) -> float:
        """See :meth:`AdaptiveEstimator.lower_part`."""
        assert attempt.linear is not None
        size = torch.full_like(point.stage.mu, radius)
        residual = torch.zeros_like(attempt.linear.gradient_norm)
        return tangent_bound(point, attempt.linear.x, residual, size).lower


def check_few(parameters: ParameterVector) -> None:
    """Raise ValueError if there are too many parameters for tangents."""
    if len(parameters) > MAX_COLUMNS:
        raise ValueError(
            f"parameters: found {len(parameters)} scalars, expected at most {MAX_COLUMNS} for tangents; "
            "use ImplicitHypergradient and a first-order upper-level method"
        )


def _columns(point: Point) -> Tensor:
    check_few(point.vector)
    assert point.cross.columns is not None
    return point.cross.columns
