"""Costs to reach a gap, their medians, and the profiles in which optimization methods are compared."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Cell = Mapping[str, Any]
"""What :func:`bilearn.experiments.comparison_cells.run_cell` records."""


def cost_to(cell: Cell, target: float, column: str) -> float:
    """Cost at the first incumbent whose exact objective is at most ``target``; infinite if there is none.

    Args:
        cell: record of a run.
        target: exact objective.
        column: "evaluations", "work", "gradients", "products" or "seconds".
    """
    for exact, cost in zip(cell["exact"], cell[column], strict=True):
        if float(exact) <= target:
            return float(cost)
    return float("inf")


def median_cost(cells: Sequence[Cell], target: float, column: str) -> float:
    """Median of :func:`cost_to` over starts, unsolved ones infinite: infinite where half of them or more are unsolved.

    Of an even number of starts the larger one of the two in the middle is taken.
    """
    return statistics.median_high([cost_to(cell, target, column) for cell in cells])


def data_profile(costs: Sequence[float], budgets: np.ndarray) -> np.ndarray:
    """Fraction of problem-start pairs solved within each budget.

    Reference: Moré, Wild, Benchmarking derivative-free optimization algorithms, SIAM J. Optim. 20 (2009).

    Args:
        costs: one for each pair, infinite where unsolved.
        budgets: (B,).
    """
    return (np.asarray(costs)[:, None] <= budgets).mean(0) if len(costs) else np.zeros_like(budgets)


def performance_ratios(costs: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Cost of every method over the cost of the best method on the same problem-start pair; unsolved pairs are infinite.

    Pairs that no method solves stay in, so that fractions refer to all pairs.

    Reference: Dolan, Moré, Benchmarking optimization software with performance profiles, Math. Program. 91 (2002).

    Args:
        costs: of every method, pair by pair in the same order.
    """
    table = np.asarray(list(costs.values()), dtype=float)
    best = table.min(0)
    ratios = np.where(np.isfinite(table), table / np.where(np.isfinite(best) & (best > 0), best, 1.0), np.inf)
    return dict(zip(costs, ratios, strict=True))


def steps_of(values: Sequence[float]) -> np.ndarray:
    """Finite values in order, the places at which a profile jumps; [1] where there are none."""
    finite = np.unique(np.asarray([v for v in values if np.isfinite(v) and v > 0], dtype=float))
    return finite if finite.size else np.ones(1)
