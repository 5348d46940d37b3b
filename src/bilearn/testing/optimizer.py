"""``check_optimizer``: an upper-level method on an objective whose optimum is known."""

from __future__ import annotations

import io
from itertools import pairwise
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.penalties import PenaltyTerms
from bilearn.solution import Cost
from bilearn.testing._expect import holds, unchanged
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus, run, state_from_tree, state_to_tree


class WatchedOracle:
    """Passes requests on to an oracle and refuses a theta outside the box.

    Args:
        objective: the oracle.

    Attributes:
        requests: every (kind, theta, accuracy) asked for, in order.
    """

    def __init__(self, objective: Oracle) -> None:
        self._objective = objective
        self.requests: list[tuple[str, Tensor, float | None]] = []

    @property
    def parameters(self) -> ParameterVector:
        """Those of the oracle."""
        return self._objective.parameters

    @property
    def cost(self) -> Cost:
        """That of the oracle."""
        return self._objective.cost

    @property
    def samples(self) -> int:
        """That of the oracle."""
        return self._objective.samples

    def subset(self, index: Tensor, unbiased: bool = False) -> WatchedOracle:
        """See :class:`Oracle`; the list of requests is shared."""
        part = WatchedOracle(self._objective.subset(index, unbiased))
        part.requests = self.requests
        return part

    def _watch(self, kind: str, theta: Tensor, accuracy: float | None) -> None:
        box = self.parameters
        outside = torch.maximum(box.lower - theta, theta - box.upper)
        holds(
            f"theta: asked for {kind} at a point {float(outside.max()):.3g} outside the box", float(outside.max()) <= 0
        )
        holds(f"accuracy: found {accuracy}, expected a positive number or None", accuracy is None or accuracy > 0)
        self.requests.append((kind, theta.detach().clone(), accuracy))

    def value(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """See :class:`Oracle`."""
        self._watch("value", theta, accuracy)
        return self._objective.value(theta, accuracy)

    def hypergradient(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """See :class:`Oracle`."""
        self._watch("hypergradient", theta, accuracy)
        return self._objective.hypergradient(theta, accuracy)

    def gauss_newton(self, theta: Tensor, accuracy: float | None = None) -> Evaluation:
        """See :class:`Oracle`."""
        self._watch("gauss_newton", theta, accuracy)
        return self._objective.gauss_newton(theta, accuracy)

    def penalty_terms(self, theta: Tensor) -> PenaltyTerms:
        """See :class:`Oracle`."""
        return self._objective.penalty_terms(theta)

    def snapshot(self) -> dict[str, Any]:
        """See :class:`Oracle`."""
        return self._objective.snapshot()

    def residual_vectors(self, snapshot: dict[str, Any]) -> Tensor | None:
        return self._objective.residual_vectors(snapshot)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """See :class:`Oracle`."""
        self._objective.restore(snapshot)


def check_optimizer(
    optimizer: UpperOptimizer[Any],
    objective: Oracle,
    theta: Tensor,
    optimum: float,
    rtol: float = 1e-4,
    max_steps: int = 100,
) -> None:
    """Check an upper-level method of your own on an objective with a known optimal value.

    Call it in your tests; the problems of ``bilearn.problems`` know their optima::

        problem = bilearn.problems.one_parameter()
        check_optimizer(MyOptimizer(), problem.objective, problem.start, problem.optimum)

    1. Every theta it asks for lies in the box, every accuracy is positive, and the start is not changed.
    2. The best value (the upper end of its interval where that is known) never increases from step to step, iterations
       and evaluations are counted, and the run ends by itself or at ``max_steps`` with the status that says so.
    3. The best value ends within ``rtol`` of the optimum, and not below it by more than its own bound.
    4. A state survives ``state_to_tree``, ``torch.save``, ``torch.load(weights_only=True)`` and ``state_from_tree``.

    Args:
        optimizer: the method.
        objective: the oracle, float64.
        theta: (P,) start in coordinates.
        optimum: the best value of F over the box.
        rtol: how close to it the method must come, relative to the optimum.
        max_steps: step limit.

    Raises:
        AssertionError: something does not hold; the message names it and by how much.
    """
    name = optimizer.name
    start = theta.detach().clone()
    watched = WatchedOracle(objective)
    states: list[UpperState] = []
    final = run(optimizer, watched, theta, max_steps, callback=states.append)
    unchanged(f"{name}: theta, the start,", theta, start)
    holds(f"{name}: still running after run()", final.status is not UpperStatus.RUNNING)
    best = [s.best.upper if isfinite(s.best.upper) else s.best.value for s in states]
    for i, (before, after) in enumerate(pairwise(best)):
        holds(
            f"{name}: the best value (certified upper end) increased from {before:.10g} to {after:.10g} in step {i + 1}",
            after <= before + 1e-12 * abs(before),
        )
    holds(f"{name}: {final.iteration} iterations counted, limit {max_steps}", 0 <= final.iteration <= max_steps)
    holds(
        f"{name}: {final.evaluations} evaluations counted, the oracle saw {len(watched.requests)}",
        final.evaluations == len(watched.requests),
    )
    box = objective.parameters
    holds(
        f"{name}: the answer lies outside the box",
        bool(((final.best.theta >= box.lower) & (final.best.theta <= box.upper)).all()),
    )
    gap, scale = final.best.value - optimum, abs(optimum)
    holds(
        f"{name}: ended {gap / scale:.3g} relative above the optimum ({final.status.value}), allowed {rtol:g}",
        gap <= rtol * scale,
    )
    holds(
        f"{name}: upper end of the best value, {final.best.upper:.10g}, lies below the optimum {optimum:.10g}",
        final.best.upper >= optimum - 1e-9 * scale,
    )
    _check_tree(optimizer, final)


def _check_tree(optimizer: UpperOptimizer[Any], state: UpperState) -> None:
    file = io.BytesIO()
    torch.save(state_to_tree(state), file)
    file.seek(0)
    again = state_from_tree(optimizer, torch.load(file, weights_only=True))
    unchanged(f"{optimizer.name}: best theta after storing and reading the state", again.best.theta, state.best.theta)
    same = (again.status, again.iteration, again.evaluations, again.best.value) == (
        state.status,
        state.iteration,
        state.evaluations,
        state.best.value,
    )
    holds(f"{optimizer.name}: status, counts or value differ after storing and reading the state", same)
