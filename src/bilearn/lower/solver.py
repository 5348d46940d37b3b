"""What a lower-level method is: frozen hyperparameters, ``init`` and ``step``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from bilearn.problem import LowerProblem


class LowerSolver(ABC):
    """A method for min_x h(x): frozen hyperparameters and two functions; the iteration's state is a separate value.

    A state is a frozen dataclass of per-sample tensors (axis 0 counts samples; zero-dimensional entries are shared) with
    at least two fields: ``x``, the point that would be returned now, and ``gradient``, the gradient *at that point*, which
    the method has computed anyway. An author must write ``init`` and ``step`` and may write ``check`` and ``finished``.
    """

    #: Steps between two looks at the gradient norm (a look synchronizes with the device).
    check_every: int = 5
    #: Default step limit.
    max_steps: int = 10_000

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    def check(self, problem: LowerProblem) -> None:
        """Raise ValueError, naming what is missing, if this method cannot run on this problem."""

    @abstractmethod
    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        """State at the start x0 (B, ...); evaluates the gradient there."""

    @abstractmethod
    def step(self, problem: LowerProblem, state: Any) -> Any:
        """Next state. Takes as few gradients as the method allows, and no host synchronization."""

    def stalled(self, state: Any) -> Tensor | None:
        """Samples (B,) that can make no further progress, or None where the method never knows."""
        return None
