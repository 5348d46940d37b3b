"""Estimators that need less than an adjoint solve: Neumann series, first-order penalty, zeroth order."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from toy_energies import Chain, Ridge, WeightMap, chain_reference, data

from bilearn.hypergradient import FiniteDifferences, Neumann, OneStep, ValueFunctionPenalty, ZerothOrder
from bilearn.hypergradient.cross import cross_derivative
from bilearn.hypergradient.packing import Packing
from bilearn.losses import SmoothedL1, SquaredError
from bilearn.lower import minimize
from bilearn.parameters import ParameterVector
from bilearn.solution import Tolerance

LOSS = SquaredError(0.7)


def relative_error(gradient: torch.Tensor, exact: torch.Tensor) -> float:
    return float((gradient - exact).norm() / exact.norm())


def frozen_terms(energy: Chain, y: torch.Tensor, target: torch.Tensor, steps: int, step: float) -> torch.Tensor:
    """Reverse-mode differentiation of gradient descent with A and B frozen at the minimizer."""
    vector = ParameterVector(energy)
    x = minimize(energy, y, tolerance=Tolerance(distance=1e-12), throw=False).x
    hessian = energy.hessian(x, y)
    w, total = LOSS.grad(x, target), torch.zeros(len(vector), dtype=torch.float64)
    for _ in range(steps):
        total -= step * vector.flatten(energy.cross_vjp(x, y, w, vector.parameters))
        w = w - step * hessian(w)
    return total


def descent_terms(energy: Chain, y: torch.Tensor, target: torch.Tensor, steps: int, step: float) -> torch.Tensor:
    """-B'q with q from gradient descent on q'Aq/2 - g'q, started at zero."""
    vector = ParameterVector(energy)
    x = minimize(energy, y, tolerance=Tolerance(distance=1e-12), throw=False).x
    hessian, slope = energy.hessian(x, y), LOSS.grad(x, target)
    q = torch.zeros_like(x)
    for _ in range(steps):
        q = q - step * (hessian(q) - slope)
    return -vector.flatten(energy.cross_vjp(x, y, q, vector.parameters))


@pytest.mark.parametrize("terms", [1, 4, 15])
def test_neumann_series_descent_and_frozen_differentiation_agree(terms: int) -> None:
    energy, (y, target) = Chain(), data()
    step = 0.2
    series = Neumann(terms=terms, step_size=step, fallback=1e-12).estimate(
        energy, LOSS, y, target, lower_tolerance=1e-12
    )
    for other in (frozen_terms, descent_terms):
        assert relative_error(series.gradient, other(energy, y, target, terms, step)) < 1e-10


def test_one_term_is_one_step() -> None:
    y, target = data()
    one, series = OneStep(step_size=0.3), Neumann(terms=1, step_size=0.3)
    a, b = (e.estimate(Chain(), LOSS, y, target, lower_tolerance=1e-11).gradient for e in (one, series))
    assert torch.allclose(a, b, rtol=1e-10)


def test_neumann_bound_holds_and_falls_with_the_terms() -> None:
    energy, (y, target) = Chain(), data()
    exact = chain_reference(LOSS)
    with torch.no_grad():
        curvature = energy.curvature(y)
    rate = 1 - 1 / float(curvature.smoothness.per_sample(y)[0])
    bounds = []
    for terms in (1, 5, 20, 80):
        result = Neumann(terms=terms).estimate(energy, LOSS, y, target)
        assert float((result.gradient - exact).norm()) <= result.gradient_bound < math.inf
        assert result.certified
        assert result.cost.hessian_products >= terms * len(y)
        slope = LOSS.grad(result.lower.x, target).norm(dim=1)
        cross = cross_derivative(energy, result.lower.x, y, ParameterVector(energy).parameters).norm
        assert result.bound.adjoint <= 1.01 * float((cross * rate**terms * slope).sum())
        bounds.append(result.bound.adjoint)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 1e-4 * bounds[0]


@pytest.mark.parametrize(("two_sided", "order"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("loss", [LOSS, SmoothedL1(0.3)], ids=lambda v: v.name)
def test_bias_of_the_penalty_falls_at_its_order(two_sided: bool, order: int, loss: SquaredError) -> None:
    energy, (y, target) = Chain(), data()
    exact = chain_reference(loss)
    penalties = (30.0, 120.0, 480.0)
    errors = []
    for penalty in penalties:
        estimator = ValueFunctionPenalty(penalty=penalty, tolerance=1e-7, two_sided=two_sided)
        result = estimator.estimate(energy, loss, y, target)
        assert not result.certified
        assert result.gradient_bound == math.inf
        errors.append(relative_error(result.gradient, exact))
    rates = [math.log(a / b) / math.log(4) for a, b in pairwise(errors)]
    assert all(abs(rate - order) < 0.15 for rate in rates), (errors, rates)


def test_penalty_takes_no_hessian_product() -> None:
    class NoSecondDerivative(Chain):
        def hessian(self, x: torch.Tensor, y: torch.Tensor):  # type: ignore[no-untyped-def]
            raise AssertionError("a second derivative was asked for")

    y, target = data()
    result = ValueFunctionPenalty(penalty=1e4).estimate(NoSecondDerivative(), LOSS, y, target, accuracy=1e-3)
    assert result.cost.hessian_products == 0
    assert relative_error(result.gradient, chain_reference(LOSS)) < 2e-3
    assert "cannot be certified: the bias of order 1 / penalty" in result.message


def test_penalty_with_data_of_another_shape_and_type() -> None:
    packing = Packing.of(torch.zeros(3, 2, 2, dtype=torch.complex128), torch.zeros(3, 5))
    a = torch.complex(torch.arange(12.0).reshape(3, 2, 2), torch.ones(3, 2, 2)).to(torch.complex128)
    b = torch.arange(15.0).reshape(3, 5)
    one, two = packing.unpack(packing.pack(a, b)[[2, 0]])
    assert torch.equal(one, a[[2, 0]])
    assert torch.equal(two, b[[2, 0]])
    assert two.dtype == torch.float32


def test_as_many_orthogonal_directions_as_parameters_are_finite_differences() -> None:
    y, target = data()
    rotated = ZerothOrder(directions=2, step=1e-4, distance=1e-13).estimate(Chain(), LOSS, y, target)
    axes = FiniteDifferences().estimate(Chain(), LOSS, y, target)
    assert torch.allclose(rotated.gradient, axes.gradient, rtol=1e-5)
    assert relative_error(rotated.gradient, chain_reference(LOSS)) < 1e-5


@pytest.mark.parametrize(
    ("distribution", "variance"),
    [
        ("gaussian", lambda p, k: (p + 1) / k),
        ("sphere", lambda p, k: (p - 1) / k),
        ("orthogonal", lambda p, k: p / k - 1),
    ],
)
def test_mean_and_variance_of_the_random_directions(distribution: str, variance) -> None:  # type: ignore[no-untyped-def]
    theta = torch.arange(6, dtype=torch.float64)
    slope = torch.linspace(-1.0, 2.0, 6, dtype=torch.float64)
    draws = []
    for seed in range(600):
        rows = ZerothOrder(directions=3, distribution=distribution, seed=seed).draw(theta)  # type: ignore[arg-type]
        draws.append(((rows @ slope)[:, None] * rows).mean(0))
    estimates = torch.stack(draws)
    assert relative_error(estimates.mean(0), slope) < 0.15
    spread = float((estimates - slope).square().sum(1).mean() / slope.square().sum())
    assert spread == pytest.approx(variance(6, 3), rel=0.2)


def test_more_orthogonal_directions_than_parameters_fill_several_frames() -> None:
    rows = ZerothOrder(directions=6).draw(torch.arange(3, dtype=torch.float64))
    assert torch.allclose(rows.T @ rows / 6, torch.eye(3, dtype=torch.float64), atol=1e-12)
    y, target = data()
    single = ZerothOrder(directions=3, step=1e-4).estimate(Ridge(), SquaredError(), y, target)
    assert float(single.gradient[0]) == pytest.approx(float(Ridge().gradient(y, target)), rel=1e-5)


def test_directions_depend_on_seed_and_theta_only() -> None:
    theta = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    first = ZerothOrder(directions=2).draw(theta)
    assert torch.equal(first, ZerothOrder(directions=2).draw(theta.clone()))
    assert not torch.allclose(first, ZerothOrder(directions=2).draw(theta + 1e-9))
    assert not torch.allclose(first, ZerothOrder(directions=2, seed=1).draw(theta))


def test_zeroth_order_gradient_of_many_parameters_and_theta_is_put_back() -> None:
    energy = WeightMap(20, declare_norm=False)
    y, target = data(20)
    before = ParameterVector(energy).get()
    full = ZerothOrder(directions=20, step=1e-4).estimate(energy, SquaredError(), y, target)
    assert relative_error(full.gradient, energy.gradient(y, target)) < 1e-5
    assert torch.equal(before, ParameterVector(energy).get())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neumann(terms=0), "terms: found 0"),
        (lambda: Neumann(step_size=-1.0), r"step_size: found -1\.0"),
        (lambda: ValueFunctionPenalty(penalty=0.0), r"penalty: found 0\.0"),
        (lambda: ValueFunctionPenalty(tolerance=2.0), r"tolerance: found 2\.0"),
        (lambda: ZerothOrder(directions=0), "directions: found 0"),
        (lambda: ZerothOrder(step=-1.0), r"step: found -1\.0"),
        (lambda: ZerothOrder(distribution="cube"), "distribution: found 'cube'"),  # type: ignore[arg-type]
    ],
)
def test_bad_options_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
