"""Projected gradient steps whose lengths and accuracies are planned: what the methods without a line search share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import better, finite, gradient_of, known_error, scale_of, scheduled_stop, slope
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

HALVINGS = 10
"""Times a step to a non-finite point is halved before the run ends."""


@dataclass(frozen=True)
class ScheduledState(UpperState):
    """Adds to :class:`UpperState` the start.

    Attributes:
        initial_value: F at the start.
    """

    initial_value: float = math.nan


class ScheduledDescent(UpperOptimizer[ScheduledState]):
    """theta_{k+1} = P(theta_k - eta_k z_k), with eta_k and the accuracy of z_k from schedules; nothing compares values.

    What an author must write: ``length``, ``accuracy_at`` and the tolerances; for stochastic methods ``minibatch`` and ``due``.
    """

    gradient_tolerance: float
    step_tolerance: float
    state_type = ScheduledState

    @abstractmethod
    def length(self, iteration: int, norm: float) -> float:
        """eta_k, for a projected gradient of this norm."""

    @abstractmethod
    def accuracy_at(self, iteration: int, norm: float | None) -> float | None:
        """Accuracy of z_k."""

    def minibatch(self, objective: Oracle, iteration: int) -> Oracle | None:
        """The objective whose gradient z_k is, or None for all of F."""
        return None

    def due(self, objective: Oracle, iteration: int) -> bool:
        """Whether F itself is to be evaluated at theta_k, where z_k belongs to a minibatch."""
        return False

    def init(self, objective: Oracle, theta: Tensor) -> ScheduledState:
        start, whole, requests = self._evaluate(objective, theta, 0, None)
        return ScheduledState(
            best=start if whole is None else whole,
            current=start,
            evaluations=requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: ScheduledState) -> ScheduledState:
        parameters, current, iteration = objective.parameters, state.current, state.iteration + 1
        norm = slope(parameters, current)
        if self.minibatch(objective, state.iteration) is None:
            tolerance = self.gradient_tolerance * scale_of(state.initial_value, current.value)
            reason = scheduled_stop(current, norm, self.accuracy_at(iteration, norm), tolerance)
            if reason is not None:
                return replace(state, status=reason)
        length = self.length(state.iteration, norm)
        move = parameters.project(current.theta - length * gradient_of(current)) - current.theta
        if not bool(move.isfinite().all()):
            return replace(state, status=UpperStatus.NON_FINITE)
        if max(float(move.abs().max()), length * known_error(current)) <= self.step_tolerance:
            return replace(state, status=UpperStatus.SMALL_STEP)
        for _ in range(1 + HALVINGS):
            point = parameters.project(current.theta + move)
            trial, whole, requests = self._evaluate(objective, point, iteration, norm)
            state = replace(state, evaluations=state.evaluations + requests)
            if finite(trial):
                known = trial if self.minibatch(objective, iteration) is None else whole
                best = state.best if known is None else better(state.best, known)
                return replace(state, best=best, current=trial, iteration=iteration)
            move = 0.5 * move
        return replace(state, status=UpperStatus.NON_FINITE)

    def _evaluate(
        self, objective: Oracle, theta: Tensor, iteration: int, norm: float | None
    ) -> tuple[Evaluation, Evaluation | None, int]:
        """Gradient at theta, F there where it is due, and the number of requests."""
        part = self.minibatch(objective, iteration)
        gradient = (objective if part is None else part).hypergradient(theta, self.accuracy_at(iteration, norm))
        if part is None or not self.due(objective, iteration) or not finite(gradient):
            return gradient, None, 1
        return gradient, objective.value(theta), 2
