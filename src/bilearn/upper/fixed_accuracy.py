"""The same objective at a fixed lower-level accuracy: the baseline that adaptive accuracy is compared with."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.evaluation import Evaluation
from bilearn.hypergradient import AdaptiveEstimator, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.tangent import check_few
from bilearn.losses import UpperLoss
from bilearn.lower.default import default_solver
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.problem import LowerProblem
from bilearn.reduced_objective import ReducedObjective


class FixedAccuracy(ReducedObjective):
    """A :class:`ReducedObjective` that ignores the accuracy it is asked for; every method can run on it unchanged.

        run(MAID(), FixedAccuracy(objective, distance=1e-3), start)
        run(GaussNewton(), FixedAccuracy(objective, steps=200, trusted=True), start)

    Every request solves each lower-level problem to the same tolerance, or takes the same number of steps, from the last
    reconstructions; bounds say what that proves. A cautious method may end with SMALL_DECREASE where they prove too little;
    published methods with fixed accuracy take their numbers as exact, and so does any method with ``trusted``.

    Conditions: none are improved. A method on it converges to a neighborhood whose size the fixed error decides, or to a wrong
    point where the count is too low.

    Warm starts and work count are its own; the objective it is made from is not changed.

    Args:
        objective: what to evaluate; all its samples.
        distance: bound on |x - xhat| of every reconstruction (a gradient norm where no strong convexity is known).
        steps: number of lower-level steps instead.
        residual: residual of the adjoint or tangent systems relative to their right-hand sides, in (0, 1).
        trusted: hide the bounds from the method, as infinite ones; the observer still gets them.

    Raises:
        ValueError: if not exactly one of ``distance`` and ``steps`` is given, or a number is out of range.
    """

    def __init__(
        self,
        objective: ReducedObjective,
        distance: float | None = None,
        steps: int | None = None,
        residual: float = 1e-3,
        trusted: bool = False,
    ) -> None:
        given = [v for v in (distance, steps) if v is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"FixedAccuracy: found distance={distance}, steps={steps}, expected one of them as a positive number"
            )
        estimator = objective.estimator
        if isinstance(estimator, AdaptiveEstimator):
            estimator = replace(estimator, loosest=residual)
        solver = objective.solver
        if steps is not None:
            solver = _ExactSteps(default_solver(objective.energy, objective.y) if solver is None else solver, steps)
        super().__init__(
            objective.energy,
            objective.y,
            objective.target,
            objective.loss,
            objective.penalty,
            objective.reduction,
            solver,
            estimator,
            replace(objective.tangents, loosest=residual),
            objective.batch_size,
            objective.observer,
            objective.max_gradients,
            objective.processes,
            objective.shards,
        )
        self._distance = sys.float_info.min if distance is None else distance
        self._trusted = trusted

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F at the fixed accuracy; ``accuracy`` is ignored."""
        return self._value(theta, None, self._distance)

    def residuals(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """As :meth:`value`, for losses of residuals."""
        return super().residuals(theta, self._distance)

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F and its gradient at the fixed accuracy; ``accuracy`` is ignored."""
        return self._differentiate(_Unrefined(self.estimator, self._distance), "adjoint", theta, math.inf)

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F, gradient and Gauss-Newton matrix at the fixed accuracy; ``accuracy`` is ignored."""
        check_few(self.parameters)
        return self._differentiate(_Unrefined(self.tangents, self._distance), "tangent", theta, math.inf)

    def _record(self, evaluation: Evaluation) -> Evaluation:
        honest = super()._record(replace(evaluation, accuracy=None))
        if not self._trusted:
            return honest
        bounds = honest.residual_bounds
        return replace(
            honest,
            lower=-math.inf,
            upper=math.inf,
            gradient_bound=math.inf,
            residual_bounds=None if bounds is None else torch.full_like(bounds, math.inf),
            certified=False,
        )


@dataclass(frozen=True)
class _Unrefined(HypergradientEstimator):
    """One lower-level solve to a given tolerance, whatever accuracy the gradient has then."""

    inner: HypergradientEstimator
    distance: float

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
        return self.inner.estimate(energy, loss, y, target, parameters, solver, x0, adjoint0, math.inf, self.distance)


class _ExactSteps(LowerSolver):
    """Another method, stopped after a number of steps and not looked at before."""

    def __init__(self, solver: LowerSolver, steps: int) -> None:
        self._solver = solver
        self.check_every = self.max_steps = steps

    @property
    def name(self) -> str:
        return self._solver.name

    def check(self, problem: LowerProblem) -> None:
        self._solver.check(problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        return self._solver.init(problem, x0)

    def step(self, problem: LowerProblem, state: Any) -> Any:
        return self._solver.step(problem, state)
