"""Single-loop estimates: a few steps of each reconstruction and of its adjoint, from where the last call left them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.bounds import adjoint_bound
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, Hypergradient, HypergradientEstimator, missed_accuracy
from bilearn.hypergradient.gradient_step import optimal_step
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval
from bilearn.hypergradient.point import Point
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution
from bilearn.status import Status


@dataclass(frozen=True, kw_only=True)
class SingleLoop(HypergradientEstimator):
    """K gradient steps of x and of the adjoint q from their last values, then -B' q at the point reached.

    1. K times: q <- q - s (A(x) q - grad loss(x)), x <- x - s grad h(x), both from the old x.
    2. Gradient -B(x)' q.
    3. With |grad h(x)| and |A(x) q - grad loss(x)| there, one more gradient and product, the bound of ``bounds.py``.

    ``ReducedObjective`` keeps x and q of every training pair, so that an upper-level method with this estimator takes one step
    of everything at a time (SOBA on training pairs); with :class:`bilearn.stochastic.VarianceReduced` the noise of minibatches
    is reduced too (SABA on training pairs). What a call leaves unsolved the next one goes on with: the bound falls while theta
    moves little, and tells lower-level error apart from minibatch noise. A requested accuracy is not worked for.

    Args:
        steps: K >= 1.
        step_size: s; 2 / (L + mu) of the energy if None.
        certify: step 3; without it the bound is infinite and a call costs K gradients and K products.

    Raises:
        ValueError: if a number is out of range or, from ``estimate``, L is needed and unknown.

    Reference: Dagreou, Ablin, Vaiter, Moreau, "A framework for bilevel optimization that enables stochastic and global
    variance reduction algorithms", NeurIPS 2022 (one shared lower level; here one for each pair).
    """

    steps: int = 1
    step_size: float | None = None
    certify: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: found {self.steps}, expected at least 1")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size: found {self.step_size}, expected a positive number or None")

    def estimate(
        self,
        energy: Energy,
        loss: UpperLoss,
        y: Tensor,
        target: Tensor,
        parameters: ParameterVector | None = None,
        solver: LowerSolver | None = None,
        x0: Tensor | None = None,
        adjoint0: Tensor | None = None,
        accuracy: float | None = None,
        lower_tolerance: float | None = None,
    ) -> Hypergradient:
        """See :meth:`HypergradientEstimator.estimate`; ``solver`` and ``lower_tolerance`` have no effect."""
        vector = ParameterVector(energy) if parameters is None else parameters
        with torch.no_grad():
            x = energy.start(y) if x0 is None else x0
            q = torch.zeros_like(x) if adjoint0 is None else adjoint0
            step = self._length(energy, y, x)
            for _ in range(self.steps):
                slope = loss.grad(x, target)
                q, x = q - step * (energy.hessian(x, y)(q) - slope), x - step * energy.grad(x, y)
            gradient = -vector.flatten(energy.cross_vjp(x, y, q, vector.parameters))
            work = self.steps * _batch.size(y)
            cost = Cost(gradients=work, hessian_products=work, cross_products=_batch.size(y))
            stage = LowerStage.of(energy, y, None, x)
            if not self.certify:
                lower, adjoint = (_unchecked(t, self.steps, self.name) for t in (x, q))
                losses, low, high = loss_interval(loss, lower, target)
                return Hypergradient(
                    losses, low, high, gradient, UNKNOWN_BOUND, False, lower, adjoint, None, self._note(accuracy), cost
                )
            lower = _measured(stage, x, energy.grad(x, y), energy.rounding(x, y), self.steps, self.name)
            point = Point.at(stage, loss, target, vector, lower)
            r = point.hessian(q) - point.slope
            unit = 4 * torch.finfo(_batch.norm(r).dtype).eps
            allowance = unit * (_batch.norm(point.slope) + _batch.norm(r))
            adjoint = _measured(stage, q, r, allowance, self.steps, self.name)
            bound = adjoint_bound(point, q, adjoint.gradient_norm + adjoint.rounding, lower.error)
            losses, low, high = loss_interval(loss, lower, target)
        cost.gradients += _batch.size(y)
        cost.hessian_products += _batch.size(y)
        curvature = energy.curvature(y)
        constants = (curvature.strong_convexity, curvature.hessian_lipschitz, curvature.cross_lipschitz)
        declared = point.cross.proved and all(c.declared for c in constants) and bound.total < float("inf")
        missed = accuracy is not None and not bound.total <= accuracy
        message = missed_accuracy(accuracy, bound.total) if missed and accuracy is not None else ""
        return Hypergradient(losses, low, high, gradient, bound, declared, lower, adjoint, None, message, cost)

    def _length(self, energy: Energy, y: Tensor, x: Tensor) -> Tensor:
        if self.step_size is not None:
            return torch.full((), self.step_size, dtype=_batch.norm(x).dtype, device=x.device)
        return _batch.expand(optimal_step(energy, y, x), x)

    def _note(self, accuracy: float | None) -> str:
        if accuracy is None:
            return ""
        return f"the requested gradient accuracy {accuracy:.3g} was not checked: set certify=True for a bound"


def _measured(stage: LowerStage, x: Tensor, residual: Tensor, rounding: Tensor, steps: int, name: str) -> Solution:
    norm = _batch.norm(residual)
    error = torch.where(stage.mu > 0, (norm + rounding) / stage.mu, torch.inf)
    declared = stage.curvature.strong_convexity.declared
    return Solution(x, norm, rounding, error, declared, _status(norm), _counts(norm, steps), Cost(), name)


def _unchecked(x: Tensor, steps: int, name: str) -> Solution:
    infinite = torch.full_like(_batch.norm(x), torch.inf)
    zero = torch.zeros_like(infinite)
    return Solution(x, infinite, zero, infinite, False, _status(_batch.norm(x)), _counts(zero, steps), Cost(), name)


def _status(norm: Tensor) -> Tensor:
    return torch.where(norm.isfinite(), int(Status.MAX_STEPS), int(Status.NON_FINITE))


def _counts(norm: Tensor, steps: int) -> Tensor:
    return torch.full(norm.shape, steps, dtype=torch.int64, device=norm.device)
