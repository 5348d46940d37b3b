"""Grid and random search: baselines that ask for values only."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.parameters import ParameterVector
from bilearn.upper.accuracy import better, finite
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus

MAX_POINTS = 1_000_000


def check_box(parameters: ParameterVector, method: str) -> None:
    """Refuse a box without finite bounds.

    Raises:
        ValueError: if a coordinate has an infinite bound; the message names the coordinates.
    """
    bounded = parameters.lower.isfinite() & parameters.upper.isfinite()
    names = [n for n, b in zip(parameters.names(), bounded.tolist(), strict=True) if not b]
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"{method}: found unbounded coordinates ({shown}), expected finite bounds to search between; "
            "give these parameters bounds or use LBFGSB"
        )


class Search(UpperOptimizer[UpperState]):
    """Evaluates F at planned points of the box, one a step, after the start itself; EXHAUSTED after the last.

    What an author must write: ``accuracy``, ``check``, ``total`` and ``point``.
    """

    accuracy: float | None
    state_type = UpperState

    def check(self, parameters: ParameterVector) -> None:
        """Raise a ValueError if these parameters cannot be searched."""
        check_box(parameters, self.name)

    @abstractmethod
    def total(self, parameters: ParameterVector) -> int:
        """Number of planned points, without the start."""

    @abstractmethod
    def point(self, parameters: ParameterVector, index: int, state: UpperState) -> Tensor:
        """(P,) planned point number ``index``."""

    def init(self, objective: Oracle, theta: Tensor) -> UpperState:
        self.check(objective.parameters)
        start = objective.value(theta, self.accuracy)
        status = UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE
        return UpperState(best=start, current=start, status=status)

    def step(self, objective: Oracle, state: UpperState) -> UpperState:
        parameters = objective.parameters
        total = self.total(parameters)
        if state.iteration >= total:
            return replace(state, status=UpperStatus.EXHAUSTED)
        point = parameters.project(self.point(parameters, state.iteration, state).to(parameters.lower))
        trial = objective.value(point, self.accuracy)
        iteration = state.iteration + 1
        return replace(
            state,
            best=better(state.best, trial),
            current=trial,
            iteration=iteration,
            evaluations=state.evaluations + 1,
            status=UpperStatus.EXHAUSTED if iteration == total else UpperStatus.RUNNING,
        )


@dataclass(frozen=True)
class GridSearch(Search):
    """Values on a regular grid of the box in coordinates, bounds included (the midpoint where an axis has one point).

    Conditions: where F has Lipschitz constant L on the box, the smallest value exceeds the minimum by at most L times half
    the diagonal of a cell, plus the bounds of the values. The number of points grows exponentially with the parameters.

    Args:
        points_per_axis: one number for all axes or one for each coordinate.
        accuracy: value accuracy to ask for; None leaves it to the oracle.

    Raises:
        ValueError: if a number is not positive, the box is unbounded, the lengths do not fit, or the grid has more than a
            million points.
    """

    points_per_axis: int | tuple[int, ...] = 5
    accuracy: float | None = None

    def __post_init__(self) -> None:
        counts = self.points_per_axis if isinstance(self.points_per_axis, tuple) else (self.points_per_axis,)
        if any(n < 1 for n in counts):
            raise ValueError(f"GridSearch.points_per_axis: found {self.points_per_axis}, expected positive numbers")

    def check(self, parameters: ParameterVector) -> None:
        super().check(parameters)
        counts, size = self._counts(parameters), len(parameters)
        if len(counts) != size:
            raise ValueError(f"GridSearch.points_per_axis: found {len(counts)} numbers, expected 1 or {size}")
        if sum(math.log(n) for n in counts) > math.log(MAX_POINTS):
            raise ValueError(
                f"GridSearch: found {size} axes with up to {max(counts)} points each, expected a grid of at most "
                f"{MAX_POINTS} points; lower points_per_axis or use RandomSearch"
            )

    def total(self, parameters: ParameterVector) -> int:
        return math.prod(self._counts(parameters))

    def point(self, parameters: ParameterVector, index: int, state: UpperState) -> Tensor:
        counts = self._counts(parameters)
        place = torch.empty(len(counts), dtype=torch.float64)
        for axis in reversed(range(len(counts))):
            index, digit = divmod(index, counts[axis])
            place[axis] = digit / (counts[axis] - 1) if counts[axis] > 1 else 0.5
        return _between(parameters, place)

    def _counts(self, parameters: ParameterVector) -> tuple[int, ...]:
        counts = self.points_per_axis
        return counts if isinstance(counts, tuple) else (counts,) * len(parameters)


@dataclass(frozen=True)
class RandomSearch(Search):
    """Values at points drawn uniformly in the box of coordinates.

    Conditions: where F is continuous, the smallest value tends to the minimum over the box almost surely as ``count`` grows.

    References: Solis, Wets, Minimization by random search techniques, Math. Oper. Res. 6 (1981); Bergstra, Bengio, Random
    search for hyper-parameter optimization, JMLR 13 (2012).

    Args:
        count: number of points.
        seed: seed of the points; the same seed gives the same points.
        accuracy: value accuracy to ask for; None leaves it to the oracle.

    Raises:
        ValueError: if ``count`` is not positive, or the box is unbounded.
    """

    count: int = 50
    seed: int = 0
    accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"RandomSearch.count: found {self.count}, expected a positive number")

    def total(self, parameters: ParameterVector) -> int:
        return self.count

    def point(self, parameters: ParameterVector, index: int, state: UpperState) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        draws = torch.rand(index + 1, len(parameters), dtype=torch.float64, generator=generator)
        return _between(parameters, draws[index])


def _between(parameters: ParameterVector, place: Tensor) -> Tensor:
    """The point at the fractions ``place`` (P,) of the box."""
    lower, upper = (t.to("cpu", torch.float64) for t in (parameters.lower, parameters.upper))
    return lower + place * (upper - lower)
