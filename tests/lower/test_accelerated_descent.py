"""Accelerated descent: convex and nonconvex energies, monotone mode, what is said of stationary points."""

from __future__ import annotations

import pytest
import torch
from registry import ENERGIES, rand
from torch import Tensor

from bilearn.energy import Energy
from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import AcceleratedDescent, minimize
from bilearn.parameters import Log10, ParameterVector, learnable
from bilearn.problem import LowerProblem
from bilearn.regularizers import FieldsOfExperts, random_filters
from bilearn.solution import Cost, Tolerance
from bilearn.status import Status
from bilearn.testing import check_solver
from bilearn.variational import VariationalEnergy

F64 = torch.float64


class Saddle(Energy):
    """1/2 (x_1 - y_1)^2 - a/2 (x_2 - y_2)^2 + (x_2 - y_2)^4: a saddle at y, minimizers at x_2 = y_2 +- sqrt(a)/2."""

    curved: Tensor

    def __init__(self) -> None:
        super().__init__()
        learnable(self, "curved", 1.0, Log10())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        d = x - y
        return 0.5 * d[:, 0] ** 2 - self.curved / 2 * d[:, 1] ** 2 + d[:, 1] ** 4


@pytest.mark.parametrize("name", ["ls-tikhonov", "ls-tv_signal", "ls-experts_student", "kl-tv", "ls-ridge"])
def test_certified_where_the_energy_is_strongly_convex(name: str) -> None:
    case = next(c for c in ENERGIES if c.name == name)
    energy = case.make()
    check_solver(AcceleratedDescent(), energy, case.data(energy), (1e-2, 1e-6))


def nonconvex() -> VariationalEnergy:
    filters = random_filters(3, 3, torch.Generator().manual_seed(1))
    return VariationalEnergy(LeastSquares(), FieldsOfExperts(filters, 40.0))


def test_nonconvex_energies_end_at_stationary_points_and_say_so() -> None:
    energy, y = nonconvex(), 4 * rand((3, 1, 9, 8), 2)
    with torch.no_grad():
        assert float(energy.curvature(y).strong_convexity.value) < 0
    solution = minimize(energy, y, AcceleratedDescent(), tolerance=Tolerance(gradient=1e-8))
    with torch.no_grad():
        assert float(energy.grad(solution.x, y).flatten(1).norm(dim=1).max()) <= 1e-8
        assert bool((energy(solution.x, y) < energy(y, y)).all())
    assert bool(solution.error.isinf().all())
    assert solution.describe().endswith("stationary points, at an unknown distance from a minimizer")
    asked = minimize(energy, y, AcceleratedDescent(), tolerance=Tolerance(distance=1e-6), throw=False)
    assert bool((asked.status == Status.NOT_CERTIFIABLE).all())
    alone = minimize(energy, y[1:2], AcceleratedDescent(), tolerance=Tolerance(gradient=1e-8))
    assert torch.allclose(alone.x[0], solution.x[1], atol=1e-9)


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_values_decrease_below_the_reference(memory: float) -> None:
    energy, y = nonconvex(), 4 * rand((2, 1, 9, 8), 3)
    method = AcceleratedDescent(memory=memory)
    with torch.no_grad():
        problem = LowerProblem(energy, y, energy.curvature(y), Cost())
        state = method.init(problem, y)
        for _ in range(60):
            following = method.step(problem, state)
            accepted = following.rejections == 0
            assert bool((following.value[accepted] <= state.reference[accepted]).all())
            assert torch.equal(following.x[~accepted], state.x[~accepted])
            assert torch.allclose(following.gradient, energy.grad(following.x, y), atol=1e-12)
            if memory == 0:
                assert bool((following.value <= state.value + 1e-12).all())
            state = following
    assert problem.cost.gradients == 2 * 62


def test_a_point_that_is_stationary_already() -> None:
    y = rand((2, 2), 4)
    solution = minimize(Saddle(), y, AcceleratedDescent(), tolerance=Tolerance(gradient=1e-9))
    assert torch.equal(solution.x, y)
    assert bool((solution.steps == 0).all())


def test_an_indefinite_hessian_is_solved_by_minres_and_named() -> None:
    """At the saddle x = y the adjoint system has the eigenvalues 1 and -a; the loss gradient is 2 (y - target)."""
    y, target = rand((2, 2), 5), rand((2, 2), 6)
    energy = Saddle()
    result = ImplicitHypergradient(fallback=1e-10).estimate(energy, SquaredError(), y, target, ParameterVector(energy))
    assert result.adjoint is not None
    assert result.adjoint.method == "ConjugateGradient, then Minres (indefinite)"
    g = 2 * (y - target)
    assert torch.allclose(result.adjoint.x, torch.stack((g[:, 0], -g[:, 1]), 1), atol=1e-9)
    assert not result.certified
    assert float(result.gradient.abs().max()) < 1e-9


def test_hyperparameters_are_checked() -> None:
    with pytest.raises(ValueError, match=r"found memory 1, decrease 0\.1, relax 0\.95"):
        AcceleratedDescent(memory=1)
    with pytest.raises(ValueError, match="decrease: found -1"):
        AcceleratedDescent(decrease=-1)
