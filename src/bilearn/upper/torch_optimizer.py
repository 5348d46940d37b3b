"""Any torch optimizer on the vector of coordinates."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import better, finite, gradient_of, known_error, scale_of, slope, tighten
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

HALVINGS = 10
"""Times a step to a non-finite point is halved before the run ends."""


@dataclass(frozen=True)
class TorchState(UpperState):
    """Adds to :class:`UpperState` the inner state of the torch optimizer.

    Attributes:
        inner: its ``state_dict``.
        initial_value: F at the start.
    """

    inner: dict[str, Any] = field(default_factory=dict)
    initial_value: float = math.nan


@dataclass(frozen=True)
class TorchOptimizer(UpperOptimizer[TorchState]):
    """Runs a ``torch.optim`` method on the coordinates, projected on the box after each step; one evaluation a step.

    1. Stop if the projected gradient is small, or the step of 2.
    2. Rebuild the torch optimizer from its stored state, give it the gradient, let it step, project on the box. Where the
       box alone makes the step small while the projected gradient points inward, momentum still pushes against a bound:
       theta stays, and the optimizer takes its next step from the same gradient without another evaluation.
    3. Evaluate there, the gradient to a certified error of ``accuracy`` (or of ``gradient_accuracy`` times its projected
       norm); halve the step while the point is not finite.

    Nothing compares values, so F may rise; ``state.best`` keeps the lowest certified value seen.

    Conditions: those of the torch method for gradients with a relative error below ``gradient_accuracy``. With ``SGD``
    without momentum, lr < 2 (1 - gradient_accuracy) / L and no active bound, L the Lipschitz constant of grad F, F decreases
    in every step and grad F -> 0. Adam has no such guarantee.

    Reference: Kingma, Ba, Adam: a method for stochastic optimization, ICLR 2015; Bertsekas, Tsitsiklis, Gradient convergence
    in gradient methods with errors, SIAM J. Optim. 10 (2000) (gradients with errors).

    Args:
        make: builds the optimizer, for example ``lambda params: torch.optim.Adam(params, lr=0.05)``.
        accuracy: absolute gradient accuracy to ask for as a function of the iteration (None leaves it to the oracle);
            without it the relative rule applies.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        step_tolerance: SMALL_STEP when a step is below this and no bound cut it.

    Raises:
        ValueError: if ``make`` builds an optimizer that needs a closure (``torch.optim.LBFGS``).
    """

    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    accuracy: Callable[[int], float | None] | None = None
    gradient_accuracy: float = 0.1
    gradient_tolerance: float = 1e-7
    step_tolerance: float = 1e-9

    state_type = TorchState

    def init(self, objective: Oracle, theta: Tensor) -> TorchState:
        optimizer = self.make([nn.Parameter(theta.clone())])
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("TorchOptimizer.make: found torch.optim.LBFGS, which needs a closure; use LBFGSB instead")
        start, requests = self._evaluate(objective, theta, 0, None)
        return TorchState(
            best=start,
            current=start,
            evaluations=requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            inner=optimizer.state_dict(),
            initial_value=start.value,
        )

    def step(self, objective: Oracle, state: TorchState) -> TorchState:
        parameters, current = objective.parameters, state.current
        norm = slope(parameters, current)
        if norm + known_error(current) <= self.gradient_tolerance * scale_of(state.initial_value, current.value):
            return replace(state, status=UpperStatus.STATIONARY)

        parameter = nn.Parameter(current.theta.clone())
        optimizer = self.make([parameter])
        optimizer.load_state_dict(copy.deepcopy(state.inner))
        parameter.grad = gradient_of(current).clone()
        optimizer.step()
        free = parameter.detach() - current.theta
        move = parameters.project(parameter.detach()) - current.theta
        if not bool(move.isfinite().all()):
            return replace(state, status=UpperStatus.NON_FINITE)
        if float(move.abs().max()) <= self.step_tolerance:
            if norm == 0.0 or float(free.abs().max()) <= self.step_tolerance:
                return replace(state, status=UpperStatus.SMALL_STEP)
            return replace(state, iteration=state.iteration + 1, inner=optimizer.state_dict())

        iteration, evaluations = state.iteration + 1, state.evaluations
        trial, requests = self._evaluate(objective, current.theta + move, iteration, norm)
        evaluations += requests
        for _ in range(HALVINGS):
            if finite(trial):
                break
            move = 0.5 * move
            trial, requests = self._evaluate(objective, current.theta + move, iteration, norm)
            evaluations += requests
        if not finite(trial):
            return replace(state, evaluations=evaluations, status=UpperStatus.NON_FINITE)
        return replace(
            state,
            best=better(state.best, trial),
            current=trial,
            iteration=iteration,
            evaluations=evaluations,
            inner=optimizer.state_dict(),
        )

    def _evaluate(self, objective: Oracle, theta: Tensor, iteration: int, norm: float | None) -> tuple[Evaluation, int]:
        point = objective.parameters.project(theta)
        if self.accuracy is not None:
            return objective.hypergradient(point, self.accuracy(iteration)), 1
        first = objective.hypergradient(point, None if norm is None else 0.5 * self.gradient_accuracy * norm)
        evaluation, requests = tighten(
            objective.hypergradient, objective.parameters, first, self.gradient_accuracy, 0.0
        )
        return evaluation, 1 + requests
