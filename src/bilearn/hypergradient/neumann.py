"""Truncated Neumann series: the adjoint system by a fixed number of Hessian products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.hypergradient.adaptive import AdaptiveEstimator, Attempt
from bilearn.hypergradient.bounds import adjoint_bound
from bilearn.hypergradient.gradient_step import constants
from bilearn.hypergradient.implicit import adjoint_gradient
from bilearn.hypergradient.point import Point


@dataclass(frozen=True, kw_only=True)
class Neumann(AdaptiveEstimator):
    """-B' q with q = s sum_{k < K} (I - s A)^k g, g = grad loss, at the lower-level solution.

    1. q = 0, r = g.
    2. K times: q <- q + s r, r <- r - s A r. Then r = g - A q: the residual comes with the series.
    3. The bound of ``bounds.py`` (adjoint form) with that residual.

    It is K steps of gradient descent on the adjoint system from zero, and K steps of reverse-mode differentiation of
    gradient descent with A and B frozen at the solution. With s = 1 / L and mu I <= A <= L I the truncation error is at most
    |B| / mu (1 - mu / L)^K |g|; the bound uses the measured residual, which is at most (1 - mu / L)^K |g|. Conjugate gradients
    (:class:`ImplicitHypergradient`) need about the square root of that many products for the same residual; what the series
    has for it is a cost known in advance and an answer that depends smoothly on everything.

    Args:
        terms: K >= 1.
        step_size: s; 1 / L of the energy if None.
        relative, initial, fallback, max_rounds: see :class:`AdaptiveEstimator`; only the lower level is refined, until its
            part of the bound is no more than that of the truncation.

    Raises:
        ValueError: if a number is out of range or, from ``estimate``, L is needed and unknown.

    References:
        Lorraine, Vicol, Duvenaud, "Optimizing millions of hyperparameters by implicit differentiation", AISTATS 2020.
        Ehrhardt, Roberts, "Analyzing inexact hypergradients for bilevel learning", IMA J. Appl. Math., 2023.
    """

    terms: int = 20
    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 1:
            raise ValueError(f"terms: found {self.terms}, expected at least 1")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size: found {self.step_size}, expected a positive number or None")

    def attempt(self, point: Point, start: Tensor | None, goal: float | None) -> Attempt:
        """K Hessian products; the residual is the last term."""
        q, residual = self._series(point)
        gradient, cost = adjoint_gradient(point, q)
        cost.hessian_products += self.terms * _batch.size(q)
        return Attempt(gradient, adjoint_bound(point, q, residual, point.lower.error), None, None, cost)

    def lower_part(self, point: Point, attempt: Attempt, radius: float) -> float:
        """See :meth:`AdaptiveEstimator.lower_part`; taken as proportional to the radius, an overestimate below it."""
        reached = point.stage.reached(point.lower)
        return attempt.bound.lower * radius / reached if reached > 0 else 0.0

    def _series(self, point: Point) -> tuple[Tensor, Tensor]:
        """q and the norm (B,) of its residual, with an allowance for the rounding of the recursion."""
        step = _batch.expand(self._step(point), point.x)
        q, r = torch.zeros_like(point.slope), point.slope
        for _ in range(self.terms):
            q = q + step * r
            r = r - step * point.hessian(r)
        unit = torch.finfo(q.dtype).eps
        return q, _batch.norm(r) + 4 * unit * self.terms * _batch.norm(point.slope)

    def _step(self, point: Point) -> Tensor:
        if self.step_size is not None:
            return torch.full_like(point.stage.mu, self.step_size)
        _, smoothness = constants(point.stage.energy, point.stage.y, point.x)
        return 1 / smoothness
