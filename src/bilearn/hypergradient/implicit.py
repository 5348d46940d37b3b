"""Implicit differentiation: one adjoint linear system per sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.hypergradient.adaptive import AdaptiveEstimator, Attempt, linear_tolerance
from bilearn.hypergradient.bounds import adjoint_bound, adjoint_estimate
from bilearn.hypergradient.point import Point
from bilearn.linear_systems import LinearMethod, Minres, solve_linear
from bilearn.solution import Cost, Solution
from bilearn.status import Status


@dataclass(frozen=True, kw_only=True)
class ImplicitHypergradient(AdaptiveEstimator):
    """-B' q with A q = grad loss, to a requested accuracy (``bounds.py``, adjoint form).

    A and B are the Hessian and the cross derivative d(grad h)/d(theta) at the returned point.

    Args:
        linear: method of the adjoint system; if None the default of ``solve_linear``, and MINRES from where conjugate
            gradients meet a Hessian that is not positive (:func:`solve_adjoint`).
        error: "rigorous" for the bound of ``bounds.py``; "estimate" for the estimate there, which needs no Lipschitz
            constants and asks far less of the lower level where they are large. Estimates are never called certified.
        relative, initial, fallback, max_rounds, loosest: see :class:`AdaptiveEstimator`.

    References:
        Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016.
        Ehrhardt, Roberts, "Analyzing inexact hypergradients for bilevel learning", IMA J. Appl. Math., 2023.
    """

    linear: LinearMethod | None = None
    error: Literal["rigorous", "estimate"] = "rigorous"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.error not in ("rigorous", "estimate"):
            raise ValueError(f"ImplicitHypergradient.error: found {self.error!r}, expected 'rigorous' or 'estimate'")

    def attempt(self, point: Point, start: Tensor | None, goal: float | None) -> Attempt:
        """Solve A q = g to the residual its share of the accuracy allows, and assemble -B'q."""
        stage = point.stage
        proved = self.error == "rigorous"
        moved = stage.energy.column_variation(point.x, stage.y, point.lower.error) if proved else 0.0
        sensitivity = (point.cross.norm + moved) / stage.mu
        tolerance = linear_tolerance(point, _batch.norm(point.slope), sensitivity, goal, self.fallback, self.loosest)
        adjoint = solve_adjoint(point, self.linear, start, tolerance)
        gradient, cost = adjoint_gradient(point, adjoint.x)
        cost.add(adjoint.cost)
        residual = adjoint.gradient_norm + adjoint.rounding
        if proved:
            bound = adjoint_bound(point, adjoint.x, residual, point.lower.error)
        else:
            bound = adjoint_estimate(point, adjoint.x, residual, point.lower.error)
            count = _batch.size(point.x)
            cost.add(Cost(gradients=count, hessian_products=2 * count, cross_products=2 * count))
        return Attempt(gradient, bound, adjoint, None, cost, goal is not None, proved)

    def lower_part(self, point: Point, attempt: Attempt, radius: float) -> float:
        """See :meth:`AdaptiveEstimator.lower_part`; an estimate is taken as proportional to the radius."""
        assert attempt.linear is not None
        if not attempt.proved:
            return attempt.bound.lower * radius / point.stage.reached(point.lower)
        size = torch.full_like(point.stage.mu, radius)
        return adjoint_bound(point, attempt.linear.x, torch.zeros_like(size), size).lower


def solve_adjoint(point: Point, method: LinearMethod | None, start: Tensor | None, tolerance: Tensor) -> Solution:
    """A q = g, by ``method`` if given, else by the default one, followed by MINRES where A turns out not to be positive.

    Only an energy whose strong convexity is unknown can have such a Hessian, at a saddle or where a piecewise quadratic one is
    singular. The systems that conjugate gradients gave up are then solved in the sense of least residuals; the returned
    solution names the method and has the residual reached by every system.
    """
    solution = solve_linear(
        point.hessian, point.slope, mu=point.stage.mu, method=method, x0=start, tolerance=tolerance, throw=False
    )
    if method is not None or not bool((solution.status == Status.INDEFINITE).any()):
        return solution
    again = solve_linear(
        point.hessian, point.slope, mu=point.stage.mu, method=Minres(), x0=solution.x, tolerance=tolerance, throw=False
    )
    again.cost.add(solution.cost)
    return replace(
        again, steps=again.steps + solution.steps, method=f"{solution.method}, then {again.method} (indefinite)"
    )


def adjoint_gradient(point: Point, q: Tensor) -> tuple[Tensor, Cost]:
    """(P,) -B'q summed over the batch, from the columns where they are there, and its cost."""
    if point.cross.columns is None:
        products = point.stage.energy.cross_vjp(point.x, point.stage.y, q, point.vector.parameters)
        return -point.vector.flatten(products), Cost(cross_products=_batch.size(q))
    return -point.flatten(_batch.dot(point.cross.columns, q, lead=2).sum(1)), Cost()
