"""Implicit differentiation to an accuracy that is observed, not proved: both solves are refined until nothing moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.estimator import BoundParts, Hypergradient, HypergradientEstimator, missed_accuracy
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval, stuck
from bilearn.linear_systems import LinearMethod, Minres, solve_linear
from bilearn.losses import UpperLoss
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution
from bilearn.status import Status

_SMALLEST_FACTOR = 1e-3


@dataclass(frozen=True, kw_only=True)
class BalancedHypergradient(HypergradientEstimator):
    """-B' q with A q = grad loss, for many parameters and energies without useful Lipschitz constants (learned filters).

    A bound needs the norm of B and constants of the Hessian, which cost more than the gradient and, for piecewise quadratic
    energies, prove next to nothing. The error of z_k, computed with tolerances proportional to s^k, is proportional to s^k once
    the solves are in their linear regime; the change |z_k - z_{k-1}| is then (1/s - 1) times that error, three times for
    s = 1/4.

    Accelerated gradients reduce the gradient norm long before they reduce the distance along directions of little curvature.
    Where no solver is named and the Hessian has a preconditioner, the lower level is therefore solved by Newton's method.

    1. Solve the lower level to e and the adjoint system to a relative residual r = ``relative``; z_0.
    2. s <- the ratio of the accuracy to the last change, kept between 1e-3 and ``shrink`` (``shrink`` at first); e <- s e;
       r <- s r, but no smaller than an eighth of the accuracy relative to |z|; both solves again, warm; z_k.
    3. Stop when |z_k - z_{k-1}| is at most the accuracy, or a solve cannot be improved. Repeat 2 otherwise.

    The change is reported as the lower level's part of ``bound``. It is an observation: never certified. Where no strong
    convexity is known, e is a gradient norm. Next to a request of 1e-2, the reference of machine precision is met within a few
    times 1e-3 (tests and docs/benchmarks.md).

    Args:
        relative: accuracy relative to the norm of the gradient where none is requested, and of the adjoint system.
        initial: first lower-level tolerance relative to |x|, without a hint.
        shrink: largest s.
        max_rounds: limit on the repetitions of 2.
        linear: method of the adjoint system; the default one if None, then MINRES where A turns out not to be positive.

    Raises:
        ValueError: if a number is out of range.
    """

    relative: float = 1e-2
    initial: float = 2e-3
    shrink: float = 0.25
    max_rounds: int = 8
    linear: LinearMethod | None = None

    def __post_init__(self) -> None:
        for name in ("relative", "initial", "shrink"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"BalancedHypergradient.{name}: found {getattr(self, name)}, expected a number between 0 and 1"
                )
        if self.max_rounds < 1:
            raise ValueError(f"BalancedHypergradient.max_rounds: found {self.max_rounds}, expected at least 1")

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
        """See :meth:`HypergradientEstimator.estimate`; a hint is taken as the tolerance of the second round."""
        vector = ParameterVector(energy) if parameters is None else parameters
        with torch.no_grad():
            x = energy.start(y) if x0 is None else x0
            stage = LowerStage.of(energy, y, _newton_if_cheap(energy, x, y) if solver is None else solver, x)
            tolerance = self.initial * stage.scale if lower_tolerance is None else lower_tolerance / self.shrink
            residual, cost = self.relative, Cost()
            lower = stage.solve(x, tolerance)
            z, adjoint = self._gradient(stage, loss, target, vector, lower, adjoint0, residual, cost)
            norm = float(torch.linalg.vector_norm(z))
            change, goal = math.inf, self.relative * norm if accuracy is None else accuracy
            for _ in range(self.max_rounds):
                reached = _relative(adjoint, loss.grad(lower.x, target))
                floor = min(self.relative, goal / norm if norm > 0 else 1.0) / 8
                factor = min(self.shrink, max(_SMALLEST_FACTOR, goal / change)) if change < math.inf else self.shrink
                tolerance = factor * min(tolerance, stage.reached(lower))
                residual = max(factor * min(residual, reached), floor)
                lower = stage.solve(lower.x, tolerance)
                before = z
                z, adjoint = self._gradient(stage, loss, target, vector, lower, adjoint.x, residual, cost)
                change, norm = (float(torch.linalg.vector_norm(v)) for v in (z - before, z))
                goal = self.relative * norm if accuracy is None else accuracy
                if change <= goal or not math.isfinite(norm) or stuck(lower):
                    break
            losses, low, high = loss_interval(loss, lower, target)
        met = change <= goal
        notes = [] if met else [missed_accuracy(goal, change), lower.describe()]
        return Hypergradient(
            losses, low, high, z, BoundParts(change, 0.0), False, lower, adjoint, None, "; ".join(notes), cost
        )

    def _gradient(
        self,
        stage: LowerStage,
        loss: UpperLoss,
        target: Tensor,
        vector: ParameterVector,
        lower: Solution,
        start: Tensor | None,
        residual: float,
        cost: Cost,
    ) -> tuple[Tensor, Solution]:
        """-B'q summed over the batch and the adjoint; counts the work, that of ``lower`` included."""
        slope, hessian = loss.grad(lower.x, target), stage.energy.hessian(lower.x, stage.y)
        goal = residual * _batch.norm(slope)
        adjoint = solve_linear(hessian, slope, stage.mu, self.linear, start, goal, throw=False)
        cost.add(lower.cost)
        cost.add(adjoint.cost)
        if self.linear is None and bool((adjoint.status == Status.INDEFINITE).any()):
            adjoint = solve_linear(hessian, slope, stage.mu, Minres(), adjoint.x, goal, throw=False)
            cost.add(adjoint.cost)
        products = stage.energy.cross_vjp(lower.x, stage.y, adjoint.x, vector.parameters)
        cost.cross_products += _batch.size(lower.x)
        return -vector.flatten(products), adjoint


def _newton_if_cheap(energy: Energy, x: Tensor, y: Tensor) -> LowerSolver | None:
    if not energy.has_potential or not _batch.size(x):
        return None
    hessian = energy.hessian(x[:1], y[:1])
    return NewtonCG() if hessian.direct() is None and hessian.preconditioner() is not None else None


def _relative(adjoint: Solution, slope: Tensor) -> float:
    """Largest residual relative to its right-hand side."""
    size = _batch.norm(slope)
    return float(torch.where(size > 0, adjoint.gradient_norm / size, torch.zeros_like(size)).max())
