"""What the adaptors of derivative-free packages share: one evaluation a step, a log of answers, a replay of it."""

from __future__ import annotations

import importlib
import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.upper.accuracy import better, finite
from bilearn.upper.blocking_session import Accepted, BlockingSession, Ended, SessionSlot, Vector, Work
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

Log = tuple[tuple[Tensor, Tensor], ...]
"""Every point (P,) the package asked about, and what it was told there, (m,) or (); float64 on the CPU."""

_UNBOUNDED = 1e20
"""What DFO-LS and Py-BOBYQA take for an infinite bound."""

_SUCCESS, _MAXFUN = 0, 1


@dataclass(frozen=True)
class ForeignState(UpperState):
    """Adds to :class:`UpperState` what the package was told, from which its inner state is rebuilt.

    Attributes:
        log: every answer given, in order.
    """

    log: Log = ()


@dataclass(frozen=True)
class ForeignDFO(UpperOptimizer[ForeignState]):
    """Base of the adaptors: a package that minimizes a black box runs in a thread, each step is one of its evaluations.

    1. The start is evaluated to the oracle's own accuracy, every later point to ``value_accuracy`` times the smallest
       absolute value seen. The package takes the numbers as exact.
    2. A non-finite point is reported as twice the largest answer so far.
    3. The run ends when the package ends: SMALL_STEP at its final trust-region radius, EXHAUSTED at ``max_evaluations``,
       NO_PROGRESS where it gives up.

    The state keeps the log of the answers; a resumed run replays it without asking the oracle, and continues bit for bit.
    Boxes are not rescaled: coordinates are logarithms already.

    What an author must write: ``package``, ``told`` and ``solve_options``.

    Args:
        initial_radius: first trust-region radius in coordinates; shortened to fit twice into the box.
        final_radius: radius at which the package stops.
        value_accuracy: accuracy of values relative to the smallest one seen; None leaves it to the oracle.
        max_evaluations: limit on evaluations.

    Raises:
        ImportError: if the package is not installed.
        ValueError: if a number is out of range.
    """

    initial_radius: float = 0.5
    final_radius: float = 1e-6
    value_accuracy: float | None = 1e-5
    max_evaluations: int = 500
    _slot: SessionSlot[Log] = field(default_factory=SessionSlot, init=False, repr=False, compare=False)

    state_type = ForeignState

    def __post_init__(self) -> None:
        if not 0.0 < self.final_radius < self.initial_radius:
            raise ValueError(
                f"{self.name}: found initial_radius={self.initial_radius}, final_radius={self.final_radius}, "
                "expected 0 < final_radius < initial_radius"
            )
        if self.value_accuracy is not None and not self.value_accuracy > 0:
            raise ValueError(
                f"{self.name}.value_accuracy: found {self.value_accuracy}, expected a positive number or None"
            )
        if self.max_evaluations < 1:
            raise ValueError(f"{self.name}.max_evaluations: found {self.max_evaluations}, expected a positive number")
        self._module()

    @property
    @abstractmethod
    def package(self) -> tuple[str, str]:
        """Name of the package on PyPI, and of its module."""

    @abstractmethod
    def told(self, evaluation: Evaluation) -> Tensor:
        """(m,) or () what the package is told about a finite evaluation, float64 on the CPU."""

    @abstractmethod
    def solve_options(self) -> dict[str, Any]:
        """Further arguments of the package's ``solve``."""

    def init(self, objective: Oracle, theta: Tensor) -> ForeignState:
        self.release()
        start = objective.value(theta, None)
        return ForeignState(
            best=start, current=start, status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE
        )

    def step(self, objective: Oracle, state: ForeignState) -> ForeignState:
        try:
            following = self._advance(objective, state, self._session(objective, state))
        except BaseException:
            self.release()
            raise
        self._slot.log = following.log
        return following

    def release(self) -> None:
        self._slot.clear()

    def _advance(self, objective: Oracle, state: ForeignState, session: BlockingSession) -> ForeignState:
        event = session.next()
        while isinstance(event, Accepted):
            event = session.next()
        if isinstance(event, Ended):
            return replace(state, status=event.outcome)
        theta = objective.parameters.project(torch.from_numpy(event.point).to(state.best.theta))
        accuracy = None if self.value_accuracy is None else self.value_accuracy * abs(state.best.value)
        trial = objective.value(theta, accuracy or None)
        answer = self.told(trial) if finite(trial) else _rise(state.log, self.told(state.best))
        session.answer(_plain(answer))
        return replace(
            state,
            best=better(state.best, trial),
            current=trial,
            iteration=state.iteration + 1,
            evaluations=state.evaluations + 1,
            log=(*state.log, (torch.from_numpy(event.point), answer)),
        )

    def _session(self, objective: Oracle, state: ForeignState) -> BlockingSession:
        """The waiting session that produced ``state``, or a new one that has replayed its log."""
        waiting = self._slot.waiting_for(state.log)
        if waiting is not None:
            return waiting
        self.release()
        start = state.log[0][0] if state.log else state.current.theta
        work = self._work(objective.parameters, start)
        self._slot.session = session = BlockingSession(work, self.package[1])
        log = ((point.numpy(), _plain(answer)) for point, answer in state.log)
        session.replay(log, 0, self.name, self.package[0])
        return session

    def _work(self, parameters: ParameterVector, start: Tensor) -> Work:
        lower, upper, x0 = (
            t.detach().to("cpu", torch.float64).numpy() for t in (parameters.lower, parameters.upper, start)
        )
        lower, upper = np.maximum(lower, -_UNBOUNDED), np.minimum(upper, _UNBOUNDED)
        radius = min(self.initial_radius, 0.5 * float((upper - lower).min()))
        arguments: dict[str, Any] = {
            "bounds": (lower, upper),
            "rhobeg": radius,
            "rhoend": min(self.final_radius, 0.5 * radius),
            "maxfun": self.max_evaluations,
            "do_logging": False,
            **self.solve_options(),
        }
        return partial(_solve, self._module(), np.clip(x0, lower, upper), arguments)

    def _module(self) -> ModuleType:
        name, module = self.package
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f"{self.name}: the package {name} (GPL) is not installed; install it with "
                "'pip install \"bilearn[dfo]\"', or use DynamicDFO"
            ) from error


def _solve(module: ModuleType, start: Vector, arguments: dict[str, Any], evaluate: Any, accept: Any) -> UpperStatus:
    """Run the package and name the reason it ended for."""
    outcome = module.solve(evaluate, start, **arguments)
    if outcome.flag == _SUCCESS:
        return UpperStatus.SMALL_STEP
    return UpperStatus.EXHAUSTED if outcome.flag == _MAXFUN else UpperStatus.NO_PROGRESS


def _plain(answer: Tensor) -> Vector | float:
    return answer.numpy() if answer.ndim else answer.item()


def _rise(log: Log, fallback: Tensor) -> Tensor:
    """An answer that makes the package turn back: twice the largest so far."""
    answers = [answer for _, answer in log] or [fallback]
    worst = max(answers, key=lambda answer: float(answer.abs().sum()))
    return 2.0 * worst.abs() + math.ulp(1.0)
