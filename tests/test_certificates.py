"""Certificates over a grid of problems, accuracies, dtypes and solvers: never violated, and not vacuous."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from registry import ENERGIES, SOLVERS, EnergyCase, runs
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.fidelities import LeastSquares
from bilearn.losses import SimilarityError, SquaredError, SSIMLoss, UpperLoss
from bilearn.lower.minimize import minimize
from bilearn.lower.newton_cg import NewtonCG
from bilearn.lower.solver import LowerSolver
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.status import Status
from bilearn.testing import newton_minimizer, reference_hypergradient
from bilearn.variational import VariationalEnergy

NAMES = (
    "ls-tv", "ls-tv_bracket", "ls-tv_map", "ls-tv_coupled", "ls-tv_signal", "ls-mask-tv", "ls-blur-tv", "ls-matrix-tv",
    "ls-tikhonov", "ls-blur-h1", "ls-sum", "kl-tv", "huber-tv", "pseudohuber-tv", "studentt-tv",
)  # fmt: skip
CASES = [case for case in ENERGIES if case.name in NAMES]
ACCURACIES = (1e-1, 1e-3, 1e-5, 1e-8)
DTYPES = (torch.float64, torch.float32)


@cache
def truth(case: EnergyCase, dtype: torch.dtype) -> tuple[Energy, Tensor, Tensor]:
    """Energy and data in a dtype, and the float64 minimizer of exactly those numbers."""
    energy = copy.deepcopy(case.make()).to(dtype)
    exact = copy.deepcopy(energy).to(torch.float64)
    y = case.data(case.make()).to(dtype)
    return energy, y, newton_minimizer(exact, y.double())


def ratios(solver: LowerSolver, dtype: torch.dtype) -> Tensor:
    """True error / bound of every sample, over all energies the solver can run on and all accuracies it can certify."""
    found = []
    for case in CASES:
        energy, y, minimizer = truth(case, dtype)
        if not runs(solver, energy, y):
            continue
        for accuracy in ACCURACIES:
            solution = minimize(energy, y, solver, tolerance=Tolerance(distance=accuracy), throw=False)
            assert solution.certified
            allowed = (
                (Status.CONVERGED,) if dtype == torch.float64 else (Status.CONVERGED, Status.FLOOR, Status.STALLED)
            )
            assert set(solution.status.tolist()) <= set(allowed), f"{case.name} at {accuracy}: {solution.describe()}"
            met = solution.status == Status.CONVERGED
            assert bool((solution.error[met] <= accuracy).all())
            error = _batch.norm(solution.x.double() - minimizer)
            found.append(error / solution.error.double())
    return torch.cat(found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_lower_level_errors_are_below_their_bounds(solver: LowerSolver, dtype: torch.dtype) -> None:
    ratio = ratios(solver, dtype)
    assert len(ratio) >= 16
    assert float(ratio.max()) <= 1.0
    # a closed form leaves only rounding, whose bound must hold for the worst case
    assert float(ratio.median()) > (1e-4 if solver.name == "ClosedForm" else 1e-2)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_objective_and_gradient_lie_inside_their_bounds(case: EnergyCase) -> None:
    energy = case.make()
    y, target = case.data(energy), case.target()
    losses, gradient = reference_hypergradient(energy, SquaredError(), y, target)
    exact = float(losses.sum())
    values, slopes = [], []
    for accuracy in (1.0, 1e-1, 1e-2, 1e-4):
        objective = ReducedObjective(energy, y, target, SquaredError(), reduction="sum", solver=NewtonCG())
        theta = objective.parameters.get()
        value = objective.value(theta, accuracy * exact)
        assert value.certified
        assert value.bound <= accuracy * exact
        assert value.lower <= exact * (1 + 1e-13)
        assert exact * (1 - 1e-13) <= value.upper
        objective.forget()
        slope = objective.hypergradient(theta, accuracy * float(gradient.norm()))
        assert slope.certified
        assert slope.gradient is not None
        assert slope.gradient_bound <= accuracy * float(gradient.norm())
        error = float((slope.gradient - gradient).norm())
        assert error <= slope.gradient_bound + 1e-9 * float(gradient.norm())
        values.append(abs(value.value - exact) / value.bound)
        slopes.append(error / slope.gradient_bound)
    assert max(values) <= 1.0 + 1e-9
    print("SLOPES", case.name, slopes, values)


@pytest.mark.parametrize("loss", [SSIMLoss(), SimilarityError(0.01, 1.0)], ids=lambda loss: loss.name)
def test_structural_similarity_is_certified_too(loss: UpperLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(2, 2, 9, 8, dtype=torch.float64)
    target[:, :, 2:7, 3:6] = 1
    y = target + 0.1 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.05, 1e-3, 0.05))
    losses, gradient = reference_hypergradient(energy, loss, y, target)
    objective = ReducedObjective(energy, y, target, loss, reduction="sum")
    theta = objective.parameters.get()
    for accuracy in (1e-1, 1e-3):
        objective.forget()
        value = objective.value(theta, accuracy * float(losses.sum()))
        assert value.certified
        assert value.bound <= accuracy * float(losses.sum())
        assert abs(value.value - float(losses.sum())) <= value.bound
        slope = objective.hypergradient(theta, accuracy * float(gradient.norm()))
        assert slope.certified
        assert slope.gradient is not None
        assert float((slope.gradient - gradient).norm()) <= slope.gradient_bound <= accuracy * float(gradient.norm())


def test_a_bound_never_promises_more_than_the_dtype_holds() -> None:
    energy, y, _ = truth(next(c for c in CASES if c.name == "ls-tv"), torch.float32)
    solution = minimize(energy, y, tolerance=Tolerance(distance=1e-12), throw=False)
    assert bool((solution.status == Status.FLOOR).all())
    assert bool((solution.error > 1e-12).all())
    assert bool((solution.error < 1e-4).all())
