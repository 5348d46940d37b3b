"""Derivative-free optimization that asks for values as accurate as each decision needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import MAX_REQUESTS, finite, scale_of
from bilearn.upper.dynamic_dfo_geometry import MANY, choose, improve_set, renew_set
from bilearn.upper.dynamic_dfo_model import InterpolationModel, Proposal
from bilearn.upper.dynamic_dfo_points import Points, doubt
from bilearn.upper.dynamic_dfo_start import screen, settle
from bilearn.upper.gauss_newton_model import double
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

_SMALL = 1e-2
"""A step shorter than this part of the radius says more about the radius than about F."""

_CURVATURE = 0.05
"""Values need no errors below this times F times radius^2: there the model errs by its order."""
_STRICTER = 0.25
"""Factor of ``model_accuracy`` for each step in a row without an accepted point: errors of the values come to be excluded."""
_STRICTEST = 0.2
"""The least that factor makes of it."""
_SLACK = 1.1
"""A bound this much larger than asked for will do."""
_GLANCE = 8.0
"""A trial point is first evaluated to this many times the current value: enough to reject a bad one."""


_SHARP = 0.02
"""With many parameters, bound on every new value relative to the predicted decrease: refreshing values later costs more."""
_GENTLE = 0.9
"""With many parameters, factor of the radius after a rejected step that renewed points."""
_PATIENCE = 4
"""With many parameters, steps without an accepted point that count as one: most of them are due to far points."""

_EXHAUSTED = frozenset({UpperStatus.SMALL_STEP, UpperStatus.SMALL_DECREASE})


@dataclass(frozen=True)
class DynamicDFOState(UpperState):
    """Adds to :class:`UpperState` the evaluated points and the trust region.

    Attributes:
        points: evaluations at the points, the current iterate first.
        starts: the oracle's snapshot at each point, from which its value can be made more accurate.
        radius: of the trust region, in units of :func:`bilearn.upper.dynamic_dfo_points.units`.
        initial_value: F at the start.
        improve: whether the next step has to improve the interpolation set, and its values, before it tries a point.
        restarts: soft restarts so far.
        failures: steps in a row that left the current iterate where it was.
    """

    points: tuple[Evaluation, ...] = ()
    starts: tuple[dict[str, Any], ...] = ()
    radius: float = 1.0
    initial_value: float = math.nan
    improve: bool = False
    restarts: int = 0
    failures: int = 0


@dataclass(frozen=True)
class DynamicDFO(UpperOptimizer[DynamicDFOState]):
    """Minimizes F over a box from values alone, each as inaccurate as the method can bear.

    Where F = sum of squared residuals + penalty, every entry of the residual vectors is interpolated (x_i - target_i pixel
    by pixel, from the stored reconstructions) and the model is that of Gauss and Newton; for any other loss F - penalty is
    interpolated. The model contains the penalty itself. One step is

    1. *Interpolation set.* Choose among the evaluated points (:class:`InterpolationSet`); where they do not span all
       directions evaluate the missing ones.
    2. *Criticality phase.* Where the model's slope is small and the set is not fully linear, or where the model promises
       nothing, evaluate a point that improves the set, or shrink the radius; stop at ``final_radius``.
    3. *Accuracy phase.* Minimize the model over the box and the trust region. Repeat with more accurate values of those
       interpolation points whose errors may change the predicted decrease by more than ``model_accuracy`` times itself,
       a quarter of that after every further step that accepted nothing. Each continues its solves where they stopped.
    4. Evaluate the trial point to ``value_accuracy`` times the predicted decrease.
    5. Accept it if the certified intervals prove a decrease of ``acceptance`` times the predicted one, reject it if they
       exclude that. What they leave open is asked for again, at both points, down to ``decision_accuracy`` times the
       predicted decrease - condition (32) of the paper - where the computed ratio decides.
    6. Ratio at least ``enlarge``: double the radius if the step reached it. Rejected: shrink the radius if the set was
       fully linear and the values behind the model were accurate enough for the next step too; otherwise improve the set
       and those values first. The trial point stays among the evaluated points either way.

    *Many parameters.* With more than 16 parameters repairing a set costs too many evaluations. Then models are linear,
    points count however far they are, and these parts of a step change:

    * The step stays in the part of the trust region that goes seven tenths of the way to a bound of a plain coordinate.
    * New values, and the current one, are asked for to 0.02 times the predicted decrease, so that few are refreshed later.
    * The factor of ``model_accuracy`` falls after every fourth step that accepted nothing.
    * A rejected step replaces at most three points farther away than twice the radius by near ones
      (:func:`bilearn.upper.dynamic_dfo_geometry.renew_set`) and multiplies the radius by 0.9; by 0.5 where there were none.
      A rejected trial point that is proved to be better becomes the current iterate nevertheless.

    The fully linear test remains where it decides about stopping: in the criticality phase, and no radius is smaller than
    ``final_radius`` as long as far points are renewed.

    It differs from Algorithm 1 of the paper in these: residuals are vectors, not their norms, and their models become
    quadratic where more than n + 1 points are at hand; certified intervals may settle a decision before (32) holds; a trial
    that is proved better by step 5 is accepted whatever the geometry; the start is screened; with many parameters the radius
    may shrink before the set is fully linear.

    Conditions: F bounded below and continuously differentiable with Lipschitz gradient on the box (each residual, where
    there are residuals); lower levels strongly convex, so that bounds exist and the oracle can bring them below any positive
    number. With linear models (``points`` = n + 1) and without ``final_radius`` those are the assumptions under which the
    paper proves that its criticality measure tends to zero in the sense of a limit inferior; for the differences above no
    such theorem is claimed, but every accepted step is a proved decrease wherever certified intervals decide. No gradient
    of F is needed. With ``prescribed`` accuracies nothing is guaranteed.

    *Screening.* One gradient certifies an interval for F. Where its upper end is more than ``screening`` times the value,
    the lower level is so badly conditioned that a useful value would cost thousands of steps. Then points one unit away
    are looked at for one gradient each, and the start moves to one whose certified upper end is ``screening`` times
    smaller, again and again.

    *Soft restart.* Where the radius or the predicted decrease is exhausted although the certified interval of the current
    value is wider than ``decrease_tolerance`` times F, its error may have hidden a decrease. Then the current value is
    asked for to that accuracy, the radius becomes ``initial_radius`` again and the set is improved; all points are kept.
    The run ends where the oracle cannot halve the interval, which includes every oracle without errors.

    References: Ehrhardt, Roberts, Inexact derivative-free optimization for bilevel learning, JMIV 63 (2021), algorithm 1;
    Conn, Scheinberg, Vicente, Introduction to Derivative-Free Optimization (2009), chapter 10; Cartis, Roberts, A
    derivative-free Gauss-Newton method, Math. Prog. Comp. 11 (2019).

    Args:
        initial_radius: first trust radius; 1 is a factor of ten in a decimal logarithm, a fifth of the box of a plain number.
        max_radius: largest radius.
        final_radius: SMALL_DECREASE when a model that is fully linear at this radius promises nothing, SMALL_STEP when
            rejected steps have made the radius so small.
        points: most points of one model; n + 1 keeps all models linear, None is 2n + 1, or n + 1 for more than 16 parameters.
        initial_accuracy: bound on the first values relative to themselves.
        value_accuracy: bound on the values before a decision, relative to the predicted decrease.
        decision_accuracy: the same where intervals cannot decide; below half of ``acceptance`` and of 1 - ``enlarge``.
        model_accuracy: see step 3; more than 1 is allowed, since the bound adds up worst cases and a bad model only costs a
            rejected step.
        acceptance: part of the predicted decrease that an accepted step must reach.
        enlarge: part that enlarges the trust region.
        criticality: slope, relative to F, below which the set must be fully linear.
        decrease_tolerance: a predicted decrease below this times F is nothing.
        screening: factor, see above; infinity switches it off.
        restarts: largest number of soft restarts, see above; 0 switches them off.
        max_evaluations, max_gradients: BUDGET after so many oracle calls or lower-level gradients.
        prescribed: accuracy of every value as a function of the radius, decisions as computed: a baseline without dynamic
            accuracy, as in ``lambda radius: 10 * radius**2`` or ``lambda radius: 1e-3``.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    initial_radius: float = 0.5
    max_radius: float = 2.0
    final_radius: float = 1e-4
    points: int | None = None
    initial_accuracy: float = 0.5
    value_accuracy: float = 0.3
    decision_accuracy: float = 0.14
    model_accuracy: float = 10.0
    acceptance: float = 0.3
    enlarge: float = 0.7
    criticality: float = 1e-3
    decrease_tolerance: float = 1e-7
    screening: float = 10.0
    restarts: int = 1
    max_evaluations: int | None = None
    max_gradients: int | None = None
    prescribed: Callable[[float], float] | None = None

    state_type = DynamicDFOState

    def __post_init__(self) -> None:
        for name in ("value_accuracy", "decision_accuracy", "acceptance", "enlarge", "criticality"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"DynamicDFO.{name}: found {getattr(self, name)}, expected a number in (0, 1)")
        if not self.decision_accuracy < 0.5 * min(self.acceptance, 1.0 - self.enlarge):
            raise ValueError(
                f"DynamicDFO.decision_accuracy: found {self.decision_accuracy}, expected less than half of acceptance = "
                f"{self.acceptance} and of 1 - enlarge = {1.0 - self.enlarge:.3g}"
            )
        if not 0.0 < self.final_radius < self.initial_radius <= self.max_radius:
            raise ValueError(
                f"DynamicDFO: found final_radius = {self.final_radius}, initial_radius = {self.initial_radius}, max_radius "
                f"= {self.max_radius}, expected 0 < final_radius < initial_radius <= max_radius"
            )
        if not (self.initial_accuracy > 0.0 and self.screening > 1.0):
            raise ValueError(
                f"DynamicDFO: found initial_accuracy = {self.initial_accuracy}, screening = {self.screening}, expected "
                "initial_accuracy > 0 and screening > 1"
            )

    def init(self, objective: Oracle, theta: Tensor) -> DynamicDFOState:
        points = Points(objective, (), ())
        points.add(theta, math.inf if self.prescribed is None else self.prescribed(self.initial_radius))
        status = UpperStatus.RUNNING if finite(points.current) else UpperStatus.NON_FINITE
        if status is UpperStatus.RUNNING and self.prescribed is None:
            screen(points, self.screening)
            settle(points, self.initial_accuracy)
        return DynamicDFOState(
            best=points.best,
            current=points.current,
            evaluations=points.requests,
            status=status,
            points=tuple(points.evaluations),
            starts=points.starts,
            radius=self.initial_radius,
            initial_value=points.current.value,
        )

    def step(self, objective: Oracle, state: DynamicDFOState) -> DynamicDFOState:
        if self._spent(objective, state):
            return replace(state, status=UpperStatus.BUDGET)
        points = Points(objective, state.points, state.starts, state.best)
        scale = scale_of(state.initial_value, state.current.value)
        failures = state.failures // _PATIENCE if len(points.unit) > MANY else state.failures
        share = max(self.model_accuracy * _STRICTER**failures, _STRICTEST)
        status, radius, improve = self._advance(points, state.radius, state.improve, share, scale)
        moved = not torch.equal(points.current.theta, state.current.theta)
        restarts = state.restarts
        if status in _EXHAUSTED and restarts < self.restarts and self._permits(points, self.decrease_tolerance * scale):
            status, radius, improve, restarts = UpperStatus.RUNNING, self.initial_radius, True, restarts + 1
        self._trim(points, radius)
        return replace(
            state,
            best=points.best,
            current=points.current,
            iteration=state.iteration + 1,
            evaluations=state.evaluations + points.requests,
            status=status,
            points=tuple(points.evaluations),
            starts=points.starts,
            radius=radius,
            improve=improve,
            restarts=restarts,
            failures=0 if moved else state.failures + 1,
        )

    def _advance(
        self, points: Points, radius: float, improve: bool, share: float, scale: float
    ) -> tuple[UpperStatus, float, bool]:
        """One step; status, next radius, and whether the next step has to improve the set first."""
        nothing = self.decrease_tolerance * scale
        if improve and not choose(points, radius, self.points).fully_linear:
            improve_set(points, radius, self.points, self._spanning(points, radius))
        proposal = self._propose(points, radius, nothing, share)
        if proposal is None:
            lost = radius <= self.final_radius
            return UpperStatus.NON_FINITE if lost else UpperStatus.RUNNING, 0.25 * radius, False
        fully_linear = proposal.chosen.fully_linear
        slope = proposal.model.linear_decrease(*points.box(1.0))
        if proposal.predicted <= nothing or proposal.length <= max(_SMALL * radius, self.final_radius):
            if not fully_linear:
                return UpperStatus.RUNNING, radius, True
            if radius > self.final_radius:
                return UpperStatus.RUNNING, max(0.25 * radius, self.final_radius), True
            return UpperStatus.SMALL_DECREASE, radius, False
        if slope <= self.criticality * scale and not fully_linear:
            return UpperStatus.RUNNING, radius, True

        many = len(points.unit) > MANY
        sharp = _SHARP * proposal.predicted
        if many and self.prescribed is None and doubt(points.current) > _SLACK * sharp:
            points.refine(0, sharp)
        wanted = max(self.value_accuracy * proposal.predicted, _GLANCE * abs(points.current.value))
        trial = points.add(points.at(proposal.move), self._accuracy(radius, sharp if many else wanted))
        if not finite(points.evaluations[trial]):
            points.drop(trial)
            return self._shrunk(0.5 * proposal.length)
        accepted, decided = self._decide(points, trial, proposal.predicted)
        ratio = (points.current.value - points.evaluations[trial].value) / proposal.predicted
        if not decided:
            return UpperStatus.SMALL_DECREASE, radius, False
        if accepted:
            points.promote(trial)
            if ratio >= self.enlarge and proposal.length >= 0.9 * radius:
                return UpperStatus.RUNNING, min(2.0 * radius, self.max_radius), False
            least = 1.0 if many else 0.25
            return UpperStatus.RUNNING, max(min(radius, 2.0 * proposal.length), least * radius), False
        if many:
            if points.evaluations[trial].upper < points.current.lower:
                points.promote(trial)
            renewed = renew_set(points, radius, self.points, self._accuracy(radius, sharp))
            reached = min(radius, 2.0 * proposal.length)
            if renewed:
                return UpperStatus.RUNNING, max(_GENTLE * reached, 0.25 * radius, self.final_radius), False
            return self._shrunk(max(0.5 * reached, 0.25 * radius))
        stale = (
            not improve
            and float(proposal.model.influence(proposal.move).sum()) > _STRICTER * share * proposal.predicted
        )
        if fully_linear and not stale:
            return self._shrunk(0.5 * min(radius, 2.0 * proposal.length))
        return UpperStatus.RUNNING, radius, True

    def _permits(self, points: Points, nothing: float) -> bool:
        """Whether the interval of the current value permits a decrease that counts, and could be made narrower."""
        before = doubt(points.current)
        if self.prescribed is not None or before <= nothing:
            return False
        points.refine(0, nothing)
        return doubt(points.current) <= 0.5 * before

    def _shrunk(self, radius: float) -> tuple[UpperStatus, float, bool]:
        small = radius < self.final_radius
        return UpperStatus.SMALL_STEP if small else UpperStatus.RUNNING, radius, False

    def _propose(self, points: Points, radius: float, nothing: float, share: float) -> Proposal | None:
        """The accuracy phase: values whose errors change the model's promise by at most ``share`` of it."""
        proposal = self._model(points, radius)
        floor = max(nothing, _CURVATURE * min(radius, 1.0) ** 2 * abs(points.current.value))
        for _ in range(MAX_REQUESTS * len(points.evaluations)):
            if self.prescribed is not None or proposal is None:
                break
            resolved = max(proposal.predicted, floor)
            allowed = share * resolved
            influence = proposal.model.influence(proposal.move)
            if float(influence.sum()) > allowed:
                worst = int(influence.argmax())
                index = proposal.chosen.chosen[worst]
                part = 0.5 * allowed / (float(influence[worst]) * len(proposal.chosen.chosen))
                useful = points.refine(index, max(part, 1e-3) * doubt(points.evaluations[index]))
            else:
                break
            if not useful:
                break
            proposal = self._model(points, radius)
        return proposal

    def _model(self, points: Points, radius: float) -> Proposal | None:
        """Model and step at the values the points have now; points in missing directions are evaluated first."""
        chosen = choose(points, radius, self.points)
        while chosen.lagrange is None:
            if not improve_set(points, radius, self.points, self._spanning(points, radius)):
                return None
            chosen = choose(points, radius, self.points)
        model = InterpolationModel.of(points, chosen.chosen, chosen.lagrange)
        many = len(points.unit) > MANY
        move = model.minimize(*(points.interior(radius) if many else points.box(radius)))
        exact = points.at(move)
        move = (double(exact) - double(points.current.theta)) / points.unit
        return Proposal(chosen, model, move, model.decrease(move))

    def _decide(self, points: Points, trial: int, predicted: float) -> tuple[bool, bool]:
        """Whether the decrease reaches the required one, and whether that could be decided."""
        required, smallest = self.acceptance * predicted, self.decision_accuracy * predicted / _SLACK
        expected = self.value_accuracy * predicted
        for _ in range(4 * MAX_REQUESTS):
            here, there = points.current, points.evaluations[trial]
            excess, error = here.value - there.value - required, doubt(here) + doubt(there)
            if self.prescribed is not None or max(doubt(here), doubt(there)) <= _SLACK * smallest:
                return excess >= 0, True
            if abs(excess) >= error:
                return excess > 0, True
            goal = max(min(0.4 * abs(excess), 0.1 * max(doubt(here), doubt(there))), expected)
            for index in (0, trial):
                if doubt(points.evaluations[index]) > _SLACK * goal and not points.refine(index, goal):
                    return False, False
            expected = max(0.5 * expected, smallest)
        return False, False

    def _spanning(self, points: Points, radius: float) -> float:
        """Accuracy of a point that is evaluated for the set alone: the order of the model's own error."""
        order = abs(points.current.value) * min(radius, 1.0) ** 2
        if len(points.unit) > MANY:
            return self._accuracy(radius, _SHARP * order)
        return self._accuracy(radius, max(doubt(points.current), self.value_accuracy * order))

    def _accuracy(self, radius: float, dynamic: float) -> float:
        return dynamic if self.prescribed is None else self.prescribed(radius)

    def _spent(self, objective: Oracle, state: DynamicDFOState) -> bool:
        evaluations, gradients = self.max_evaluations, self.max_gradients
        return (evaluations is not None and state.evaluations >= evaluations) or (
            gradients is not None and objective.cost.gradients >= gradients
        )

    def _trim(self, points: Points, radius: float) -> None:
        """Forget the farthest points; three for each parameter are kept."""
        spare = len(points.evaluations) - 3 * len(points.unit) - 1
        if spare > 0:
            farthest = points.nodes().abs().amax(1).argsort(descending=True)[:spare].tolist()
            for index in sorted(farthest, reverse=True):
                points.drop(index)
