"""Gauss-Newton with a structured secant correction and a trust region in a box, for few parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import better, compare, finite, gradient_of, scale_of, slope, tighten
from bilearn.upper.box_quadratic import minimize_in_box, nearest_convex
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.warp import descent_warp


@dataclass(frozen=True)
class GaussNewtonState(UpperState):
    """Adds to :class:`UpperState` the model and its trust region.

    Attributes:
        secant: (P, P) approximation of the second-order part of the Hessian that the Gauss-Newton matrix leaves out.
        radius: trust radius in the largest-component norm.
        initial_value: F at the start.
        augmented: whether the next model uses ``secant``.
    """

    secant: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    radius: float = 1.0
    initial_value: float = math.nan
    augmented: bool = False


@dataclass(frozen=True)
class GaussNewton(UpperOptimizer[GaussNewtonState]):
    """Minimizes F over a box with the model m(s) = F + g'p + p'(G + S)p/2, p = phi(s), G the oracle's Gauss-Newton matrix.

    phi is the identity except along coordinates whose descent runs into the flat tail of a logarithm or logit, where F is
    nearly linear in the natural value (:class:`bilearn.upper.warp.Warp`).

    One step asks for F, g and G at one trial point, so that an accepted step costs one evaluation:

    1. Stop if the projected gradient, the radius or the model's decrease is small.
    2. Minimize the model, with negative curvature removed, over the intersection of the box with the trust region
       max_i |s_i| <= radius; both are boxes in p too, so an active-set method does this exactly.
    3. Evaluate at theta + s, with a gradient error of at most a tenth of what the current point was allowed.
    4. Accept if the certified intervals prove a decrease of at least ``acceptance`` times the predicted one; where they
       leave it open, ask for the values again to ``value_accuracy`` times the predicted decrease, and tighter. What stays
       open at the oracle's floor ends the run with SMALL_DECREASE. A non-finite trial counts as rejected.
    5. Double the radius after a good step that reached it; after a poor one shrink it to the minimizer of the cubic that
       interpolates both values and slopes along s, between a tenth and half of the step.
    6. Update S so that (G + S)p matches the change of the gradient: the symmetric update of Dennis, Gay and Welsch with
       their sizing. The next model uses S if, along s, G + S predicted the decrease better than G alone.

    A gradient whose certified error exceeds ``gradient_accuracy`` times its projected norm is asked for again. With
    relative gradient errors below a constant and certified decreases every limit point is stationary.

    References: Dennis, Gay, Welsch, An adaptive nonlinear least-squares algorithm, ACM TOMS 7 (1981), 348-368 (S, its
    sizing, the choice of model); Conn, Gould, Toint, Trust-Region Methods (2000), sections 8.4 and 10.6 (box, inexact
    values); Carter, SIAM J. Numer. Anal. 28 (1991) (inexact gradients).

    Args:
        initial_radius: first trust radius, in coordinates (1 is a factor of 10 in a decimal logarithm).
        max_radius: largest trust radius.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        value_accuracy: value accuracy relative to the predicted decrease, in a comparison the intervals leave open.
        acceptance: part of the predicted decrease that an accepted step must reach.
        gradient_tolerance: STATIONARY below this times |F| per unit of coordinate.
        decrease_tolerance: SMALL_DECREASE when the model's decrease is below this times |F| (times the step length where
            the trust region cuts the step).
        step_tolerance: SMALL_STEP when the step is below this, NO_PROGRESS when rejected steps have made the radius so
            small.
        second_order: whether S is used at all; False is the plain Gauss-Newton model.

    Raises:
        ValueError: if a hyperparameter is out of range, or the oracle returns no Gauss-Newton matrix.
    """

    initial_radius: float = 1.0
    max_radius: float = 2.0
    gradient_accuracy: float = 0.1
    value_accuracy: float = 0.1
    acceptance: float = 1e-3
    gradient_tolerance: float = 1e-8
    decrease_tolerance: float = 1e-9
    step_tolerance: float = 1e-8
    second_order: bool = True

    state_type = GaussNewtonState

    def __post_init__(self) -> None:
        for name in ("gradient_accuracy", "value_accuracy", "acceptance"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"GaussNewton.{name}: found {getattr(self, name)}, expected a number in (0, 1)")
        if not 0.0 < self.initial_radius <= self.max_radius:
            raise ValueError(
                f"GaussNewton.initial_radius: found {self.initial_radius}, expected 0 < initial_radius <= max_radius "
                f"= {self.max_radius}"
            )

    def init(self, objective: Oracle, theta: Tensor) -> GaussNewtonState:
        first = objective.gauss_newton(theta, None)
        if first.jacobian_gram is None:
            raise ValueError(
                "GaussNewton: the objective returned no Gauss-Newton matrix; use LBFGSB, or a loss of squared-error type"
            )
        start, requests = tighten(objective.gauss_newton, objective.parameters, first, self.gradient_accuracy, 0.0)
        return GaussNewtonState(
            best=start,
            current=start,
            evaluations=1 + requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            secant=torch.zeros_like(first.jacobian_gram, dtype=torch.float64, device="cpu"),
            radius=self.initial_radius,
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: GaussNewtonState) -> GaussNewtonState:
        parameters, current = objective.parameters, state.current
        scale = scale_of(state.initial_value, current.value)
        norm = slope(parameters, current)
        known = current.gradient_bound if math.isfinite(current.gradient_bound) else 0.0
        if norm + known <= self.gradient_tolerance * scale:
            return replace(state, status=UpperStatus.STATIONARY)
        if known >= norm:
            return replace(state, status=UpperStatus.SMALL_DECREASE)

        gradient, gram = _double(gradient_of(current)), _double(_gram(current))
        theta, low, high = (_double(t) for t in (current.theta, parameters.lower, parameters.upper))
        matrix = nearest_convex(gram + state.secant if state.augmented else gram)
        warp = descent_warp(parameters, theta, gradient)
        low, high = (low - theta).clamp(min=-state.radius), (high - theta).clamp(max=state.radius)
        move = warp.inverse(minimize_in_box(matrix, gradient, warp(low), warp(high)))
        move = torch.minimum(torch.maximum(move, low), high)
        point = parameters.project((theta + move).to(current.theta))
        move = _double(point) - theta
        warped, stretch = warp(move), warp.derivative(move)
        length = float(move.abs().max())
        predicted = -float(gradient @ warped + 0.5 * warped @ matrix @ warped)
        limited = length >= 0.99 * state.radius
        epsilon = torch.finfo(point.dtype).eps
        if length <= max(self.step_tolerance, 2 * epsilon * float(theta.abs().max())):
            return replace(state, status=UpperStatus.NO_PROGRESS if limited else UpperStatus.SMALL_STEP)
        if predicted <= max(self.decrease_tolerance, epsilon) * scale * (min(length, 1.0) if limited else 1.0):
            return replace(state, status=UpperStatus.SMALL_DECREASE)

        request = 0.1 * self.gradient_accuracy * norm
        trial = objective.gauss_newton(point, request)
        verdict = compare(objective, current, trial, predicted, self.acceptance, self.value_accuracy)
        current, trial, requests = verdict.current, verdict.trial, verdict.requests
        evaluations = state.evaluations + 1 + requests
        if verdict.accepted:
            floor = 0.5 * self.gradient_tolerance * scale
            trial, requests = tighten(objective.gauss_newton, parameters, trial, self.gradient_accuracy, floor)
            evaluations += requests
        following = replace(
            state,
            best=better(better(state.best, current), trial),
            current=trial if verdict.accepted else current,
            iteration=state.iteration + 1,
            evaluations=evaluations,
            status=UpperStatus.RUNNING if verdict.decided else UpperStatus.SMALL_DECREASE,
        )
        if not finite(trial):
            return replace(following, radius=0.25 * length)

        reached = _double(gradient_of(trial))
        radius = self._radius(
            state.radius, length, verdict.decrease, predicted, float(gradient @ move), float(reached @ move)
        )
        secant, augmented = state.secant, False
        if self.second_order:
            plain = -float(gradient @ warped + 0.5 * warped @ gram @ warped)
            corrected = plain - 0.5 * float(warped @ secant @ warped)
            augmented = abs(verdict.decrease - corrected) <= abs(verdict.decrease - plain)
            metric = torch.outer(stretch, stretch)
            base = _double(_gram(trial)) / metric if verdict.accepted else gram
            change = reached / stretch - gradient
            secant = secant_update(secant, warped, change, change - base @ warped)
            if verdict.accepted:
                secant = secant * metric
        return replace(following, radius=radius, secant=secant, augmented=augmented)

    def _radius(
        self, radius: float, length: float, actual: float, predicted: float, before: float, after: float
    ) -> float:
        ratio = actual / predicted
        if ratio < 0.25:
            return length * _cubic_minimizer(-actual, before, after)
        if ratio > 0.75 and length >= 0.9 * radius:
            return min(2.0 * radius, self.max_radius)
        return radius


def _double(t: Tensor) -> Tensor:
    return t.detach().to("cpu", torch.float64)


def _gram(evaluation: Evaluation) -> Tensor:
    if evaluation.jacobian_gram is None:
        raise ValueError("jacobian_gram: found None, expected the Gauss-Newton matrix that was asked for")
    return evaluation.jacobian_gram


def _cubic_minimizer(change: float, before: float, after: float) -> float:
    """Minimizer over [0.1, 0.5] of the cubic p with p(0) = 0, p'(0) = before < 0, p(1) = change, p'(1) = after."""
    a = after + before - 2.0 * change
    b = 3.0 * change - after - 2.0 * before
    root = b * b - 3.0 * a * before
    best = -before / (b + math.sqrt(root)) if root >= 0 and b + math.sqrt(root) > 0 else 0.5
    return min(max(best, 0.1), 0.5)


def secant_update(secant: Tensor, move: Tensor, change: Tensor, target: Tensor) -> Tensor:
    """S+ with S+ s = target, s = move, closest to the sized S in the metric of a matrix that maps s to ``change``,
    the change of the gradient along s.

    Dennis, Gay, Welsch (1981), equations (3.4) to (3.8). Without positive curvature along s (change's <= 0) that metric
    does not exist and S is kept.
    """
    curvature = float(change @ move)
    if curvature <= 1e-12 * float(change.norm() * move.norm()):
        return secant
    along = float(move @ secant @ move)
    size = min(1.0, abs(float(move @ target)) / abs(along)) if along != 0.0 else 1.0
    sized = size * secant
    missing = target - sized @ move
    outer = torch.outer(missing, change)
    return sized + (outer + outer.mT) / curvature - float(missing @ move) / curvature**2 * torch.outer(change, change)
