"""Solves in float32 with certificates in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower import LowerSolver, MixedPrecision, NesterovGradient, NewtonCG, minimize
from bilearn.lower.capped import Capped
from bilearn.operators import MatrixOperator
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.status import Status
from bilearn.testing import check_solver
from bilearn.variational import VariationalEnergy

METHODS = [NewtonCG(), NesterovGradient(), None]


def energy() -> VariationalEnergy:
    return VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.1, xi=0.1, nu=0.02))


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(3, 1, 12, 10, generator=generator, dtype=torch.float64) > 0.6).double()
    return target + 0.1 * torch.randn(target.shape, generator=generator, dtype=torch.float64), target


@pytest.fixture(scope="module")
def exact() -> Tensor:
    """Minimizers to machine precision."""
    y, _ = pair()
    return minimize(energy(), y, NewtonCG(), tolerance=Tolerance(distance=1e-14), throw=False).x


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5, 1e-6, 1e-7, 1e-9, 1e-12])
def test_certificates_hold_against_a_solve_to_machine_precision(
    exact: Tensor, method: LowerSolver | None, distance: float
) -> None:
    y, _ = pair()
    found = minimize(energy(), y, MixedPrecision(method), tolerance=Tolerance(distance=distance))
    assert found.x.dtype == torch.float64
    assert found.certified
    true = (found.x - exact).flatten(1).norm(dim=1)
    assert bool((true <= found.error + 1e-13).all())
    assert bool((found.error <= distance).all())
    gradient = energy().grad(found.x, y).flatten(1).norm(dim=1)
    assert torch.allclose(found.gradient_norm, gradient.detach(), rtol=1e-6, atol=1e-15)


def test_a_loose_tolerance_costs_two_gradients_of_float64_only(monkeypatch: pytest.MonkeyPatch) -> None:
    y, _ = pair()
    one = energy()
    seen: list[torch.dtype] = []
    grad = one.grad

    def watched(x: Tensor, data: Tensor) -> Tensor:
        seen.extend([x.dtype] * x.shape[0])
        return grad(x, data)

    monkeypatch.setattr(one, "grad", watched)
    found = minimize(one, y, MixedPrecision(NesterovGradient()), tolerance=Tolerance(distance=1e-3))
    assert seen.count(torch.float64) == 2 * 3
    check = 1
    assert found.cost.gradients == len(seen) - check
    assert seen.count(torch.float32) > 10 * 3
    assert bool((found.steps > 10).all())


def test_a_warm_start_beyond_float32_is_not_made_worse(exact: Tensor) -> None:
    y, _ = pair()
    start = exact + 1e-10
    before = energy().grad(start, y).flatten(1).norm(dim=1)
    found = minimize(energy(), y, MixedPrecision(NewtonCG()), start, Tolerance(distance=1e-12), throw=False)
    assert bool((found.gradient_norm < before).all())
    plain = minimize(energy(), y, NewtonCG(), start, Tolerance(distance=1e-12), throw=False)
    assert found.cost.gradients == plain.cost.gradients + 3
    assert found.cost.hessian_products == plain.cost.hessian_products


def test_a_sample_has_the_same_answer_alone_and_in_a_batch(exact: Tensor) -> None:
    y, _ = pair()
    start = torch.stack((y[0], exact[1], y[2]))
    tolerance = Tolerance(distance=1e-8)
    together = minimize(energy(), y, MixedPrecision(NewtonCG()), start, tolerance)
    for i in range(3):
        alone = minimize(energy(), y[i : i + 1], MixedPrecision(NewtonCG()), start[i : i + 1], tolerance)
        assert torch.allclose(alone.x[0], together.x[i], rtol=0, atol=1e-12)
        assert int(alone.steps[0]) == int(together.steps[i])


def test_step_limits_count_both_parts() -> None:
    y, _ = pair()
    for solver in (MixedPrecision(NesterovGradient(max_steps=9)), Capped(MixedPrecision(NesterovGradient()), 9)):
        found = minimize(energy(), y, solver, tolerance=Tolerance(distance=1e-12), throw=False)
        assert found.steps.tolist() == [9, 9, 9]
        assert bool((found.status == Status.MAX_STEPS).all())


def test_float32_data_and_values_beyond_float32_are_solved_as_without_it() -> None:
    y, _ = pair()
    tolerance = Tolerance(gradient=1e-3)
    for data, size in ((y.float(), 1e-3), (1e30 * y, 1e27)):
        tolerance = Tolerance(gradient=size)
        plain = minimize(energy(), data, NewtonCG(), tolerance=tolerance, throw=False)
        found = minimize(energy(), data, MixedPrecision(NewtonCG()), tolerance=tolerance, throw=False)
        assert found.x.dtype == data.dtype
        assert torch.equal(found.status, plain.status)
    huge = torch.full_like(y, 1e39)
    found = minimize(energy(), huge, MixedPrecision(NewtonCG()), huge, Tolerance(gradient=1e36), throw=False)
    assert bool(found.x.isfinite().all())


def test_an_objective_meets_its_accuracies_with_it() -> None:
    y, target = pair()
    theta = torch.tensor([-1.0, -1.0, -1.5], dtype=torch.float64)
    exact = ReducedObjective(energy(), y, target).hypergradient(theta, 1e-10)
    assert exact.gradient is not None
    objective = ReducedObjective(energy(), y, target, solver=MixedPrecision())
    for accuracy in (1.0, 1e-3, 1e-6, 1e-9):
        found = objective.hypergradient(theta, accuracy)
        assert found.gradient is not None
        assert float((found.gradient - exact.gradient).norm()) <= found.gradient_bound + 1e-10 <= 2 * accuracy
        value = objective.value(theta, accuracy)
        assert value.lower <= exact.value <= value.upper
        assert math.isclose(value.value, exact.value, abs_tol=accuracy)
        assert found.certified


def test_it_passes_the_checks_for_solvers_and_names_operators_that_cannot() -> None:
    y, _ = pair()
    check_solver(MixedPrecision(NewtonCG()), energy(), y)
    matrix = MatrixOperator(torch.eye(4, dtype=torch.float64), (1, 2, 2), (4,))
    fixed = VariationalEnergy(LeastSquares(), SmoothedTV(), matrix)
    with pytest.raises(ValueError, match="move both to one dtype"):
        minimize(fixed, torch.ones(1, 4, dtype=torch.float64), MixedPrecision(NewtonCG()))
