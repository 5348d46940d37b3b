"""One-step differentiation: no linear system, a bias instead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.hypergradient.adaptive import AdaptiveEstimator, Attempt
from bilearn.hypergradient.bounds import adjoint_bound
from bilearn.hypergradient.gradient_step import optimal_step
from bilearn.hypergradient.implicit import adjoint_gradient
from bilearn.hypergradient.point import Point


@dataclass(frozen=True, kw_only=True)
class OneStep(AdaptiveEstimator):
    """Derivative of one gradient step x - s grad h(x) at the solution: -s B' grad loss.

    It is the adjoint form with q = s g, whose residual s A g - g (one Hessian product) bounds the bias. With
    s = 2 / (L + mu) that residual is at most (L - mu) / (L + mu) |g|: small only for well conditioned energies.

    Args:
        step_size: s; 2 / (L + mu) of the energy if None.
        relative, initial, fallback, max_rounds: see :class:`AdaptiveEstimator`; only the lower level is refined, until its
            part of the bound is no more than the bias.

    Raises:
        ValueError: if ``step_size`` is not positive or, from ``estimate``, is needed and L is unknown.

    References:
        Bolte, Pauwels, Vaiter, "One-step differentiation of iterative algorithms", NeurIPS 2023.
        Fung et al., "JFB: Jacobian-free backpropagation for implicit networks", AAAI 2022.
    """

    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size: found {self.step_size}, expected a positive number or None")

    def attempt(self, point: Point, start: Tensor | None, goal: float | None) -> Attempt:
        """q = s g; its residual is measured with one Hessian product."""
        q = self._adjoint(point)
        gradient, cost = adjoint_gradient(point, q)
        cost.hessian_products += _batch.size(q)
        residual = _batch.norm(point.hessian(q) - point.slope)
        return Attempt(gradient, adjoint_bound(point, q, residual, point.lower.error), None, None, cost)

    def lower_part(self, point: Point, attempt: Attempt, radius: float) -> float:
        """See :meth:`AdaptiveEstimator.lower_part`."""
        size = torch.full_like(point.stage.mu, radius)
        return adjoint_bound(point, self._adjoint(point), torch.zeros_like(size), size).lower

    def _adjoint(self, point: Point) -> Tensor:
        if self.step_size is not None:
            return self.step_size * point.slope
        return _batch.expand(optimal_step(point.stage.energy, point.stage.y, point.x), point.x) * point.slope
