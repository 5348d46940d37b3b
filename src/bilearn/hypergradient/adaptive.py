"""The loop shared by estimators that linearize at a lower-level solution: refine whatever the bound blames, until it fits."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.bounds import largest_radius
from bilearn.hypergradient.estimator import BoundParts, Hypergradient, HypergradientEstimator, missed_accuracy
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval, stuck
from bilearn.hypergradient.point import Point
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution


@dataclass(frozen=True)
class Attempt:
    """A gradient at a point with its bound.

    Attributes:
        gradient: (P,) of the sum of the losses.
        bound: by cause.
        linear: the linear solve behind it, or None.
        gauss_newton: (P, P) or None.
        cost: work of this attempt.
        goal_known: whether the linear solve knew which accuracy it was for.
        proved: whether ``bound`` is a bound, not an estimate.
    """

    gradient: Tensor
    bound: BoundParts
    linear: Solution | None
    gauss_newton: Tensor | None
    cost: Cost
    goal_known: bool = True
    proved: bool = True

    @property
    def norm(self) -> float:
        """2-norm of the gradient."""
        return float(torch.linalg.vector_norm(self.gradient))


@dataclass(frozen=True, kw_only=True)
class AdaptiveEstimator(HypergradientEstimator):
    """Base of the estimators that linearize at a lower-level solution.

    1. Solve the lower level to a distance e (measured: radius per sample); evaluate loss gradient and cross derivative.
    2. Make an attempt: a gradient and a bound on its error, by cause.
    3. Where the bound exceeds the accuracy and the lower part is to blame, shrink e to the largest radius at which that
       part would fit and repeat, warm; where the linear system is to blame, repeat the attempt alone, warm.
    4. Stop when the bound fits or nothing to blame can be improved; the message then says so.

    Where no bound is known (mu, a Lipschitz constant or the loss's smoothness undeclared), the solves use ``fallback``
    relative to |x| and |grad loss|, and the bound is infinite. An author must write ``attempt`` and ``lower_part``.

    Args:
        relative: accuracy relative to the norm of the gradient where none is requested.
        initial: first lower-level distance relative to |x|, without a hint.
        fallback: relative tolerances where no bound is known.
        max_rounds: limit on the repetitions.
        loosest: largest residual of a linear system relative to its right-hand side.
    """

    relative: float = 1e-3
    initial: float = 1e-3
    fallback: float = 1e-5
    max_rounds: int = 8
    loosest: float = 1e-2

    def __post_init__(self) -> None:
        for name in ("relative", "initial", "fallback", "loosest"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number between 0 and 1")
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds: found {self.max_rounds}, expected at least 1")

    @abstractmethod
    def attempt(self, point: Point, start: Tensor | None, goal: float | None) -> Attempt:
        """Gradient at a point.

        Args:
            point: the lower-level solution.
            start: warm start of the linear solve.
            goal: accuracy wanted for the gradient, None while it is not yet known.
        """

    @abstractmethod
    def lower_part(self, point: Point, attempt: Attempt, radius: float) -> float:
        """The lower level's part of the bound if the distance were ``radius``."""

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
        """See :meth:`HypergradientEstimator.estimate`; the algorithm is in the class docstring."""
        vector = ParameterVector(energy) if parameters is None else parameters
        with torch.no_grad():
            x = energy.start(y) if x0 is None else x0
            stage = LowerStage.of(energy, y, solver, x)
            tolerance = self.initial * stage.scale if lower_tolerance is None else lower_tolerance
            cost = Cost()
            point = self._point(stage, loss, target, vector, x, tolerance, cost)
            attempt = self.attempt(point, adjoint0, accuracy)
            for _ in range(self.max_rounds):
                cost.add(attempt.cost)
                goal = self.relative * attempt.norm if accuracy is None else accuracy
                if attempt.bound.total <= goal or not math.isfinite(attempt.norm):
                    break
                tighter = self._tighter(point, attempt, goal)
                if tighter is None:
                    break
                if tighter < stage.reached(point.lower):
                    point = self._point(stage, loss, target, vector, point.x, tighter, cost)
                start = adjoint0 if attempt.linear is None else attempt.linear.x
                attempt = self.attempt(point, start, goal)
            return _result(point, attempt, accuracy, cost)

    def _point(
        self,
        stage: LowerStage,
        loss: UpperLoss,
        target: Tensor,
        vector: ParameterVector,
        x0: Tensor,
        tolerance: float,
        cost: Cost,
    ) -> Point:
        lower = stage.solve(x0, tolerance)
        point = Point.at(stage, loss, target, vector, lower)
        cost.add(lower.cost)
        cost.cross_products += 0 if point.cross.columns is None else len(point.cross.columns) * _batch.size(x0)
        return point

    def _tighter(self, point: Point, attempt: Attempt, goal: float) -> float | None:
        """Distance for the next lower-level solve (the present one if only the linear solve is to blame), or None."""
        stage, bound = point.stage, attempt.bound
        reached = stage.reached(point.lower)
        if not math.isfinite(self.lower_part(point, attempt, torch.finfo(point.x.dtype).eps * stage.scale)):
            smallest = self.fallback * stage.scale
            return smallest if reached > smallest and not stuck(point.lower) else None
        inherent = bound.rounding + (bound.adjoint if attempt.linear is None else 0.0)
        room = max(goal - inherent, inherent)
        if bound.lower > 0.5 * room:
            if stuck(point.lower):
                return None
            return largest_radius(lambda radius: self.lower_part(point, attempt, radius), reached, 0.4 * room)
        improvable = attempt.linear is not None and not (attempt.goal_known and stuck(attempt.linear))
        return reached if improvable and bound.adjoint > 0.5 * room else None


def linear_tolerance(
    point: Point, right_hand_side: Tensor, sensitivity: Tensor, goal: float | None, fallback: float, loosest: float
) -> Tensor:
    """Residual norms (B,) or (K, B) for a linear solve: a quarter of the accuracy, shared by all systems.

    Args:
        point: the lower-level solution.
        right_hand_side: (B,) or (K, B) norms.
        sensitivity: (B,) or (K, B) bound on the gradient error per unit of residual.
        goal: accuracy of the gradient, None while unknown: then 1e-3 relative.
        fallback: relative residual where no bound is known.
        loosest: largest relative residual.
    """
    if not point.stage.convex:
        return fallback * right_hand_side
    if goal is None:
        return 1e-3 * right_hand_side
    smallest = torch.finfo(right_hand_side.dtype).tiny
    share = 0.25 * goal / max(right_hand_side.numel(), 1)
    allowed = torch.where(sensitivity.isfinite(), share / sensitivity.clamp(min=smallest), fallback * right_hand_side)
    return torch.minimum(loosest * right_hand_side, allowed)


def _result(point: Point, attempt: Attempt, accuracy: float | None, cost: Cost) -> Hypergradient:
    stage = point.stage
    losses, low, high = loss_interval(point.loss, point.lower, point.target)
    curvature = stage.curvature
    constants = (curvature.strong_convexity, curvature.hessian_lipschitz, curvature.cross_lipschitz)
    declared = attempt.proved and point.cross.proved and all(c.declared for c in constants)
    total = attempt.bound.total
    reached = math.isfinite(total) if accuracy is None else total <= accuracy
    notes = [] if reached or accuracy is None else [missed_accuracy(accuracy, total)]
    solves = (point.lower,) if attempt.linear is None else (point.lower, attempt.linear)
    if notes or not reached or accuracy is None:
        notes += [s.describe() for s in solves if not s.converged]
    return Hypergradient(
        losses,
        low,
        high,
        attempt.gradient,
        attempt.bound,
        declared and math.isfinite(total),
        point.lower,
        attempt.linear,
        attempt.gauss_newton,
        "; ".join(notes),
        replace(cost),
    )
