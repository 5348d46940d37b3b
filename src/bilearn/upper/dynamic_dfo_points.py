"""The points of :class:`bilearn.upper.dynamic_dfo.DynamicDFO`, each with its value, its interval and its solver state."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.penalties import PenaltyTerms
from bilearn.upper.accuracy import better, finite
from bilearn.upper.gauss_newton_model import double
from bilearn.upper.optimizer import Oracle
from bilearn.upper.warp import coordinate_rates

_FRACTION = 0.7
_LEAST = 0.1


class Points:
    """Evaluated points, the first of which is the current iterate; lives during one upper-level step.

    Every request first hands the oracle the solver state of the point itself (:meth:`refine`) or of the nearest one
    (:meth:`add`), and keeps a copy of where the solves stopped.

    Args:
        objective: the oracle.
        evaluations: one evaluation for each point.
        starts: the oracle's snapshot after each of them.
        best: the evaluation with the smallest certified value so far.

    Attributes:
        requests: oracle calls made.
    """

    def __init__(
        self,
        objective: Oracle,
        evaluations: tuple[Evaluation, ...],
        starts: tuple[dict[str, Any], ...],
        best: Evaluation | None = None,
    ) -> None:
        self.objective = objective
        self.evaluations, self._starts = list(evaluations), list(starts)
        self.requests = 0
        self._penalties: dict[tuple[float, ...], PenaltyTerms] = {}
        self._best = best
        self.unit = units(objective, evaluations[0].theta) if evaluations else torch.empty(0)

    @property
    def current(self) -> Evaluation:
        """Evaluation at the current iterate."""
        return self.evaluations[0]

    @property
    def best(self) -> Evaluation:
        """The evaluation with the smallest upper end ever seen."""
        return self.current if self._best is None else self._best

    @property
    def starts(self) -> tuple[dict[str, Any], ...]:
        """Snapshots, for the next step."""
        return tuple(self._starts)

    def nodes(self) -> Tensor:
        """(m, P) displacements from the current iterate in units of the trust region, float64 on the CPU."""
        base = double(self.current.theta)
        return torch.stack([(double(e.theta) - base) / self.unit for e in self.evaluations])

    def box(self, radius: float) -> tuple[Tensor, Tensor]:
        """Intersection of the box with the trust region of a radius around the current iterate, in its units."""
        parameters, base = self.objective.parameters, double(self.current.theta)
        low = ((double(parameters.lower) - base) / self.unit).clamp(min=-radius)
        high = ((double(parameters.upper) - base) / self.unit).clamp(max=radius)
        return low.clamp(max=0.0), high.clamp(min=0.0)

    def interior(self, radius: float) -> tuple[Tensor, Tensor]:
        """The part of :meth:`box` that goes at most seven tenths of the way to a bound, or a tenth of the radius.

        For plain coordinates only, see :func:`units`. A weight that shrinks from 0.1 to 0.03 to 0.01 changes F as
        much each time, so that a step to its bound at once would be far outside of what a linear model describes.
        """
        low, high = self.box(radius)
        room_low, room_high = self.box(math.inf)
        plain = coordinate_rates(self.objective.parameters, self.current.theta) == 0
        short = torch.full_like(low, _LEAST * radius)
        return (
            torch.where(plain, torch.maximum(low, torch.minimum(_FRACTION * room_low, -short)), low),
            torch.where(plain, torch.minimum(high, torch.maximum(_FRACTION * room_high, short)), high),
        )

    def at(self, move: Tensor) -> Tensor:
        """theta of a displacement, inside the box."""
        base = self.current.theta
        return self.objective.parameters.project((double(base) + self.unit * move).to(base))

    def add(self, theta: Tensor, accuracy: float) -> int:
        """Evaluate a new point from the solver state of the nearest one; its index."""
        if self.evaluations:
            distance = [float(((double(theta) - double(e.theta)) / self.unit).norm()) for e in self.evaluations]
            self.objective.restore(self._starts[distance.index(min(distance))])
        else:
            self.unit = units(self.objective, theta)
        self.evaluations.append(self._ask(theta, accuracy))
        self._starts.append(self.objective.snapshot())
        return len(self.evaluations) - 1

    def refine(self, index: int, accuracy: float) -> bool:
        """Ask for a value again where its solves stopped; False if the accuracy was missed by a factor of two."""
        before = self.evaluations[index]
        self.objective.restore(self._starts[index])
        after = self._ask(before.theta, accuracy)
        if not (finite(after) and after.bound < before.bound):
            return False
        self.evaluations[index] = after
        self._starts[index] = self.objective.snapshot()
        return after.bound <= 2.0 * accuracy

    def residuals(self, index: int) -> tuple[Tensor, Tensor]:
        """Residual vectors (N, K) of a point, |r|^2 = F - penalty, and bounds (N,) on their errors; float64 on the CPU.

        The oracle's vectors where it has some, else its residuals as vectors of length one.
        """
        evaluation = self.evaluations[index]
        assert evaluation.residuals is not None
        vectors = self.objective.residual_vectors(self._starts[index])
        found = double(evaluation.residuals[:, None] if vectors is None else vectors)
        total = float(found.square().sum())
        scale = math.sqrt(max(evaluation.value - evaluation.penalty, 0.0) / total) if total > 0 else 1.0
        if evaluation.residual_bounds is None:
            return scale * found, torch.zeros(len(found), dtype=torch.float64)
        bounds = double(evaluation.residual_bounds)
        return scale * found, scale * torch.where(bounds.isfinite(), bounds, 0.0)

    def penalty(self, move: Tensor) -> PenaltyTerms:
        """Exact terms of the penalty at a displacement, computed once for each theta."""
        theta = self.at(move)
        key = tuple(theta.tolist())
        if key not in self._penalties:
            self._penalties[key] = self.objective.penalty_terms(theta)
        return self._penalties[key]

    def drop(self, index: int) -> None:
        """Forget a point."""
        del self.evaluations[index], self._starts[index]

    def promote(self, index: int) -> None:
        """Make a point the current iterate."""
        self.evaluations.insert(0, self.evaluations.pop(index))
        self._starts.insert(0, self._starts.pop(index))

    def _ask(self, theta: Tensor, accuracy: float) -> Evaluation:
        self.requests += 1
        found = self.objective.value(theta, max(accuracy, 1e-300))
        self._best = found if self._best is None else better(self._best, found)
        return found


def units(objective: Oracle, theta: Tensor) -> Tensor:
    """(P,) lengths that the trust radius multiplies: a factor of ten or the like, or the width of a box.

    A coordinate that is a logarithm or logit has unit 1; one that is the number itself has a fifth of its box as
    unit, or 1 where the box is unbounded. No unit is longer than the box.
    """
    parameters = objective.parameters
    width = double(parameters.upper) - double(parameters.lower)
    plain = coordinate_rates(parameters, theta) == 0
    unit = torch.where(plain & width.isfinite(), 0.2 * width, 1.0)
    return torch.minimum(unit, width)


def doubt(evaluation: Evaluation) -> float:
    """Bound on the error of a value; zero where the oracle knows none, whose numbers are taken as exact."""
    return evaluation.bound if math.isfinite(evaluation.bound) else 0.0
