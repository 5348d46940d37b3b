"""Fixed points: plug-and-play with a linear contractive denoiser against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bilearn.curvature import Constant, Curvature
from bilearn.fixed_points import FixedPointMap, ProximalGradientMap
from bilearn.hypergradient import (
    EquilibriumHypergradient,
    FiniteDifferences,
    HypergradientEstimator,
    ImplicitHypergradient,
    TangentHypergradient,
    Unsymmetric,
    ZerothOrder,
)
from bilearn.losses import SquaredError
from bilearn.lower import Anderson, Broyden, NewtonCG, default_solver, minimize
from bilearn.operators import MatrixOperator
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.solution import Tolerance
from bilearn.status import Status
from bilearn.upper import LBFGSB, run

N, M, STEP = 9, 6, 0.8


def rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LinearDenoiser(nn.Module):
    """x -> W(theta) x with W = 0.95 sigmoid(theta_0) (K + theta_1 S), |K + theta_1 S| <= 1, not symmetric."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([2.0, 0.1], dtype=torch.float64))
        mixing = rand(N, N, seed=1)
        self.register_buffer("mixing", 0.7 * mixing / torch.linalg.matrix_norm(mixing, 2))
        self.register_buffer("shift", 0.3 * torch.roll(torch.eye(N, dtype=torch.float64), 1, 0))

    def matrix(self) -> Tensor:
        return 0.95 * torch.sigmoid(self.theta[0]) * (self.mixing + self.theta[1] * self.shift)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix().T


class LinearPnP(ProximalGradientMap):
    """Declares, besides its contraction, that T is affine in x: its Jacobian is constant, that of T_theta is 1-Lipschitz."""

    def curvature(self, y: Tensor) -> Curvature:
        known = super().curvature(y)
        return Curvature(known.strong_convexity, known.smoothness, Constant(0.0), Constant(1.0))


def operator() -> MatrixOperator:
    matrix = rand(M, N, seed=2) - 0.5
    return MatrixOperator(matrix / torch.linalg.matrix_norm(matrix, 2), (N,), (M,))


def pnp() -> LinearPnP:
    return LinearPnP(operator(), LinearDenoiser(), STEP, Constant(0.95))


def closed_form(model: LinearPnP, y: Tensor) -> Tensor:
    assert isinstance(model.denoiser, LinearDenoiser)
    basis = torch.eye(N, dtype=torch.float64)
    a = model.operator.A(basis).T
    w = model.denoiser.matrix()
    system = basis - w @ (basis - STEP * a.T @ a)
    return torch.linalg.solve(system, w @ (STEP * a.T @ y.T)).T


def data() -> tuple[Tensor, Tensor]:
    return rand(3, M, seed=3), rand(3, N, seed=4)


def exact_gradient(model: LinearPnP) -> Tensor:
    y, target = data()
    (slope,) = torch.autograd.grad((closed_form(model, y) - target).square().sum(), list(model.parameters()))
    return slope


@pytest.mark.parametrize("solver", [Anderson(), Broyden(), Anderson(memory=1), Broyden(memory=3)])
def test_solvers_reach_the_closed_form_with_a_valid_certificate(solver: Anderson | Broyden) -> None:
    model, (y, _) = pnp(), data()
    exact = closed_form(model, y).detach()
    for distance in (1e-2, 1e-10):
        solution = minimize(model, y, solver, tolerance=Tolerance(distance=distance))
        error = (solution.x - exact).norm(dim=1)
        assert bool((error <= solution.error).all())
        assert bool((solution.error <= distance).all())
        assert solution.certified


def test_acceleration_beats_the_plain_iteration() -> None:
    model, (y, _) = pnp(), data()
    goal = Tolerance(distance=1e-9)
    plain, x = 0, model.start(y)
    with torch.no_grad():
        while float(model.grad(x, y).norm(dim=1).max()) > 1e-9 * 0.05:
            x, plain = model.map(x, y), plain + 1
    for solver in (Anderson(), Broyden()):
        assert int(minimize(model, y, solver, tolerance=goal).steps.max()) < 0.6 * plain


@pytest.mark.parametrize("solver", [None, Broyden()])
@pytest.mark.parametrize("linear", [Unsymmetric(), Unsymmetric(Broyden(step_size=1.0))])
@pytest.mark.parametrize("accuracy", [1e-1, 1e-4, 1e-8])
def test_gradient_against_the_closed_form_and_its_bound(
    solver: Broyden | None, linear: Unsymmetric, accuracy: float
) -> None:
    model, (y, target) = pnp(), data()
    exact = exact_gradient(model)
    result = EquilibriumHypergradient(linear=linear).estimate(
        model, SquaredError(), y, target, solver=solver, accuracy=accuracy
    )
    assert float((result.gradient - exact).norm()) <= result.gradient_bound <= accuracy
    assert result.certified
    assert result.message == ""


def test_estimators_agree_and_the_symmetric_ones_do_not_pretend() -> None:
    model, (y, target) = pnp(), data()
    exact = exact_gradient(model)
    agreeing: list[HypergradientEstimator] = [
        EquilibriumHypergradient(relative=1e-8),
        FiniteDifferences(),
        ZerothOrder(directions=2, step=1e-4, distance=1e-13),
    ]
    for estimator in agreeing:
        gradient = estimator.estimate(model, SquaredError(), y, target).gradient
        assert float((gradient - exact).norm() / exact.norm()) < 1e-6
    symmetric = ImplicitHypergradient(max_rounds=2).estimate(model, SquaredError(), y, target, accuracy=1e-6)
    assert float((symmetric.gradient - exact).norm()) <= symmetric.gradient_bound
    with pytest.raises(ValueError, match="tangents need a symmetric derivative"):
        TangentHypergradient().estimate(model, SquaredError(), y, target)
    with pytest.raises(NotImplementedError, match="no symmetric Newton system"):
        minimize(model, y, NewtonCG())


def test_unknown_factor_gives_an_answer_without_bound() -> None:
    y, target = data()
    model = ProximalGradientMap(operator(), LinearDenoiser(), STEP)
    result = EquilibriumHypergradient().estimate(model, SquaredError(), y, target)
    assert torch.allclose(result.gradient, exact_gradient(pnp()), rtol=1e-4)
    assert result.gradient_bound == math.inf
    assert not result.certified
    assert default_solver(model, y) == Anderson()


class Tanh(FixedPointMap):
    """T(x) = tanh(W x + y) with |W| = rho: a one-layer equilibrium network."""

    def __init__(self, rho: float) -> None:
        super().__init__()
        weight = rand(4, 4, seed=5) - 0.5
        self.weight = nn.Parameter(rho * weight / torch.linalg.matrix_norm(weight, 2))

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight.T + y)

    def contraction(self, y: Tensor) -> Constant:
        return Constant(torch.linalg.matrix_norm(self.weight.detach(), 2))


def test_nonlinear_equilibrium_network_against_finite_differences() -> None:
    model = Tanh(0.9)
    y, target = rand(2, 4, seed=6), rand(2, 4, seed=7)
    gradient = EquilibriumHypergradient(fallback=1e-11).estimate(model, SquaredError(), y, target).gradient
    reference = FiniteDifferences().estimate(model, SquaredError(), y, target).gradient
    assert torch.allclose(gradient, reference, rtol=1e-6, atol=1e-8)


def test_a_map_that_expands_is_not_certified() -> None:
    class Double(FixedPointMap):
        def map(self, x: Tensor, y: Tensor) -> Tensor:
            return 2 * x + y + 1e3 * x**3

    y = 10 * rand(2, N, seed=8)
    solution = minimize(Double(), y, tolerance=Tolerance(gradient=1e-12), max_steps=40, throw=False)
    assert not bool((solution.status == Status.CONVERGED).all())
    assert bool(torch.isinf(solution.error).all())


def test_learning_through_the_objective() -> None:
    model, (y, _) = pnp(), data()
    wanted = torch.tensor([1.0, -0.2], dtype=torch.float64)
    with torch.no_grad():
        vector = ParameterVector(model)
        start = vector.get()
        vector.set(wanted)
        target = closed_form(model, y)
        vector.set(start)
    objective = ReducedObjective(model, y, target, estimator=EquilibriumHypergradient())
    state = run(LBFGSB(gradient_tolerance=1e-9), objective, start, max_steps=60)
    assert torch.allclose(state.best.theta, wanted, atol=1e-2)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"step_size: found 0\.0"):
        ProximalGradientMap(operator(), nn.Identity(), 0.0)
    with pytest.raises(NotImplementedError, match="must define map"):
        FixedPointMap().map(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(NotImplementedError, match="has no energy"):
        pnp()(torch.zeros(1, N), torch.zeros(1, M))
