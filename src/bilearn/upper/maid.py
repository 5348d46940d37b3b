"""MAID: inexact hypergradient descent whose line search is certified and chooses the accuracy it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import (
    finite,
    gradient_of,
    known_error,
    refine,
    scale_of,
    sharpen,
    slope,
    stationary,
    tighten,
    with_value,
)
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus


@dataclass(frozen=True)
class MAIDState(UpperState):
    """Adds to :class:`UpperState` step length and accuracy, which the method adapts.

    Attributes:
        length: step length beta of the next line search; None before the first.
        accuracy: gradient accuracy asked for last; None where it was left to the oracle.
        initial_value: F at the start.
    """

    length: float | None = None
    accuracy: float | None = None
    initial_value: float = math.nan


@dataclass(frozen=True)
class MAID(UpperOptimizer[MAIDState]):
    """Method of adaptive inexact descent: theta+ = P(theta - alpha z) with z as inexact as descent allows.

    One step, from theta with gradient z, error bound omega of z, and certified interval [l, u] of F:

    1. While omega > (1 - ``descent``)|z|, ask for z again, as accurately as that takes. Then <z, grad F> >= ``descent``
       |z|^2. Stop if the projected gradient is small.
    2. alpha = beta. With s = P(theta - alpha z) - theta and p = -z's the decrease hoped for, bring [l, u] to
       v = ``value_accuracy * p`` at theta.
    3. Ask for F(theta + s) to v: [l', u']. Accept if u' - l <= -``acceptance * p``.
    4. Rejected: alpha becomes the minimizer of the parabola through both values and the slope, kept between
       ``least_shrink * alpha`` and ``shrink * alpha``; the solves start again from those of theta; back to 2. After every
       ``max_trials`` rejections z is asked for again with ``tighten`` times its error, for bounds may be estimates.
    5. Accepted: theta = theta + s, beta = ``grow * alpha``; ask for the gradient there with an error of ``relax`` times
       the last one at most, and no smaller than half of what step 1 allows where that is allowed.

    Conditions: F continuously differentiable with Lipschitz gradient on the box, bounded below; omega, l and u true bounds
    that the oracle can bring below any positive number; ``acceptance + 4 value_accuracy <= descent``. Then u' - l exceeds
    F(theta + s) - F(theta) by at most 4 v, so every line search ends; F decreases in every step, and |z| -> 0 in the free
    coordinates. Where the oracle knows no bounds, its numbers are taken as exact.

    It differs from the paper in three points. The accuracies needed are computed from |z| and p, where there they are
    found by failed line searches; the lower end l belongs to the current accuracy, never to an earlier one; theta has a box.

    References: Salehi, Mukherjee, Roberts, Ehrhardt, An adaptively inexact first-order method for bilevel optimization with
    application to hyperparameter learning, SIAM J. Math. Data Sci. 7 (2025).

    Args:
        initial_length: first step length; None makes the first trial move theta by 1.
        initial_accuracy: accuracy of the first gradient; None leaves it to the oracle.
        descent: eta; the larger, the more accurate the gradients.
        acceptance: part of the first-order decrease that an accepted step must reach.
        value_accuracy: accuracy of values relative to the first-order decrease.
        shrink, least_shrink: largest and smallest factor of the step length after a rejection.
        grow: factor of the step length after an accepted step, at least 1.
        tighten, relax: factors of the gradient accuracy, below and above 1.
        max_trials: rejections after which the gradient is asked for again.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        decrease_tolerance: SMALL_DECREASE when values are too inexact to settle a trial although they were asked for to
            this times |F|, or the oracle missed the accuracy asked for by more than a factor of two.
        step_tolerance: SMALL_STEP when an accepted step, NO_PROGRESS when a step shortened by rejections is below this.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    initial_length: float | None = None
    initial_accuracy: float | None = None
    descent: float = 0.5
    acceptance: float = 0.1
    value_accuracy: float = 0.1
    shrink: float = 0.5
    least_shrink: float = 0.1
    grow: float = 10.0 / 9.0
    tighten: float = 0.5
    relax: float = 1e4
    max_trials: int = 10
    gradient_tolerance: float = 1e-6
    decrease_tolerance: float = 1e-10
    step_tolerance: float = 1e-9

    state_type = MAIDState

    def __post_init__(self) -> None:
        for name in ("descent", "acceptance", "value_accuracy", "shrink", "least_shrink", "tighten"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"MAID.{name}: found {getattr(self, name)}, expected a number in (0, 1)")
        if self.least_shrink > self.shrink:
            raise ValueError(f"MAID.least_shrink: found {self.least_shrink}, expected at most shrink = {self.shrink}")
        if self.acceptance + 4.0 * self.value_accuracy > self.descent + 1e-12:
            raise ValueError(
                f"MAID: found acceptance={self.acceptance}, value_accuracy={self.value_accuracy}, expected acceptance + "
                f"4 value_accuracy <= descent = {self.descent}, without which no step need ever be certified"
            )
        for name in ("grow", "relax", "max_trials"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"MAID.{name}: found {getattr(self, name)}, expected at least 1")
        for name in ("initial_length", "initial_accuracy"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"MAID.{name}: found {value}, expected a positive number or None")

    def init(self, objective: Oracle, theta: Tensor) -> MAIDState:
        start = objective.hypergradient(theta, self.initial_accuracy)
        return MAIDState(
            best=start,
            current=start,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            length=self.initial_length,
            accuracy=self.initial_accuracy,
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: MAIDState) -> MAIDState:
        parameters = objective.parameters
        scale = scale_of(state.initial_value, state.current.value)
        current, requests = tighten(
            objective.hypergradient,
            parameters,
            state.current,
            1.0 - self.descent,
            0.5 * self.gradient_tolerance * scale,
        )
        state = replace(state, best=current, current=current, evaluations=state.evaluations + requests)
        reason = stationary(parameters, current, self.gradient_tolerance * scale)
        if reason is not None:
            return replace(state, status=reason)
        length = 1.0 / slope(parameters, current) if state.length is None else state.length
        state, length = self._search(objective, state, length, self.decrease_tolerance * scale)
        if state.status is UpperStatus.RUNNING:
            return self._arrive(objective, replace(state, length=self.grow * length))
        return replace(state, length=length)

    def _search(self, objective: Oracle, state: MAIDState, length: float, negligible: float) -> tuple[MAIDState, float]:
        """Steps 2 to 4: a state whose ``current`` is the accepted point, still without gradient, and ``best`` the point
        left, or a state with a final status; and the step length."""
        rejections, home = 0, objective.snapshot()
        while True:
            current = state.current
            point = objective.parameters.project(current.theta - length * gradient_of(current))
            move = point - current.theta
            hoped = -float(gradient_of(current) @ move)
            if float(move.abs().max()) <= self.step_tolerance or hoped <= 0:
                return replace(state, status=UpperStatus.NO_PROGRESS if rejections else UpperStatus.SMALL_STEP), length
            accuracy = max(self.value_accuracy * hoped, negligible, math.ulp(current.value))
            requests = 1
            if math.isfinite(current.bound) and current.bound > accuracy:
                current = refine(objective, current, accuracy)
                requests, home = 2, objective.snapshot()
            trial = objective.value(point, accuracy)
            state = replace(state, best=current, current=current, evaluations=state.evaluations + requests)
            if self._accepts(current, trial, hoped):
                return replace(state, current=trial), length
            if self._drowned(current, trial, hoped):
                return replace(state, status=UpperStatus.SMALL_DECREASE), length
            objective.restore(home)
            rejections += 1
            length *= self._factor(current.value - trial.value, hoped)
            if rejections % self.max_trials == 0 and known_error(current) > 0:
                current = sharpen(objective.hypergradient, current, self.tighten * known_error(current))
                state = replace(state, best=current, current=current, evaluations=state.evaluations + 1)
                home = objective.snapshot()

    def _accepts(self, current: Evaluation, trial: Evaluation, hoped: float) -> bool:
        """Step 3: whether the required decrease is proved, or computed where nothing can be proved."""
        if not finite(trial):
            return False
        if math.isfinite(current.bound + trial.bound):
            return current.lower - trial.upper >= self.acceptance * hoped
        return current.value - trial.value >= self.acceptance * hoped

    def _drowned(self, current: Evaluation, trial: Evaluation, hoped: float) -> bool:
        """Whether the values leave the trial open although, at the accuracy step 2 wants, they should have settled it."""
        widest = max(current.bound, trial.bound)
        missed = 2.0 * self.value_accuracy * hoped < widest < math.inf
        return finite(trial) and missed and current.upper - trial.lower >= self.acceptance * hoped

    def _factor(self, decrease: float, hoped: float) -> float:
        """Step 4: what a rejected step length is multiplied by."""
        excess = hoped - decrease
        best = 0.5 * hoped / excess if math.isfinite(excess) and excess > 0 else 0.0
        return min(max(best, self.least_shrink), self.shrink)

    def _arrive(self, objective: Oracle, state: MAIDState) -> MAIDState:
        """Step 5: the gradient at the accepted point."""
        allowed = 0.5 * (1.0 - self.descent) * slope(objective.parameters, state.best)
        accuracy = allowed if state.accuracy is None else min(self.relax * state.accuracy, allowed)
        there = objective.hypergradient(state.current.theta, accuracy)
        state = replace(state, iteration=state.iteration + 1, evaluations=state.evaluations + 1)
        if not finite(there):
            return replace(state, best=state.current, status=UpperStatus.NON_FINITE)
        there = with_value(there, state.current) if state.current.bound < there.bound else there
        return replace(state, best=there, current=there, accuracy=accuracy)
