"""What an upper-level method is, and the loop that runs one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost


class UpperStatus(Enum):
    """Why an upper-level run ended; the value is the sentence shown to the user."""

    RUNNING = "still running"
    STATIONARY = "the projected gradient is below the requested tolerance"
    SMALL_STEP = "the step is below the requested tolerance"
    SMALL_DECREASE = "the predicted decrease is below the accuracy that can be certified"
    MAX_STEPS = "stopped at the limit of upper-level steps"
    BUDGET = "stopped at the work or time budget"
    NO_PROGRESS = "no step that decreases the objective was found"
    EARLY_STOP = "stopped early: the validation loss no longer improves"
    INTERRUPTED = "interrupted by the user"
    NON_FINITE = "the objective or its gradient became non-finite"
    EXHAUSTED = "all planned points were evaluated"


class Oracle(Protocol):
    """What an upper-level method may ask: F to a requested accuracy. Implemented by ``ReducedObjective``."""

    @property
    def parameters(self) -> ParameterVector: ...

    @property
    def cost(self) -> Cost: ...

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F(theta) with |F~ - F| <= accuracy."""
        ...

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F and its gradient, the latter with 2-norm error <= accuracy."""
        ...

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F, gradient and Gauss-Newton matrix from the Jacobian of the reconstructions (few parameters)."""
        ...


@dataclass(frozen=True)
class UpperState:
    """Progress of a run; methods derive from it.

    Attributes:
        best: the evaluation with the smallest value seen; its theta is the answer.
        current: the latest accepted evaluation.
        iteration: upper-level steps taken.
        evaluations: oracle calls made.
        status: RUNNING until the method stops by itself.
    """

    best: Evaluation
    current: Evaluation
    iteration: int = 0
    evaluations: int = 1
    status: UpperStatus = UpperStatus.RUNNING


class UpperOptimizer(ABC):
    """A method for min F(theta) in a box: frozen hyperparameters, ``init`` and ``step``; sees only an :class:`Oracle`.

    ``init`` and ``step`` return a frozen dataclass derived from :class:`UpperState`, whose every field is a tensor, a
    number, a string, an enum, an :class:`Evaluation`, None or a tuple of those, so that a checkpoint can store it.
    """

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
    def init(self, objective: Oracle, theta: Tensor) -> Any:
        """State at the start theta (P,), projected into the box; evaluates there."""

    @abstractmethod
    def step(self, objective: Oracle, state: Any) -> Any:
        """One upper-level step."""


def run(
    optimizer: UpperOptimizer,
    objective: Oracle,
    theta: Tensor | None = None,
    max_steps: int = 100,
    callback: Callable[[Any], UpperStatus | None] | None = None,
    state: Any = None,
) -> Any:
    """Run ``optimizer`` until it stops, ``callback`` returns a status, or ``max_steps`` steps are taken.

    Args:
        optimizer: the method.
        objective: the oracle.
        theta: (P,) start in coordinates; the objective's current parameters if None.
        max_steps: limit on steps.
        callback: called with the state after ``init`` and after every step; a returned status ends the run with it.
        state: continue from this state instead of calling ``init``.

    Returns:
        The last state; ``state.best.theta`` is the answer and ``state.status`` the reason.
    """
    from dataclasses import replace

    if state is None:
        start = objective.parameters.get() if theta is None else theta
        state = optimizer.init(objective, objective.parameters.project(start))
    while True:
        verdict = callback(state) if callback is not None else None
        if state.status is not UpperStatus.RUNNING:
            return state
        if verdict is not None:
            return replace(state, status=verdict)
        if state.iteration >= max_steps:
            return replace(state, status=UpperStatus.MAX_STEPS)
        state = optimizer.step(objective, state)
