"""Projected gradient descent with Barzilai-Borwein steps and certified backtracking."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.upper.accuracy import compare, finite, gradient_of, scale_of, slope, stationary, tighten
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.warp import coordinate_rates


@dataclass(frozen=True)
class ProjectedGradientState(UpperState):
    """Adds to :class:`UpperState` the step length.

    Attributes:
        length: step length t of the next trial.
        initial_value: F at the start.
    """

    length: float = 1.0
    initial_value: float = math.nan


@dataclass(frozen=True)
class ProjectedGradient(UpperOptimizer[ProjectedGradientState]):
    """theta+ = P(theta - t g), for many parameters or a plain comparison; one trial point a step.

    1. Stop if the projected gradient is small.
    2. Trial theta' = P(theta - t g), t reduced so that no logarithmic or logit coordinate moves by more than ``max_step``.
    3. Accept if the certified intervals prove F(theta') <= F(theta) - ``acceptance`` g'(theta - theta'); they are asked for
       more accurately where they leave it open.
    4. Accepted: t = |s|^2 / s'y with s the step and y the change of the gradient (twice the last t where s'y <= 0).
       Rejected or not finite: t is quartered.

    Conditions: F bounded below and continuously differentiable with Lipschitz gradient on the box; true bounds that the
    oracle can bring below any positive number. Then a short enough step is always accepted, F decreases in every accepted
    step, and every limit point is stationary.

    References: Bertsekas, On the Goldstein-Levitin-Polyak gradient projection method, IEEE Trans. Automat. Control 21
    (1976), 174-184; Barzilai, Borwein, Two-point step size gradient methods, IMA J. Numer. Anal. 8 (1988), 141-148.

    Args:
        acceptance: part of the first-order decrease that an accepted step must reach.
        max_step: longest move of a logarithmic or logit coordinate in one step.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        value_accuracy: value accuracy relative to the first-order decrease, in a comparison the intervals leave open.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        decrease_tolerance: SMALL_DECREASE when a comparison is open at this times |F|.
        step_tolerance: SMALL_STEP when an accepted step, NO_PROGRESS when a step shortened by rejections is below this.
    """

    acceptance: float = 1e-3
    max_step: float = 2.0
    gradient_accuracy: float = 0.1
    value_accuracy: float = 0.1
    gradient_tolerance: float = 1e-6
    decrease_tolerance: float = 1e-10
    step_tolerance: float = 1e-9

    state_type = ProjectedGradientState

    def init(self, objective: Oracle, theta: Tensor) -> ProjectedGradientState:
        first = objective.hypergradient(theta, None)
        start, requests = tighten(objective.hypergradient, objective.parameters, first, self.gradient_accuracy, 0.0)
        norm = slope(objective.parameters, start) if finite(start) else 1.0
        return ProjectedGradientState(
            best=start,
            current=start,
            evaluations=1 + requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            length=1.0 / norm if norm > 0 else 1.0,
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: ProjectedGradientState) -> ProjectedGradientState:
        parameters, current = objective.parameters, state.current
        scale = scale_of(state.initial_value, current.value)
        reason = stationary(parameters, current, self.gradient_tolerance * scale)
        if reason is not None:
            return replace(state, status=reason)

        gradient = gradient_of(current)
        curved = coordinate_rates(parameters, current.theta).to(gradient) != 0
        fastest = float(torch.where(curved, gradient.abs(), torch.zeros_like(gradient)).max())
        length = min(state.length, self.max_step / fastest) if fastest > 0 else state.length
        point = parameters.project(current.theta - length * gradient)
        move = point - current.theta
        hoped = -float(gradient @ move)
        if float(move.abs().max()) <= self.step_tolerance or hoped <= 0:
            return replace(state, status=UpperStatus.NO_PROGRESS)

        trial = objective.hypergradient(point, 0.5 * self.gradient_accuracy * slope(parameters, current))
        negligible = self.decrease_tolerance * scale
        verdict = compare(objective, current, trial, hoped, self.acceptance, self.value_accuracy, negligible)
        current, trial, requests = verdict.current, verdict.trial, verdict.requests
        evaluations = state.evaluations + 1 + requests
        status = UpperStatus.RUNNING if verdict.decided else UpperStatus.SMALL_DECREASE
        if verdict.accepted:
            floor = 0.5 * self.gradient_tolerance * scale
            trial, requests = tighten(objective.hypergradient, parameters, trial, self.gradient_accuracy, floor)
            evaluations += requests
            curvature = float((gradient_of(trial) - gradient) @ move)
            length = float(move @ move) / curvature if curvature > 0 else 2.0 * length
            if float(move.abs().max()) <= 2 * self.step_tolerance:
                status = UpperStatus.SMALL_STEP
        else:
            length = 0.25 * length
        chosen = trial if verdict.accepted else current
        return replace(
            state,
            best=chosen,
            current=chosen,
            iteration=state.iteration + 1,
            evaluations=evaluations,
            status=status,
            length=length,
        )
