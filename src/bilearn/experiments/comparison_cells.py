"""One cell of ``compare-methods``: one method on one problem from one start, and what it cost to get where."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.experiments.comparison_rows import AccuracyRow, LowerRow, MethodRow, ProblemRow, Setting
from bilearn.experiments.trace import Exact
from bilearn.parameters import ParameterVector
from bilearn.problems import KnownProblem
from bilearn.reduced_objective import ReducedObjective
from bilearn.report.formatting import gradient_equivalents
from bilearn.upper import UpperOptimizer, UpperState, UpperStatus, default_optimizer, run

COUNTED = ("gradients", "hessian_products", "direct_solves", "cross_products", "values")


def random_start(parameters: ParameterVector, published: Tensor, spread: float, index: int, seed: int) -> Tensor:
    """(P,) start number ``index``: the published one, then uniform within ``spread`` of it in every coordinate.

    Args:
        parameters: for the box, into which starts are projected.
        published: (P,) start number 0.
        spread: half width in coordinates.
        index: which start.
        seed: of all starts.
    """
    if index == 0:
        return parameters.project(published)
    generator = torch.Generator().manual_seed(1_000_003 * seed + index)
    shift = 2.0 * torch.rand(len(published), dtype=torch.float64, generator=generator) - 1.0
    return parameters.project(published + spread * shift.to(published))


def best_known(row: ProblemRow, folder: Path | None) -> dict[str, Any]:
    """Exact value where the default method ends from the published start, and where the record of the problem says.

    Returns:
        ``value``, ``bound`` and ``theta`` of the smaller one.
    """
    problem = row.make(folder)
    points = [run(_default(problem.objective.parameters), problem.objective, problem.start, max_steps=500).best.theta]
    if math.isfinite(problem.optimum):
        points.append(problem.minimizer)
    exact = Exact(row.make(folder).objective)
    found = min((exact(theta) for theta in points), key=lambda e: e.value)
    return {"value": found.value, "bound": found.bound, "theta": found.theta}


def _default(parameters: ParameterVector) -> UpperOptimizer[Any]:
    return default_optimizer(parameters, least_squares=True)


def run_cell(
    problem: KnownProblem,
    optimizer: UpperOptimizer[Any],
    view: Callable[[ReducedObjective], ReducedObjective],
    start: Tensor,
    exact: Callable[[Tensor], Evaluation],
    max_evaluations: int,
    stop_below: float = -math.inf,
) -> dict[str, Any]:
    """Run a method and record the exact objective at its incumbents against what they cost.

    CPU seconds and work leave out the exact values, which the method does not see.

    Args:
        problem: a fresh one.
        optimizer: the method.
        view: the objective that the method gets, from the problem's own.
        start: (P,) coordinates.
        exact: of the same problem, with an objective of its own.
        max_evaluations: the run ends after the step that reaches this.
        stop_below: the run ends when an incumbent is this good; minus infinity never ends it.

    Returns:
        ``exact``, ``evaluations``, ``work``, ``gradients``, ``products``, ``seconds``: lists, an entry for every incumbent
        that improved the exact objective; ``returned``, exact objective at the answer; ``theta``, the answer; ``status``;
        ``cost``, all work by kind; ``total_evaluations``, ``total_seconds``; ``honesty``, the largest |value - exact| in
        units of its certified bound, None where nothing was certified.

    Raises:
        KeyboardInterrupt: if the run was interrupted; an incomplete run is not a result.
    """
    objective = view(problem.objective)
    columns: dict[str, list[float]] = {
        key: [] for key in ("exact", "evaluations", "work", "gradients", "products", "seconds")
    }
    honesty: list[float] = []
    begin, outside = time.process_time(), 0.0

    def watch(state: UpperState) -> UpperStatus | None:
        nonlocal outside
        now = time.process_time()
        precise, found = exact(state.best.theta), state.best
        outside += time.process_time() - now
        if math.isfinite(found.bound):
            honesty.append(abs(found.value - precise.value) / (found.bound + precise.bound))
        if not columns["exact"] or precise.value < columns["exact"][-1]:
            cost = objective.cost
            row = (
                precise.value,
                state.evaluations,
                gradient_equivalents(cost.as_dict()),
                cost.gradients,
                cost.hessian_products + cost.direct_solves,
                round(time.process_time() - begin - outside, 4),
            )
            for column, number in zip(columns.values(), row, strict=True):
                column.append(number)
        done = state.evaluations >= max_evaluations or precise.value <= stop_below
        return UpperStatus.BUDGET if done else None

    final = run(optimizer, objective, start, 10 * max_evaluations, watch)
    if final.status is UpperStatus.INTERRUPTED:
        raise KeyboardInterrupt
    cost = objective.cost.as_dict()
    return {
        **columns,
        "returned": exact(final.best.theta).value,
        "theta": final.best.theta,
        "status": final.status.value,
        "cost": {kind: cost[kind] for kind in COUNTED if cost.get(kind)},
        "total_evaluations": final.evaluations,
        "total_seconds": round(time.process_time() - begin - outside, 4),
        "honesty": max(honesty) if honesty else None,
    }


def compute_cell(
    problem_row: ProblemRow,
    lower: LowerRow,
    method: MethodRow,
    accuracy: AccuracyRow,
    index: int,
    seed: int,
    folder: Path | None,
    max_evaluations: int,
    best: Mapping[str, Any],
    stop_gap: float,
) -> dict[str, Any]:
    """:func:`run_cell` of rows: fresh objectives, the start, and the slope there for methods that need one."""
    problem, judge = problem_row.make(folder), problem_row.make(folder).objective
    lower.set(problem.objective)
    start = random_start(problem.objective.parameters, problem.start, problem_row.spread, index, seed)
    there = judge.hypergradient(start)
    assert there.gradient is not None
    setting = Setting(len(start), float(torch.linalg.vector_norm(there.gradient)), seed + index)
    target = best["value"] * (1.0 + stop_gap) if stop_gap > 0 else -math.inf
    return run_cell(problem, method.make(setting), accuracy.view, start, Exact(judge), max_evaluations, target)
