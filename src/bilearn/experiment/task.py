"""What one command can learn: an objective, a method, and what to record about the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bilearn.experiment.load import TaskConfig
from bilearn.reduced_objective import ReducedObjective
from bilearn.run_directory import RunDirectory
from bilearn.upper import UpperOptimizer


@dataclass(frozen=True)
class Outcome:
    """What a task says about its answer, for ``summary.json``.

    Attributes:
        samples: what the figures are means over: "images" or "samples".
        metrics: split -> stage -> metric -> {"mean", "std"}.
        warnings: sentences the reader must see.
    """

    samples: str
    metrics: dict[str, dict[str, dict[str, dict[str, float]]]]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LearningTask(ABC):
    """A configuration and everything built from it.

    Attributes:
        config: the configuration.
        objective: the training objective as the upper-level method sees it.
        exact: the training objective to any accuracy; ``objective`` itself unless that has a fixed one.
        validation: the validation objective over the same energy, or None.
        optimizer: the upper-level method.
    """

    config: TaskConfig
    objective: ReducedObjective
    exact: ReducedObjective
    validation: ReducedObjective | None
    optimizer: UpperOptimizer[Any]

    @abstractmethod
    def solver_reason(self) -> tuple[str, str]:
        """Name of the lower-level method, and why it was picked."""

    @abstractmethod
    def conclude(self, directory: RunDirectory, start: Tensor, theta: Tensor) -> Outcome:
        """Write model, figures and pictures of the answer; leaves the energy at ``theta``.

        Args:
            directory: the run directory.
            start: (P,) coordinates at the start.
            theta: (P,) coordinates of the answer.
        """
