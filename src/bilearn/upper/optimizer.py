"""What an upper-level method is, the loop that runs one, and how its state becomes a plain tree for a checkpoint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.penalties import PenaltyTerms
from bilearn.solution import Cost


class UpperStatus(Enum):
    """Why an upper-level run ended; the value is the sentence shown to the user."""

    RUNNING = "still running"
    STATIONARY = "the projected gradient is below the requested tolerance"
    SMALL_STEP = "the step is below the requested tolerance"
    SMALL_DECREASE = "the predicted decrease is below the requested tolerance, or below what can be certified"
    MAX_STEPS = "stopped at the limit of upper-level steps"
    BUDGET = "stopped at the work or time budget"
    NO_PROGRESS = "no step that decreases the objective was found"
    EARLY_STOP = "stopped early: the validation loss no longer improves"
    INTERRUPTED = "interrupted by the user"
    NON_FINITE = "the objective or its gradient became non-finite"
    EXHAUSTED = "all planned points were evaluated"


RESUMABLE = frozenset({UpperStatus.MAX_STEPS, UpperStatus.BUDGET, UpperStatus.EARLY_STOP, UpperStatus.INTERRUPTED})
"""Statuses given from outside the method: a run that ended with one of them can go on."""


_STARVED = frozenset({UpperStatus.RUNNING, UpperStatus.SMALL_DECREASE, UpperStatus.SMALL_STEP, UpperStatus.NO_PROGRESS})
"""Statuses that say nothing once the budget is spent: more work might have led on."""


class Oracle(Protocol):
    """What an upper-level method may ask: F to a requested accuracy. Implemented by ``ReducedObjective``."""

    @property
    def parameters(self) -> ParameterVector: ...

    @property
    def cost(self) -> Cost: ...

    @property
    def samples(self) -> int:
        """Number of samples whose losses F averages or sums."""
        ...

    def subset(self, index: Tensor, unbiased: bool = False) -> Oracle:
        """F of the samples ``index`` (M,) only; ``unbiased`` weights sums so that random subsets have the mean F."""
        ...

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F(theta) with |F~ - F| <= accuracy."""
        ...

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F and its gradient, the latter with 2-norm error <= accuracy."""
        ...

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """F, gradient and Gauss-Newton matrix from the Jacobian of the reconstructions (few parameters)."""
        ...

    def penalty_terms(self, theta: Tensor) -> PenaltyTerms:
        """The exact part of F: value, gradient and positive semidefinite Hessian of the penalty, without a solve."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Where the solves of the latest evaluation stopped: a tree of tensors."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Let the next solves start there."""
        ...

    def residual_vectors(self, snapshot: dict[str, Any]) -> Tensor | None:
        """(N, K) vectors at a snapshot whose squared norms add up to F - penalty, up to one common factor.

        None where the oracle knows no such vectors.
        """
        ...


@dataclass(frozen=True)
class UpperState:
    """Progress of a run; methods derive from it.

    Attributes:
        best: the evaluation with the smallest certified value seen (the upper end of its interval where that is known);
            its theta is the answer.
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


S = TypeVar("S", bound=UpperState)


class UpperOptimizer(ABC, Generic[S]):
    """A method for min F(theta) in a box: frozen hyperparameters, ``init`` and ``step``; sees only an :class:`Oracle`.

    What an author must write: ``state_type``, ``init`` and ``step``. What an author may write: ``release``.
    ``init`` and ``step`` return a ``state_type``: a frozen dataclass derived from :class:`UpperState`, whose every field
    is a tensor, a number, a string, an :class:`UpperStatus`, an :class:`Evaluation`, None, or tuples, lists and
    dictionaries of those, so that :func:`state_to_tree` can store it. A state and an oracle determine the next state.
    """

    state_type: ClassVar[type[UpperState]]

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
    def init(self, objective: Oracle, theta: Tensor) -> S:
        """State at the start theta (P,), a point of the box; evaluates there."""

    @abstractmethod
    def step(self, objective: Oracle, state: S) -> S:
        """One upper-level step. A state whose method has nothing left to do is returned with its final status."""

    def release(self) -> None:
        """Give back what is held between two steps (threads, caches); a later ``step`` works as if nothing happened."""


def run(
    optimizer: UpperOptimizer[S],
    objective: Oracle,
    theta: Tensor | None = None,
    max_steps: int = 100,
    callback: Callable[[S], UpperStatus | None] | None = None,
    state: S | None = None,
    max_gradients: int | None = None,
) -> S:
    """Run ``optimizer`` until it stops, ``callback`` returns a status, or ``max_steps`` steps are taken.

    A KeyboardInterrupt inside a step or a callback ends the run in order: the last complete state is returned with
    status INTERRUPTED. During ``init`` there is no state yet, so there it propagates.

    Args:
        optimizer: the method.
        objective: the oracle.
        theta: (P,) start in coordinates, projected into the box; the objective's current parameters if None.
        max_steps: limit on ``state.iteration``, steps before a resume included.
        callback: called with the state after ``init`` and after every step; a returned status ends the run with it.
        state: continue from this state instead of calling ``init``; a status given from outside the method
            (``RESUMABLE``) is lifted.
        max_gradients: BUDGET when ``objective.cost`` counts so many lower-level gradients. Looked at before every step; what
            the last step left open for want of accuracy ends with BUDGET too. To cut off the solves inside a step give the
            same number to :class:`bilearn.reduced_objective.ReducedObjective`.

    Returns:
        The last state; ``state.best.theta`` is the answer and ``state.status`` the reason.

    Raises:
        ValueError: if ``theta`` has the wrong length or is not finite.
    """
    reported = state is not None
    if state is None:
        state = optimizer.init(objective, _start(objective.parameters, theta))
    elif state.status in RESUMABLE:
        state = replace(state, status=UpperStatus.RUNNING)
    limit = math.inf if max_gradients is None else max_gradients
    try:
        while True:
            if objective.cost.gradients >= limit and state.status in _STARVED:
                state = replace(state, status=UpperStatus.BUDGET)
            verdict = callback(state) if callback is not None and not reported else None
            reported = False
            if state.status is not UpperStatus.RUNNING:
                return state
            if verdict is not None:
                return replace(state, status=verdict)
            if state.iteration >= max_steps:
                return replace(state, status=UpperStatus.MAX_STEPS)
            state = optimizer.step(objective, state)
    except KeyboardInterrupt:
        return replace(state, status=UpperStatus.INTERRUPTED)
    finally:
        optimizer.release()


def _start(parameters: ParameterVector, theta: Tensor | None) -> Tensor:
    if theta is None:
        return parameters.project(parameters.get())
    if theta.shape != parameters.lower.shape:
        raise ValueError(f"theta: found shape {tuple(theta.shape)}, expected {tuple(parameters.lower.shape)}")
    if not bool(theta.isfinite().all()):
        raise ValueError("theta: found NaN or infinity in the start, expected finite coordinates")
    return parameters.project(theta.detach().to(parameters.lower))


def state_to_tree(state: UpperState) -> dict[str, Any]:
    """The state as dictionaries, lists and tuples of tensors, numbers, strings and None, for ``torch.save``.

    Tensors are not copied; the tree reads back bit for bit through ``torch.load(..., weights_only=True)``.

    Raises:
        TypeError: if a field holds something else; the message names it.
    """
    return {f.name: _encode(getattr(state, f.name), f"{type(state).__name__}.{f.name}") for f in fields(state)}


def state_from_tree(optimizer: UpperOptimizer[S], tree: dict[str, Any]) -> S:
    """The state that :func:`state_to_tree` stored, for the same kind of optimizer.

    Raises:
        ValueError: if the fields are not those of the optimizer's state.
    """
    expected = {f.name for f in fields(optimizer.state_type)}
    if set(tree) != expected:
        raise ValueError(
            f"state: found fields {sorted(tree)}, expected {sorted(expected)} of a {optimizer.name} state; "
            "the checkpoint was written by another method or version"
        )
    state: Any = optimizer.state_type(**{k: _decode(v) for k, v in tree.items()})
    return state


_TAG = "__kind__"
_RECORDS: dict[str, type[Any]] = {"Evaluation": Evaluation, "Cost": Cost}


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, Tensor | bool | int | float | str):
        return value
    if isinstance(value, UpperStatus):
        return {_TAG: "UpperStatus", "name": value.name}
    if isinstance(value, tuple | list):
        return type(value)(_encode(v, f"{where}[{i}]") for i, v in enumerate(value))
    if isinstance(value, dict):
        return {k: _encode(v, f"{where}[{k!r}]") for k, v in value.items()}
    kind = type(value).__name__
    if _RECORDS.get(kind) is type(value):
        return {_TAG: kind} | {f.name: _encode(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value)}
    raise TypeError(f"{where}: found a {kind}, expected tensors, numbers, strings, statuses, evaluations or None")


def _decode(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_decode(v) for v in value)
    if isinstance(value, dict):
        content = {k: _decode(v) for k, v in value.items() if k != _TAG}
        kind = value.get(_TAG)
        if kind == "UpperStatus":
            return UpperStatus[content["name"]]
        return content if kind is None else _RECORDS[kind](**content)
    return value
