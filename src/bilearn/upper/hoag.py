"""HOAG: projected gradients whose errors follow a summable schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from bilearn.upper.accuracy import better, finite, gradient_of, known_error, scale_of, scheduled_stop, sharpen, slope
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.schedules import Geometric, Schedule


@dataclass(frozen=True)
class HOAGState(UpperState):
    """Adds to :class:`UpperState` the step length.

    Attributes:
        length: 1/L, the step length of the next trial; None before the first.
        initial_value: F at the start.
        rejections: trials rejected since the last accepted one.
    """

    length: float | None = None
    initial_value: float = math.nan
    rejections: int = 0


@dataclass(frozen=True)
class HOAG(UpperOptimizer[HOAGState]):
    """Hyperparameter optimization with approximate gradient: theta+ = P(theta - p/L), the gradient p to a scheduled accuracy.

    One step, from theta_k with gradient p of error e and the interval [l, u] of F, tries one point:

    1. Stop if the projected gradient is small, or if its error exceeds it and cannot be lowered.
    2. theta' = P(theta_k - p/L), D = |theta' - theta_k|; value [l', u'] and gradient there, the latter with error
       ``accuracy(k + 1)``.
    3. If l' <= u + e D - L D^2 / 2, accept and raise the step length: L = ``grow`` L. Otherwise, if F' <= F as computed,
       accept and keep L.
    4. Otherwise go back: theta_k stays, and the next step tries half the length, L = 2 L, with p as it is, or asked for
       again where its error is more than half of it.

    Conditions: the gradient of F Lipschitz on the box, a summable schedule (:class:`Geometric`, or :class:`Polynomial` with
    power above 1), true bounds. Then theta_k converges to stationary points. F may rise where the intervals allow it, by
    at most the errors; ``state.best`` is the lowest certified value.

    It differs from the published code in step 4 (there a rejected point is kept), in D, which is the step really taken (there
    it is always zero), and in the errors of values, which are the oracle's bounds instead of the schedule's number.

    References: Pedregosa, Hyperparameter optimization with approximate gradient, ICML 2016, algorithm 1 and section 4.

    Args:
        accuracy: error of the gradient in each iteration.
        initial_length: first step length; None makes the first trial move theta by 1.
        grow: factor of L after a decrease that the quadratic model predicts, in (0, 1].
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        step_tolerance: SMALL_STEP when a step, NO_PROGRESS when a step shortened by rejections is below this, and
            the gradient's error could not change that.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    accuracy: Schedule = field(default_factory=lambda: Geometric(0.1, 0.9))
    initial_length: float | None = None
    grow: float = 0.95
    gradient_tolerance: float = 1e-6
    step_tolerance: float = 1e-9

    state_type = HOAGState

    def __post_init__(self) -> None:
        if not 0.0 < self.grow <= 1.0:
            raise ValueError(f"HOAG.grow: found {self.grow}, expected a number in (0, 1]")
        if self.initial_length is not None and not self.initial_length > 0:
            raise ValueError(f"HOAG.initial_length: found {self.initial_length}, expected a positive number or None")

    def init(self, objective: Oracle, theta: Tensor) -> HOAGState:
        start = objective.hypergradient(theta, self.accuracy(0))
        return HOAGState(
            best=start,
            current=start,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            length=self.initial_length,
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: HOAGState) -> HOAGState:
        parameters, current = objective.parameters, state.current
        norm = slope(parameters, current)
        asked = self.accuracy(state.iteration + 1, norm)
        tolerance = self.gradient_tolerance * scale_of(state.initial_value, current.value)
        reason = scheduled_stop(current, norm, asked, tolerance)
        if reason is not None:
            return replace(state, status=reason)
        if state.rejections and asked is not None and known_error(current) > max(0.5 * norm, asked):
            current = sharpen(objective.hypergradient, current, asked)
            state = replace(state, current=current, evaluations=state.evaluations + 1)
            norm = slope(parameters, current)

        length = 1.0 / max(norm, known_error(current)) if state.length is None else state.length
        point = parameters.project(current.theta - length * gradient_of(current))
        distance = float((point - current.theta).norm())
        if max(distance, length * known_error(current)) <= self.step_tolerance:
            return replace(state, status=UpperStatus.NO_PROGRESS if state.rejections else UpperStatus.SMALL_STEP)
        trial = objective.hypergradient(point, asked)
        state = replace(state, iteration=state.iteration + 1, evaluations=state.evaluations + 1, length=length)

        bounded = math.isfinite(current.bound + trial.bound)
        low, high = (trial.lower, current.upper) if bounded else (trial.value, current.value)
        modelled = finite(trial) and low <= high + known_error(current) * distance - 0.5 * distance**2 / length
        if modelled or (finite(trial) and trial.value <= current.value):
            longer = length / self.grow if modelled else length
            return replace(state, best=better(state.best, trial), current=trial, length=longer, rejections=0)
        return replace(state, length=0.5 * length, rejections=state.rejections + 1)
