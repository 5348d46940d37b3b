"""The grid of the registry: energy x solver x estimator, against machine-precision solves and central differences.

One energy a feature takes part; BILEARN_FULL_GRID=1 makes it all of them with a unique minimizer (minutes).
"""

from __future__ import annotations

import os
from functools import cache

import pytest
import torch
from registry import (
    ENERGIES,
    ESTIMATORS,
    SOLVERS,
    EnergyCase,
    EstimatorCase,
    grid_energies,
    runs,
)
from torch import Tensor

from bilearn.energy import Energy
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import Anderson, Broyden
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.testing import check_hypergradient, check_solver, reference_hypergradient

GRID = [c for c in ENERGIES if c.convex] if os.environ.get("BILEARN_FULL_GRID") else list(grid_energies())
FEW = 8


@cache
def problem(case: EnergyCase) -> tuple[Energy, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Energy, data, targets and reference hypergradient of a case; the reference is the slow part."""
    energy = case.make()
    y, target = case.data(energy), case.target()
    return energy, y, target, reference_hypergradient(energy, SquaredError(), y, target)


def solver_rows() -> list[tuple[EnergyCase, LowerSolver]]:
    """Every energy with every solver that declares it can run on it."""
    rows = []
    for case in GRID:
        energy = case.make()
        rows += [(case, solver) for solver in SOLVERS if runs(solver, energy, case.data(energy))]
    return rows


def estimator_rows() -> list[tuple[EnergyCase, LowerSolver | None, EstimatorCase]]:
    """Every energy with every estimator that can run on it, and with every solver where the estimator uses one.

    Anderson's and Broyden's methods are left to the tests of fixed points, which they are for.
    """
    rows: list[tuple[EnergyCase, LowerSolver | None, EstimatorCase]] = []
    for case in GRID:
        energy = case.make()
        y = case.data(energy)
        count, smooth = len(ParameterVector(energy)), energy.curvature(y).smoothness.known
        solvers = [s for s in SOLVERS if runs(s, energy, y) and not isinstance(s, Anderson | Broyden)]
        for estimator in ESTIMATORS:
            if (estimator.few and count > FEW) or (estimator.needs_smoothness and not smooth):
                continue
            rows += [(case, solver, estimator) for solver in (solvers if estimator.uses_solver else [None])]
    return rows


def label(value: EnergyCase | LowerSolver | EstimatorCase | None) -> str:
    """Test id."""
    if value is None:
        return "-"
    return value.name


@pytest.mark.parametrize(("case", "solver"), solver_rows(), ids=label)
def test_solver(case: EnergyCase, solver: LowerSolver) -> None:
    energy = case.make()
    check_solver(solver, energy, case.data(energy), (1e-2, 1e-6))


@pytest.mark.parametrize(("case", "solver", "estimator"), estimator_rows(), ids=label)
def test_hypergradient(case: EnergyCase, solver: LowerSolver | None, estimator: EstimatorCase) -> None:
    energy, y, target, reference = problem(case)
    rtol = 1e-6 if estimator.exact else None
    accuracies = (1e-2,) if estimator.adapts and isinstance(solver, NewtonCG) else ()
    check_hypergradient(estimator.make(), energy, SquaredError(), y, target, solver, rtol, accuracies, reference)


@pytest.mark.parametrize("case", [c for c in ENERGIES if c.convex and c not in GRID], ids=label)
def test_energies_outside_the_grid(case: EnergyCase) -> None:
    energy = case.make()
    estimator = ImplicitHypergradient(fallback=1e-11)
    check_hypergradient(estimator, energy, SquaredError(), case.data(energy), case.target(), accuracies=())


def test_the_grid_uses_every_solver_and_estimator() -> None:
    solvers = {type(solver) for _, solver in solver_rows()}
    assert solvers == {type(s) for s in SOLVERS}
    assert {estimator.name for _, _, estimator in estimator_rows()} == {e.name for e in ESTIMATORS}
    assert len({case.name for case, _, _ in estimator_rows()}) == len(GRID) >= 15
    assert all(torch.isfinite(problem(case)[3][1]).all() for case in GRID)
