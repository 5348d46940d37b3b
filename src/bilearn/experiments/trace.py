"""The record of one run of an upper-level method: every evaluation, every step, and exact values afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.reduced_objective import ReducedObjective
from bilearn.report.formatting import gradient_equivalents
from bilearn.upper import UpperOptimizer, UpperState, UpperStatus, run


class Exact:
    """Exact values of an objective: every point is solved once, to an accuracy that plays no role, and remembered.

    Args:
        objective: whose values; its warm starts and work count change, so give it one of its own.
        relative: accuracy asked of a value, relative to itself; the evaluation says what was got.
    """

    def __init__(self, objective: ReducedObjective, relative: float = 1e-10) -> None:
        self._objective = objective
        self._relative = relative
        self._known: dict[tuple[float, ...], Evaluation] = {}

    def __call__(self, theta: Tensor) -> Evaluation:
        """The evaluation at theta (P,); its interval says how exact it is."""
        key = tuple(theta.tolist())
        if key not in self._known:
            rough = self._objective.value(theta)
            self._known[key] = self._objective.value(theta, max(self._relative * abs(rough.value), 1e-300))
        return self._known[key]


def trace(
    optimizer: UpperOptimizer[Any],
    objective: ReducedObjective,
    start: Tensor,
    exact: Callable[[Tensor], Evaluation] | None = None,
    max_steps: int = 200,
    max_evaluations: int | None = None,
    max_work: float | None = None,
    keep: Callable[[Evaluation], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Run a method and record what it asked, what it got, and where it was.

    Work is counted in lower-level gradients summed over samples (a value counts half, a product one); CPU seconds exclude
    the exact values.

    Args:
        optimizer: the method.
        objective: a fresh one; its observer is replaced.
        start: (P,) coordinates.
        exact: gives the exact objective at the best parameters after every step; left out if None.
        max_steps, max_evaluations, max_work: limits; those on evaluations and work end the run after a step.
        keep: more entries for the record of an evaluation, such as a reconstruction.

    Returns:
        ``method``, ``status``; ``evaluations``, one row for each: theta, value, lower, upper, certified, kind ("value" or
        "gradient"), asked, got (for the kind), lower_error, work, seconds, message; ``steps``, one row for each: evaluations,
        work, seconds, theta (best), value, lower, upper, exact, exact_bound; ``cost``, all work by kind.

    Raises:
        KeyboardInterrupt: if the run was interrupted; an incomplete run is not a result.
    """
    rows: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    begin, outside = time.process_time(), 0.0

    def observe(found: Evaluation) -> None:
        row = _evaluation_row(found)
        row["work"] = gradient_equivalents(objective.cost.as_dict())
        row["seconds"] = time.process_time() - begin - outside
        rows.append(row | dict(keep(found) if keep is not None else {}))

    def watch(state: UpperState) -> UpperStatus | None:
        nonlocal outside
        row: dict[str, Any] = {
            "evaluations": len(rows),
            "work": gradient_equivalents(objective.cost.as_dict()),
            "seconds": time.process_time() - begin - outside,
            "theta": state.best.theta,
            "value": state.best.value,
            "lower": state.best.lower,
            "upper": state.best.upper,
        }
        if exact is not None:
            away = time.process_time()
            precise = exact(state.best.theta)
            outside += time.process_time() - away
            row |= {"exact": precise.value, "exact_bound": precise.bound}
        steps.append(row)
        spent = (max_evaluations is not None and len(rows) >= max_evaluations) or (
            max_work is not None and row["work"] >= max_work
        )
        return UpperStatus.BUDGET if spent else None

    objective.observer = observe
    final = run(optimizer, objective, start, max_steps, watch)
    if final.status is UpperStatus.INTERRUPTED:
        raise KeyboardInterrupt
    return {
        "method": optimizer.name,
        "status": final.status.value,
        "evaluations": rows,
        "steps": steps,
        "cost": objective.cost.as_dict(),
    }


def _evaluation_row(found: Evaluation) -> dict[str, Any]:
    gradient = found.gradient is not None
    return {
        "theta": found.theta,
        "value": found.value,
        "lower": found.lower,
        "upper": found.upper,
        "certified": found.certified,
        "kind": "gradient" if gradient else "value",
        "asked": found.accuracy,
        "got": found.gradient_bound if gradient else found.bound,
        "lower_error": found.lower_error,
        "message": found.message,
    }
