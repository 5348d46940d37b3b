"""Limited-memory BFGS in a box with a budget: many parameters, bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.upper.accuracy import (
    Verdict,
    believed_error,
    compare,
    finite,
    gradient_of,
    known_error,
    scale_of,
    sharpen,
)
from bilearn.upper.feasible import Budget, box_descent
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.warp import coordinate_rates

_MAX_REQUESTS = 6
_SHRINK = (0.1, 0.5)
# part of a direction below which a projection that is not yet downhill is given up
_NO_DESCENT = 1e-2


@dataclass(frozen=True)
class ProjectedLBFGSState(UpperState):
    """Adds to :class:`UpperState` what the next direction is made of.

    Attributes:
        steps, changes: the latest moves (P,) and the changes of the gradient over them, oldest first.
        initial_value: F at the start.
        initial_slope: |d0| at the start.
        leniency: how many times larger than wanted the proved bound of a gradient may be.
    """

    steps: tuple[Tensor, ...] = ()
    changes: tuple[Tensor, ...] = ()
    initial_value: float = math.nan
    initial_slope: float = math.nan
    leniency: float = 1.0


@dataclass(frozen=True)
class ProjectedLBFGS(UpperOptimizer[ProjectedLBFGSState]):
    """theta+ = P(theta + t d) with a quasi-Newton direction d in the coordinates that are free to move.

    P projects onto the box and, where there is one, onto the budget sum_i w_i theta_i = total inside it. Unlike
    :class:`LBFGSB` it stores 2 ``memory`` vectors, however long the run, and knows budgets.

    1. d0 = projection of -g onto the directions that stay feasible. Stop if |d0| and the error of g are small.
    2. A spectral step tells which coordinates are bound: those that z = P(theta - D g) puts on a bound, D with one scale
       s'y / y'y of the latest pair for each parameter tensor. They move there, d = z - theta. On the free ones, with H the
       limited-memory BFGS matrix of the pairs (s, y) restricted to them (started from D; pairs with s'y <= 0 left out),
       d = -H (g - c w), with c such that the direction keeps the budget's w'theta (c = 0 without a budget).
    3. For t = 1 (or less, so that no logarithmic or logit coordinate moves by more than ``max_step``): theta' = P(theta +
       t d). Accept if the certified intervals prove F(theta') <= F(theta) - ``acceptance`` g'(theta - theta'); they are
       asked for more accurately where they leave it open. Rejected: t is reduced by the minimum of the parabola through
       what is known, within [0.1, 0.5]; by 0.1 where theta' is not downhill.
    4. At the start, and where no t is accepted, d = -g instead, scaled so that d0 moves no coordinate by more than
       ``first_step``, and the memory starts anew; if that fails too, the method stops with NO_PROGRESS. The memory also
       starts anew after a step that lowers F by next to nothing; where d = -g does so too, the method stops with
       SMALL_DECREASE.
    5. Errors of gradients are believed to be ``leniency`` times smaller than their bounds: decreases are proved all the
       same, directions are not. Where intervals of values left a comparison open, the leniency falls to a tenth. Before
       the method stops for any reason the bound itself is made small, at the current point; if it was too large for that,
       the leniency falls as well and the method goes on.

    References: Liu, Nocedal, On the limited memory BFGS method, Math. Program. 45 (1989); Bertsekas, Projected Newton
    methods for optimization problems with simple constraints, SIAM J. Control Optim. 20 (1982); Schmidt, van den Berg,
    Friedlander, Murphy, Optimizing costly functions with simple constraints, AISTATS 2009.

    Args:
        budget: the budget, or None for the box alone. The start is projected onto it.
        memory: number of stored pairs.
        acceptance: part of the first-order decrease that an accepted step must reach.
        first_step: longest move of a coordinate by d0 in a step without memory.
        max_step: longest move of a logarithmic or logit coordinate in one step.
        line_search_steps: most trials along one direction.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        leniency: how many times larger the proved bound of that error may be until progress stops; 1 wants proofs always.
        value_accuracy: value accuracy relative to the first-order decrease, in a comparison the intervals leave open.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        relative_tolerance: STATIONARY when they are below this times the projected gradient at the start.
        decrease_tolerance: SMALL_DECREASE when an accepted step lowers F by less than this times |F|.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    budget: Budget | None = None
    memory: int = 10
    acceptance: float = 1e-4
    first_step: float = 0.1
    max_step: float = 0.3
    line_search_steps: int = 20
    gradient_accuracy: float = 0.1
    leniency: float = 30.0
    value_accuracy: float = 0.1
    gradient_tolerance: float = 1e-6
    relative_tolerance: float = 0.0
    decrease_tolerance: float = 1e-9

    state_type = ProjectedLBFGSState

    def __post_init__(self) -> None:
        if self.memory < 1 or self.line_search_steps < 1:
            raise ValueError(
                f"ProjectedLBFGS: found memory={self.memory}, line_search_steps={self.line_search_steps}, expected at "
                "least 1"
            )
        for name in ("acceptance", "gradient_accuracy", "value_accuracy"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"ProjectedLBFGS: found {name}={getattr(self, name)}, expected a number in (0, 1)")
        if not self.leniency >= 1.0:
            raise ValueError(f"ProjectedLBFGS: found leniency={self.leniency}, expected at least 1")
        if not (self.first_step > 0 and self.max_step > 0):
            raise ValueError(
                f"ProjectedLBFGS: found first_step={self.first_step}, max_step={self.max_step}, expected positive numbers"
            )

    def project(self, parameters: ParameterVector, theta: Tensor) -> Tensor:
        """Nearest feasible point."""
        return parameters.project(theta) if self.budget is None else self.budget.project(parameters, theta)

    def descent(self, parameters: ParameterVector, evaluation: Evaluation) -> Tensor:
        """d0 (P,) at an evaluation with a gradient; zero at a stationary point."""
        method = box_descent if self.budget is None else self.budget.descent
        return method(parameters, evaluation.theta, gradient_of(evaluation))

    def slope(self, parameters: ParameterVector, evaluation: Evaluation) -> float:
        """|d0|."""
        return float(torch.linalg.vector_norm(self.descent(parameters, evaluation)))

    def init(self, objective: Oracle, theta: Tensor) -> ProjectedLBFGSState:
        first = objective.hypergradient(self.project(objective.parameters, theta), None)
        start, requests = self._tighten(objective, first, 0.0, self.leniency)
        return ProjectedLBFGSState(
            best=start,
            current=start,
            evaluations=1 + requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            initial_value=start.value,
            initial_slope=self.slope(objective.parameters, start) if finite(start) else math.nan,
            leniency=self.leniency,
        )

    def step(self, objective: Oracle, state: ProjectedLBFGSState) -> ProjectedLBFGSState:
        following = self._advance(objective, state)
        if following.status in (UpperStatus.RUNNING, UpperStatus.NON_FINITE, UpperStatus.STATIONARY):
            return following
        return self._prove(objective, following)

    def _prove(self, objective: Oracle, state: ProjectedLBFGSState) -> ProjectedLBFGSState:
        """Step 5: the state as it is if the gradient's error is proved to be small, else a sharper one that goes on."""
        floor = 0.5 * self._goal(state, scale_of(state.initial_value, state.current.value))
        wanted = max(self.gradient_accuracy * self.slope(objective.parameters, state.current), floor)
        if state.leniency == 1.0 or known_error(state.current) <= wanted:
            return state
        leniency = max(1.0, 0.1 * state.leniency)
        current, requests = self._tighten(objective, state.current, floor, leniency)
        return replace(
            state,
            best=current,
            current=current,
            evaluations=state.evaluations + requests,
            status=UpperStatus.RUNNING,
            leniency=leniency,
        )

    def _advance(self, objective: Oracle, state: ProjectedLBFGSState) -> ProjectedLBFGSState:
        parameters, current = objective.parameters, state.current
        scale = scale_of(state.initial_value, current.value)
        goal = self._goal(state, scale)
        if self.slope(parameters, current) <= goal < self.slope(parameters, current) + known_error(current):
            current, requests = self._tighten(objective, current, 0.5 * goal, 1.0)
            state = replace(state, best=current, current=current, evaluations=state.evaluations + requests)
        downhill = self.descent(parameters, current)
        norm = float(torch.linalg.vector_norm(downhill))
        if norm + known_error(current) <= goal:
            return replace(state, status=UpperStatus.STATIONARY)
        if believed_error(current, state.leniency) >= norm:
            return replace(state, status=UpperStatus.SMALL_DECREASE)

        ways = [(self._direction(parameters, state, downhill), state.steps, state.changes)] if state.steps else []
        ways.append((self._steepest(current, downhill), (), ()))
        for direction, steps, changes in ways:
            state = replace(state, steps=steps, changes=changes)
            verdict, state = self._search(objective, state, direction, scale)
            if verdict is not None and verdict.accepted:
                return self._accept(objective, state, verdict, scale)
            if verdict is not None and not verdict.decided:
                return replace(state, status=UpperStatus.SMALL_DECREASE)
        return replace(state, status=UpperStatus.NO_PROGRESS)

    def _search(
        self, objective: Oracle, state: ProjectedLBFGSState, direction: Tensor, scale: float
    ) -> tuple[Verdict | None, ProjectedLBFGSState]:
        """The verdict on the last trial along a direction (None without descent), and the state with what that taught."""
        parameters = objective.parameters
        curved = coordinate_rates(parameters, state.current.theta).to(direction) != 0
        fastest = float(torch.where(curved, direction.abs(), torch.zeros_like(direction)).max())
        length = min(1.0, self.max_step / fastest) if fastest > 0 else 1.0
        verdict = None
        for _ in range(self.line_search_steps):
            current = state.current
            point = self.project(parameters, current.theta + length * direction)
            move = point - current.theta
            hoped = -float(gradient_of(current) @ move)
            if hoped <= 0:
                if length < _NO_DESCENT:
                    return None, state
                length *= _SHRINK[0]
                continue
            accuracy = 0.5 * state.leniency * self.gradient_accuracy * self.slope(parameters, current)
            trial = objective.hypergradient(point, accuracy)
            verdict = compare(
                objective, current, trial, hoped, self.acceptance, self.value_accuracy, self.decrease_tolerance * scale
            )
            state = replace(
                state,
                best=verdict.current,
                current=verdict.current,
                evaluations=state.evaluations + 1 + verdict.requests,
                leniency=max(1.0, 0.1 * state.leniency) if verdict.requests else state.leniency,
            )
            if verdict.accepted or not verdict.decided:
                return verdict, state
            rise = verdict.trial.value - verdict.current.value
            best = 0.5 * hoped / (rise + hoped) if math.isfinite(rise) else 0.0
            length *= min(max(best, _SHRINK[0]), _SHRINK[1])
        return verdict, state

    def _accept(
        self, objective: Oracle, state: ProjectedLBFGSState, verdict: Verdict, scale: float
    ) -> ProjectedLBFGSState:
        trial, requests = self._tighten(objective, verdict.trial, 0.5 * self._goal(state, scale), state.leniency)
        move = trial.theta - state.current.theta
        change = gradient_of(trial) - gradient_of(state.current)
        small = state.current.value - trial.value <= self.decrease_tolerance * scale
        forget = small and bool(state.steps)
        return replace(
            state,
            best=trial,
            current=trial,
            iteration=state.iteration + 1,
            evaluations=state.evaluations + requests,
            status=UpperStatus.SMALL_DECREASE if small and not forget else UpperStatus.RUNNING,
            steps=() if forget else (*state.steps, move)[-self.memory :],
            changes=() if forget else (*state.changes, change)[-self.memory :],
        )

    def _goal(self, state: ProjectedLBFGSState, scale: float) -> float:
        """Projected gradient at which the method stops."""
        return max(self.gradient_tolerance * scale, self.relative_tolerance * state.initial_slope)

    def _tighten(
        self, objective: Oracle, evaluation: Evaluation, floor: float, leniency: float
    ) -> tuple[Evaluation, int]:
        """Ask again until the believed error is at most ``gradient_accuracy`` times |d0|, or ``floor``, or stays."""
        requests = 0
        while requests < _MAX_REQUESTS and finite(evaluation):
            before = believed_error(evaluation, leniency)
            goal = max(self.gradient_accuracy * self.slope(objective.parameters, evaluation), floor)
            if before <= goal:
                break
            evaluation = sharpen(objective.hypergradient, evaluation, leniency * max(0.5 * goal, 0.01 * before))
            requests += 1
            if believed_error(evaluation, leniency) > 0.9 * before:
                break
        return evaluation, requests

    def _steepest(self, current: Evaluation, downhill: Tensor) -> Tensor:
        """Minus the gradient, scaled so that d0 would move no coordinate by more than ``first_step``."""
        largest = float(downhill.abs().max())
        return gradient_of(current) * (-self.first_step / largest if largest > 0 else -1.0)

    def _direction(self, parameters: ParameterVector, state: ProjectedLBFGSState, downhill: Tensor) -> Tensor:
        """d (P,) of the class docstring, step 2."""
        theta, gradient = state.current.theta, gradient_of(state.current)
        initial = self._initial(parameters, state)
        nearby = self.project(parameters, theta - initial * gradient)
        inside = (nearby > parameters.lower) & (nearby < parameters.upper)
        mask = inside.to(gradient)
        pairs = []
        for move, change in zip(state.steps, state.changes, strict=True):
            s, y = mask * move, mask * change
            product = float(s @ y)
            if product > 1e-10 * float(torch.linalg.vector_norm(s)) * float(torch.linalg.vector_norm(y)):
                pairs.append((s, y, product))
        fixed = torch.where(inside, torch.zeros_like(theta), nearby - theta)
        direction = -_two_loop(pairs, initial, mask * gradient)
        if self.budget is not None:
            normal = self.budget.normal(theta)
            across = _two_loop(pairs, initial, mask * normal)
            size = float(normal @ across)
            if size > 0:
                direction = direction - (float(normal @ (direction + fixed)) / size) * across
        return direction + fixed

    def _initial(self, parameters: ParameterVector, state: ProjectedLBFGSState) -> Tensor:
        """(P,) diagonal of the first matrix: s'y / y'y of the latest pair, tensor by tensor, where that is positive.

        The coordinates of a budget share one scale, without which its projection is none in this metric.
        """
        s, y = state.steps[-1], state.changes[-1]
        out = torch.empty_like(s)
        parts = [slice(slot.start, slot.stop) for slot in parameters.slots]
        if self.budget is not None:
            parts.append(slice(self.budget.start, self.budget.stop))
        norms = float(torch.linalg.vector_norm(s)), float(torch.linalg.vector_norm(y))
        for part in parts:
            inner, square = float(s[part] @ y[part]), float(y[part] @ y[part])
            out[part] = inner / square if inner > 0 else norms[0] / max(norms[1], torch.finfo(y.dtype).tiny)
        return out


def _two_loop(pairs: list[tuple[Tensor, Tensor, float]], initial: Tensor, v: Tensor) -> Tensor:
    """H v by the two-loop recursion."""
    q, weights = v.clone(), []
    for s, y, product in reversed(pairs):
        weight = float(s @ q) / product
        q.add_(y, alpha=-weight)
        weights.append(weight)
    q.mul_(initial)
    for (s, y, product), weight in zip(pairs, reversed(weights), strict=True):
        q.add_(s, alpha=weight - float(y @ q) / product)
    return q
