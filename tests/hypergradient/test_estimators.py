import dataclasses
import math

import pytest
import torch
from toy_energies import (
    Chain,
    Ridge,
    WeightMap,
    chain_minimizer,
    chain_reference,
    data,
    dense_gradient,
    dense_minimizer,
)

from bilearn.curvature import UNKNOWN_UPPER, Curvature
from bilearn.hypergradient import (
    FiniteDifferences,
    HypergradientEstimator,
    ImplicitHypergradient,
    OneStep,
    TangentHypergradient,
    Unrolled,
)
from bilearn.linear_systems import ConjugateGradient, Minres
from bilearn.losses import CallableLoss, NegativePSNR, SmoothedL1, SquaredError, UpperLoss
from bilearn.lower.newton_cg import NewtonCG
from bilearn.parameters import ParameterVector

ADAPTIVE = [
    ImplicitHypergradient(linear=ConjugateGradient()),
    ImplicitHypergradient(linear=Minres()),
    TangentHypergradient(),
]
ACCURATE: list[HypergradientEstimator] = [
    *ADAPTIVE,
    Unrolled(steps=400),
    Unrolled(steps=200, method="nesterov"),
    Unrolled(steps=400, truncate=250),
    FiniteDifferences(),
]
LOSSES: list[UpperLoss] = [SquaredError(0.7), SmoothedL1(0.3), NegativePSNR()]


def label(value: object) -> str:
    return getattr(value, "name", str(value))


def accuracy_for(estimator: HypergradientEstimator, gradient: torch.Tensor) -> float | None:
    return 1e-8 * float(gradient.norm()) if estimator in ADAPTIVE else None


@pytest.mark.parametrize("estimator", ACCURATE, ids=label)
def test_closed_form_of_a_quadratic_energy(estimator: HypergradientEstimator) -> None:
    energy = Ridge()
    y, target = data()
    exact = energy.gradient(y, target)
    result = estimator.estimate(energy, SquaredError(), y, target, accuracy=accuracy_for(estimator, exact))
    assert abs(float(result.gradient[0] - exact)) <= 1e-6 * abs(float(exact))
    expected = (y / (1 + energy.alpha.detach()) - target).square().sum(1)
    assert torch.allclose(result.losses, expected, rtol=1e-6)
    assert bool(((result.loss_lower <= expected) & (expected <= result.loss_upper)).all())


@pytest.mark.parametrize("loss", LOSSES, ids=label)
@pytest.mark.parametrize("estimator", ACCURATE, ids=label)
def test_all_estimators_agree_with_a_dense_solve(estimator: HypergradientEstimator, loss: UpperLoss) -> None:
    energy = Chain()
    y, target = data()
    exact = chain_reference(loss)
    result = estimator.estimate(energy, loss, y, target, accuracy=accuracy_for(estimator, exact))
    assert float((result.gradient - exact).norm()) <= 1e-6 * float(exact.norm())


@pytest.mark.parametrize("loss", LOSSES, ids=label)
@pytest.mark.parametrize("estimator", ADAPTIVE, ids=label)
@pytest.mark.parametrize("accuracy", [1.0, 1e-2, 1e-5, 1e-8])
def test_the_bound_holds_and_meets_the_request(
    estimator: HypergradientEstimator, loss: UpperLoss, accuracy: float
) -> None:
    energy = Chain()
    y, target = data()
    exact = chain_reference(loss)
    result = estimator.estimate(energy, loss, y, target, accuracy=accuracy)
    error = float((result.gradient - exact).norm())
    assert error <= result.gradient_bound <= accuracy
    assert result.certified
    assert result.message == ""
    losses = loss(chain_minimizer(), target)
    assert bool(((result.loss_lower <= losses) & (losses <= result.loss_upper)).all())


def test_bounds_are_not_vacuous() -> None:
    energy, loss = Chain(), SquaredError()
    y, target = data()
    exact = chain_reference(loss)
    ratios = []
    for estimator in ADAPTIVE:
        for accuracy in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
            result = estimator.estimate(energy, loss, y, target, accuracy=accuracy)
            ratios.append(float((result.gradient - exact).norm()) / result.gradient_bound)
    assert sorted(ratios)[len(ratios) // 2] > 1e-3
    assert max(ratios) <= 1


@pytest.mark.parametrize("estimator", ADAPTIVE, ids=label)
def test_single_precision_bounds_hold_and_the_floor_is_reported(estimator: HypergradientEstimator) -> None:
    energy = Chain()
    y, target = data(dtype=torch.float32)
    exact = dense_gradient(energy, SquaredError(), y, target)
    easy = estimator.estimate(energy, SquaredError(), y, target, accuracy=5e-2)
    assert float((easy.gradient - exact).norm()) <= easy.gradient_bound <= 5e-2
    hard = estimator.estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    assert float((hard.gradient - exact).norm()) <= hard.gradient_bound < 1e-1
    assert "was not reached" in hard.message


def test_default_accuracy_is_relative() -> None:
    y, target = data()
    for estimator in ADAPTIVE:
        result = estimator.estimate(Chain(), SquaredError(), y, target)
        assert result.gradient_bound <= 1e-3 * float(result.gradient.norm())


def test_one_step_bound_contains_its_bias() -> None:
    energy, loss = Chain(alpha=0.05), SquaredError()
    y, target = data()
    exact = dense_gradient(energy, loss, y, target)
    result = OneStep().estimate(energy, loss, y, target)
    error = float((result.gradient - exact).norm())
    assert 0.01 * float(exact.norm()) < error <= result.gradient_bound < math.inf
    assert result.bound.adjoint > result.bound.lower
    refused = OneStep().estimate(energy, loss, y, target, accuracy=1e-3)
    assert "was not reached" in refused.message


def test_one_step_is_exact_where_the_step_inverts_the_hessian() -> None:
    energy = Ridge()
    y, target = data()
    result = OneStep().estimate(energy, SquaredError(), y, target, accuracy=1e-8)
    assert abs(float(result.gradient[0] - energy.gradient(y, target))) <= result.gradient_bound <= 1e-8


@pytest.mark.parametrize("steps", [1, 5, 20, 60, 200])
@pytest.mark.parametrize("truncate", [None, 1, 5])
def test_unrolled_gradient_descent_bound(steps: int, truncate: int | None) -> None:
    energy, loss = Chain(), SquaredError()
    y, target = data()
    exact = chain_reference(loss)
    result = Unrolled(steps=steps, truncate=None if truncate is None else min(truncate, steps)).estimate(
        energy, loss, y, target
    )
    assert float((result.gradient - exact).norm()) <= result.gradient_bound < math.inf
    assert result.certified


def test_unrolled_is_the_derivative_of_its_own_map() -> None:
    energy, loss = Chain(), SquaredError()
    y, target = data()
    vector, step = ParameterVector(energy), 1e-5
    theta = vector.get()
    for method in ("gradient", "nesterov"):
        unrolled = Unrolled(steps=7, method=method, step_size=0.1)
        gradient = unrolled.estimate(energy, loss, y, target).gradient
        for p in range(2 if method == "gradient" else 1):
            values = []
            for sign in (1, -1):
                moved = theta.clone()
                moved[p] += sign * step
                vector.set(moved)
                values.append(float(unrolled.estimate(energy, loss, y, target).losses.sum()))
            vector.set(theta)
            difference = (values[0] - values[1]) / (2 * step)
            tolerance = 1e-6 if method == "gradient" else 0.2
            assert abs(difference - float(gradient[p])) <= tolerance * abs(difference)


def test_momentum_is_there() -> None:
    energy = Chain(alpha=1.0, nu=0.01)
    y, target = data(pixels=40)
    errors = [
        float(Unrolled(steps=80, method=m).estimate(energy, SquaredError(), y, target).lower.gradient_norm.max())
        for m in ("gradient", "nesterov")
    ]
    assert errors[1] < 0.2 * errors[0]


def test_unknown_constants_give_infinite_bounds() -> None:
    y, target = data()
    exact = chain_reference(SquaredError())
    estimators = [*ADAPTIVE, OneStep(), Unrolled(steps=50), Unrolled(steps=50, method="nesterov"), FiniteDifferences()]
    for estimator in estimators:
        result = estimator.estimate(Chain(declared=False), SquaredError(), y, target)
        assert result.gradient_bound == math.inf
        assert not result.certified
    for estimator in ADAPTIVE:
        result = estimator.estimate(Chain(declared=False), SquaredError(), y, target)
        assert float((result.gradient - exact).norm()) <= 1e-3 * float(exact.norm())
        assert (
            "cannot be certified"
            in estimator.estimate(Chain(declared=False), SquaredError(), y, target, accuracy=1e-3).message
        )


def test_a_loss_without_constants_gives_infinite_bounds() -> None:
    y, target = data()

    def squared(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (x - t).square().sum(-1)

    known, unknown = CallableLoss(squared, smoothness=2.0), CallableLoss(squared)
    with_bound = ImplicitHypergradient().estimate(Chain(), known, y, target)
    without = ImplicitHypergradient().estimate(Chain(), unknown, y, target)
    assert with_bound.certified
    assert not without.certified
    assert without.gradient_bound == math.inf
    assert torch.allclose(with_bound.gradient, without.gradient, rtol=1e-2)
    assert bool(torch.isinf(without.loss_upper).all())


@pytest.mark.parametrize("declared", [True, False])
def test_many_parameters(declared: bool) -> None:
    energy = WeightMap(20, declared)
    y, target = data(pixels=20)
    exact = energy.gradient(y, target)
    result = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-6)
    assert float((result.gradient - exact).norm()) <= result.gradient_bound <= 1e-6
    assert result.certified is declared
    with pytest.raises(ValueError, match="at most 16 for tangents"):
        TangentHypergradient().estimate(energy, SquaredError(), y, target)


def test_tangents_and_gauss_newton_matrix() -> None:
    energy, loss = Chain(), SquaredError(0.5)
    y, target = data()
    vector, step = ParameterVector(energy), 1e-5
    theta = vector.get()
    columns = []
    for p in range(2):
        ends = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[p] += sign * step
            vector.set(moved)
            ends.append(dense_minimizer(energy, y))
        columns.append((ends[0] - ends[1]) / (2 * step))
    vector.set(theta)
    tangents = torch.stack(columns)
    result = TangentHypergradient().estimate(energy, loss, y, target, accuracy=1e-9)
    assert result.adjoint is not None
    assert torch.allclose(result.adjoint.x, tangents, atol=1e-8)
    flat = tangents.flatten(1)
    assert result.gauss_newton is not None
    assert torch.allclose(result.gauss_newton, flat @ flat.T, rtol=1e-6)


def test_warm_starts_save_work_and_do_not_change_the_answer() -> None:
    energy = Chain()
    y, target = data()
    estimator = ImplicitHypergradient(linear=ConjugateGradient())
    cold = estimator.estimate(energy, SquaredError(), y, target, accuracy=1e-6)
    assert cold.adjoint is not None
    warm = estimator.estimate(
        energy, SquaredError(), y, target, x0=cold.lower.x, adjoint0=cold.adjoint.x, accuracy=1e-6
    )
    assert warm.cost.gradients < cold.cost.gradients
    assert warm.cost.hessian_products < cold.cost.hessian_products
    assert float((warm.gradient - cold.gradient).norm()) <= warm.gradient_bound + cold.gradient_bound


def test_gradients_add_over_the_batch() -> None:
    y, target = data()
    for estimator in ADAPTIVE:
        whole = estimator.estimate(Chain(), SquaredError(), y, target, accuracy=1e-9).gradient
        parts = [
            estimator.estimate(Chain(), SquaredError(), y[i : i + 1], target[i : i + 1], accuracy=1e-9).gradient
            for i in range(len(y))
        ]
        assert torch.allclose(whole, torch.stack(parts).sum(0), atol=4e-9)


def test_finite_differences_put_theta_back() -> None:
    energy = Chain()
    y, target = data()
    before = ParameterVector(energy).get()
    FiniteDifferences().estimate(energy, SquaredError(), y, target)
    assert torch.equal(before, ParameterVector(energy).get())


def test_zero_slope_gives_zero_gradient() -> None:
    energy = Ridge()
    y, _ = data()
    target = y / (1 + energy.alpha.detach())
    for estimator in ADAPTIVE:
        result = estimator.estimate(energy, SquaredError(), y, target, x0=target, accuracy=1e-6)
        assert float(result.gradient.abs().max()) <= result.gradient_bound <= 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unrolled(steps=0), "steps: found 0"),
        (lambda: Unrolled(steps=3, truncate=4), "truncate: found 4"),
        (lambda: Unrolled(step_size=-1.0), "step_size: found -1.0"),
        (lambda: Unrolled(method="heavy"), "method: found 'heavy'"),  # type: ignore[arg-type]
        (lambda: OneStep(step_size=0.0), "step_size: found 0.0"),
        (lambda: FiniteDifferences(step=0.0), "step: found 0.0"),
        (lambda: ImplicitHypergradient(relative=2.0), "relative: found 2.0"),
        (lambda: ImplicitHypergradient(max_rounds=0), "max_rounds: found 0"),
    ],
)
def test_bad_options_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_one_step_needs_a_smoothness_constant() -> None:
    class Plain(Chain):
        def curvature(self, y: torch.Tensor) -> Curvature:
            return dataclasses.replace(super().curvature(y), smoothness=UNKNOWN_UPPER)

    y, target = data()
    with pytest.raises(ValueError, match="Plain: found no smoothness constant L"):
        OneStep().estimate(Plain(), SquaredError(), y, target, solver=NewtonCG())
    given = OneStep(step_size=0.1).estimate(Plain(), SquaredError(), y, target, solver=NewtonCG())
    assert math.isfinite(given.gradient_bound)
