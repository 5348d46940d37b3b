"""What a lower-level method is: frozen hyperparameters, ``init`` and ``step``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn.problem import LowerProblem
from bilearn.solution import Tolerance


class LowerSolver(ABC):
    """A method for min_x h(x): frozen hyperparameters and two functions; the iteration's state is a separate value.

    A state is a frozen dataclass of per-sample tensors (axis 0 counts samples; zero-dimensional entries are shared) with
    at least two fields: ``x``, the point that would be returned now, and ``gradient``, the gradient *at that point*, which
    the method has computed anyway. An author must write ``init`` and ``step`` and may write ``check``, ``stalled`` and
    ``prepare``.
    """

    #: Steps between two looks at the gradient norm (a look synchronizes with the device).
    check_every: int = 5
    #: Default step limit.
    max_steps: int = 10_000

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    def check(self, problem: LowerProblem) -> None:  # noqa: B027
        """Raise ValueError, naming what is missing, if this method cannot run on this problem."""

    @abstractmethod
    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        """State at the start x0 (B, ...), which is not changed; evaluates the gradient there."""

    @abstractmethod
    def step(self, problem: LowerProblem, state: Any) -> Any:
        """Next state; the given one keeps its tensors. Takes as few gradients as the method allows."""

    def stalled(self, state: Any) -> Tensor | None:
        """Samples (B,) that can make no further progress, or None where the method never knows."""
        return None

    def prepare(self, problem: LowerProblem, x0: Tensor, tolerance: Tolerance, max_steps: int) -> Prepared:
        """What to run, and from where, for this tolerance and step limit; this method from x0 (B, ...) itself by default.

        Each sample must be treated as if it were alone, and work be counted in ``problem.cost``.
        """
        return Prepared(self, x0, None, max_steps)


@dataclass(frozen=True)
class Prepared:
    """How ``minimize`` is to go on.

    Attributes:
        method: the method whose ``init`` and ``step`` run.
        x: (B, ...) where it starts.
        steps: (B,) steps taken so far; None if none were.
        max_steps: how many more it may take.
    """

    method: LowerSolver
    x: Tensor
    steps: Tensor | None
    max_steps: int


def require_smoothness(method: LowerSolver, problem: LowerProblem) -> None:
    """Raise ValueError unless the Lipschitz constant L of the gradient is known and finite."""
    smoothness = problem.curvature.smoothness
    if not smoothness.known or not bool(torch.isfinite(torch.as_tensor(smoothness.value)).all()):
        raise ValueError(
            f"{method.name}: {type(problem.energy).__name__}.curvature(y).smoothness is unknown, expected a Lipschitz "
            "constant of the gradient; declare it in `curvature`, or use LBFGS() or NewtonCG()"
        )


def check_positive(method: LowerSolver, **values: float) -> None:
    """Raise ValueError if one of the named hyperparameters is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{method.name}: {name}: found {value}, expected a positive number")
