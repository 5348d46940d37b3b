"""Gauss-Newton with a structured secant correction and a trust region in a box, for few parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import (
    MAX_REQUESTS,
    believed_error,
    compare,
    finite,
    proved,
    scale_of,
    sharpen,
    slope,
    stationary,
    tighten,
)
from bilearn.upper.gauss_newton_model import Proposal, gram_of, propose
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

_NEAR = 1.0
"""Steps longer than this are first looked at: far from the current point the lower level may be costly to solve."""
_GLANCE = 0.5
"""Bound on the first value there relative to F: enough to reject a bad point without a gradient."""


@dataclass(frozen=True)
class GaussNewtonState(UpperState):
    """Adds to :class:`UpperState` the model and its trust region.

    Attributes:
        secant: (P, P) approximation of the second-order part of the Hessian that the Gauss-Newton matrix leaves out.
        radius: trust radius in the largest-component norm.
        initial_value: F at the start.
        augmented: whether the next model uses ``secant``.
        leniency: how many times larger than wanted the proved bounds of gradients may be.
    """

    secant: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    radius: float = 1.0
    initial_value: float = math.nan
    augmented: bool = False
    leniency: float = 1.0


@dataclass(frozen=True)
class GaussNewton(UpperOptimizer[GaussNewtonState]):
    """Minimizes F over a box with the model m(s) = F + g'p + p'(G + S)p/2, p = phi(s), G the oracle's Gauss-Newton matrix.

    phi is the identity except along coordinates whose descent runs into the flat tail of a logarithm or logit, where F is
    nearly linear in the natural value (:class:`bilearn.upper.warp.Warp`).

    One step asks for F, g and G at one trial point, so that an accepted step costs one evaluation:

    1. Stop if the projected gradient, the radius or the model's decrease is small.
    2. Minimize the model, with negative curvature removed, over the intersection of the box with the trust region
       max_i |s_i| <= radius; both are boxes in p too, so an active-set method does this exactly.
    3. Evaluate at theta + s, with a gradient error of at most a tenth of what the current point was allowed. Where s is long
       the value alone is looked at first, to half of F, and a point that this rejects costs no gradient. After a rejection
       the solves start again from those of theta.
    4. Accept if the certified intervals prove a decrease of at least ``acceptance`` times the predicted one; where they
       leave it open, ask for the values again to ``value_accuracy`` times the predicted decrease, and tighter. What stays
       open at the oracle's floor ends the run with SMALL_DECREASE. A non-finite trial counts as rejected.
    5. Double the radius after a good step that reached it; after a poor one shrink it to the minimizer of the cubic that
       interpolates both values and slopes along s, between a tenth and half of the step.
    6. Update S so that (G + S)p matches the change of the gradient: the symmetric update of Dennis, Gay and Welsch with
       their sizing. The next model uses S if, along s, G + S predicted the decrease better than G alone.

    A gradient is asked for again when its believed error exceeds ``gradient_accuracy`` times its projected norm, or when
    that error times the length of the step exceeds ``model_accuracy`` times the predicted decrease: the second matters where
    the model is badly conditioned. The believed error is the certified one divided by a leniency
    (:func:`bilearn.upper.accuracy.believed_error`), which falls by a factor of ten where values had to be asked for again, the
    decreases having become smaller than what it leaves, and to 1 where a test says that the run is over. S and the radius
    then start anew, since gradients that were merely believed made them; a run ends only when a test holds with proved errors.

    Conditions: a loss whose Hessian in the reconstruction is positive semidefinite, so that G exists; F bounded below with
    Lipschitz gradient on the box, G + S bounded; true bounds that the oracle can bring below any positive number. With
    relative gradient errors below a constant and certified decreases every limit point is then stationary.

    References: Dennis, Gay, Welsch, An adaptive nonlinear least-squares algorithm, ACM TOMS 7 (1981), 348-368 (S, its
    sizing, the choice of model); Conn, Gould, Toint, Trust-Region Methods (2000), sections 8.4 and 10.6 (box, inexact
    values); Carter, SIAM J. Numer. Anal. 28 (1991) (inexact gradients).

    Args:
        initial_radius: first trust radius, in coordinates (1 is a factor of 10 in a decimal logarithm).
        max_radius: largest trust radius.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        model_accuracy: largest part of the predicted decrease that the error of the gradient may make up.
        leniency: how many times larger than the believed error of a gradient its proved bound may be until progress stops; 1
            wants proofs always.
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
    gradient_accuracy: float = 0.01
    model_accuracy: float = 0.25
    leniency: float = 1e3
    value_accuracy: float = 0.1
    acceptance: float = 1e-3
    gradient_tolerance: float = 1e-8
    decrease_tolerance: float = 1e-9
    step_tolerance: float = 1e-8
    second_order: bool = True

    state_type = GaussNewtonState

    def __post_init__(self) -> None:
        for name in ("gradient_accuracy", "model_accuracy", "value_accuracy", "acceptance"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"GaussNewton.{name}: found {getattr(self, name)}, expected a number in (0, 1)")
        if not 0.0 < self.initial_radius <= self.max_radius:
            raise ValueError(
                f"GaussNewton.initial_radius: found {self.initial_radius}, expected 0 < initial_radius <= max_radius "
                f"= {self.max_radius}"
            )
        if not self.leniency >= 1.0:
            raise ValueError(f"GaussNewton.leniency: found {self.leniency}, expected at least 1")

    def init(self, objective: Oracle, theta: Tensor) -> GaussNewtonState:
        first = objective.gauss_newton(theta, None)
        ask, parameters = objective.gauss_newton, objective.parameters
        start, requests = tighten(ask, parameters, first, self.gradient_accuracy, 0.0, self.leniency)
        return GaussNewtonState(
            best=start,
            current=start,
            evaluations=1 + requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            secant=torch.zeros_like(gram_of(start), dtype=torch.float64, device="cpu"),
            radius=self.initial_radius,
            initial_value=start.value,
            leniency=self.leniency,
        )

    def step(self, objective: Oracle, state: GaussNewtonState) -> GaussNewtonState:
        scale = scale_of(state.initial_value, state.current.value)
        following = self._advance(objective, state, scale)
        over = following.status not in (UpperStatus.RUNNING, UpperStatus.NON_FINITE)
        if not over or self._proved(objective, following, scale):
            return following
        floor = 0.5 * self.gradient_tolerance * scale
        ask, parameters = objective.gauss_newton, objective.parameters
        current, requests = tighten(ask, parameters, following.current, self.gradient_accuracy, floor)
        return replace(
            following,
            best=current,
            current=current,
            evaluations=following.evaluations + requests,
            status=UpperStatus.RUNNING,
            secant=torch.zeros_like(following.secant),
            radius=self.initial_radius,
            augmented=False,
            leniency=1.0,
        )

    def _proved(self, objective: Oracle, state: GaussNewtonState, scale: float) -> bool:
        """Whether the current gradient is as accurate as the method wants it with leniency 1, or was asked to be."""
        floor = 0.5 * self.gradient_tolerance * scale
        return state.leniency == 1.0 or proved(objective.parameters, state.current, self.gradient_accuracy, floor)

    def _advance(self, objective: Oracle, state: GaussNewtonState, scale: float) -> GaussNewtonState:
        parameters = objective.parameters
        reason = stationary(parameters, state.current, self.gradient_tolerance * scale)
        small = slope(parameters, state.current) <= self.gradient_tolerance * scale
        if reason is not None and (small or self._proved(objective, state, scale)):
            return replace(state, status=reason)
        state, proposal = self._propose(objective, state)
        point, predicted, length = proposal.point, proposal.predicted, proposal.length
        limited = length >= 0.99 * state.radius
        epsilon = torch.finfo(point.dtype).eps
        if length <= max(self.step_tolerance, 2 * epsilon * float(point.abs().max())):
            return replace(state, status=UpperStatus.NO_PROGRESS if limited else UpperStatus.SMALL_STEP)
        if predicted <= max(self.decrease_tolerance * (min(length, 1.0) if limited else 1.0), epsilon) * scale:
            return replace(state, status=UpperStatus.SMALL_DECREASE)

        home, required = objective.snapshot(), self.acceptance * predicted
        if length > _NEAR:
            glance = objective.value(point, max(self.value_accuracy * predicted, _GLANCE * scale))
            state = replace(state, evaluations=state.evaluations + 1)
            if not finite(glance) or glance.lower > state.current.upper - required:
                objective.restore(home)
                rise = glance.value - state.current.value
                radius = length * _parabola_minimizer(rise, float(proposal.gradient @ proposal.warped))
                return replace(state, iteration=state.iteration + 1, radius=radius)
        lenient = state.leniency
        asked = 0.1 * lenient * self.gradient_accuracy * slope(parameters, state.current)
        trial = objective.gauss_newton(point, asked)
        negligible = 0.01 * self.decrease_tolerance * scale
        verdict = compare(objective, state.current, trial, predicted, self.acceptance, self.value_accuracy, negligible)
        current, trial, requests = verdict.current, verdict.trial, 1 + verdict.requests
        reduced = max(1.0, 0.1 * lenient) if verdict.requests else lenient
        if not verdict.accepted:
            objective.restore(home)
        chosen = trial if verdict.accepted else current
        if verdict.accepted or reduced < lenient:
            floor = 0.5 * self.gradient_tolerance * scale
            ask, wanted = objective.gauss_newton, self.gradient_accuracy
            chosen, more = tighten(ask, parameters, chosen, wanted, floor, reduced)
            requests += more
        following = replace(
            state,
            best=chosen,
            current=chosen,
            iteration=state.iteration + 1,
            evaluations=state.evaluations + requests,
            status=UpperStatus.RUNNING if verdict.decided else UpperStatus.SMALL_DECREASE,
            leniency=reduced,
        )
        if not finite(trial):
            return replace(following, radius=0.25 * length)
        following = replace(following, radius=self._radius(state.radius, proposal, verdict.decrease, trial))
        if not self.second_order:
            return following
        trial = chosen if verdict.accepted else trial
        noise = believed_error(state.current, lenient) + believed_error(trial, lenient)
        return replace(
            following,
            secant=proposal.next_secant(trial, verdict.accepted, noise),
            augmented=proposal.secant_helps(verdict.decrease),
        )

    def _propose(self, objective: Oracle, state: GaussNewtonState) -> tuple[GaussNewtonState, Proposal]:
        """The model's minimizer, from a gradient whose error changes the predicted decrease by a small part only."""
        asked = 0
        while True:
            proposal = propose(objective.parameters, state.current, state.secant, state.augmented, state.radius)
            error, reach = believed_error(state.current, state.leniency), float(proposal.move.norm())
            if error * reach <= self.model_accuracy * proposal.predicted or asked == MAX_REQUESTS:
                return state, proposal
            goal = state.leniency * max(0.5 * self.model_accuracy * proposal.predicted / reach, 0.01 * error)
            current = sharpen(objective.gauss_newton, state.current, goal)
            asked += 1
            improved = believed_error(current, state.leniency) <= 0.9 * error
            state = replace(state, current=current, best=current, evaluations=state.evaluations + 1)
            if not improved:
                return state, propose(objective.parameters, current, state.secant, state.augmented, state.radius)

    def _radius(self, radius: float, proposal: Proposal, actual: float, trial: Evaluation) -> float:
        ratio = actual / proposal.predicted
        if ratio < 0.25:
            return proposal.length * _cubic_minimizer(-actual, *proposal.slopes(trial))
        if ratio > 0.75 and proposal.length >= 0.9 * radius:
            return min(2.0 * radius, self.max_radius)
        return radius


def _parabola_minimizer(change: float, before: float) -> float:
    """Minimizer over [0.1, 0.5] of the parabola p with p(0) = 0, p'(0) = before < 0, p(1) = change."""
    return min(max(0.5 * before / (before - change), 0.1), 0.5) if math.isfinite(change) else 0.25


def _cubic_minimizer(change: float, before: float, after: float) -> float:
    """Minimizer over [0.1, 0.5] of the cubic p with p(0) = 0, p'(0) = before < 0, p(1) = change, p'(1) = after."""
    a = after + before - 2.0 * change
    b = 3.0 * change - after - 2.0 * before
    root = b * b - 3.0 * a * before
    best = -before / (b + math.sqrt(root)) if root >= 0 and b + math.sqrt(root) > 0 else 0.5
    return min(max(best, 0.1), 0.5)
