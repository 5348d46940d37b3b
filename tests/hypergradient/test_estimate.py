from __future__ import annotations

import pytest
import torch
from toy_energies import Chain, WeightMap, chain_reference, data

from bilearn.curvature import UNKNOWN_UPPER, Curvature
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.hypergradient.bounds import adjoint_bound, adjoint_estimate
from bilearn.hypergradient.lower_stage import LowerStage
from bilearn.hypergradient.point import Point
from bilearn.linear_systems import solve_linear
from bilearn.losses import SquaredError
from bilearn.lower.gradient_descent import GradientDescent
from bilearn.parameters import ParameterVector

LOSS = SquaredError(0.7)


class Undeclared(Chain):
    """Strongly convex with a known constant; nothing is known of its higher derivatives."""

    def curvature(self, y: torch.Tensor) -> Curvature:
        known = super().curvature(y)
        return Curvature(known.strong_convexity, known.smoothness, UNKNOWN_UPPER, UNKNOWN_UPPER)


@pytest.mark.parametrize("energy", [Chain(), Undeclared()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("relative", [0.3, 1e-2, 1e-5])
def test_estimate_covers_the_error_and_meets_the_request(energy: Chain, relative: float) -> None:
    y, target = data()
    exact = chain_reference(LOSS)
    accuracy = relative * float(exact.norm())
    result = ImplicitHypergradient(error="estimate").estimate(energy, LOSS, y, target, accuracy=accuracy)
    assert float((result.gradient - exact).norm()) <= result.gradient_bound <= accuracy
    assert not result.certified
    assert result.message == ""
    assert result.cost.hessian_products >= 2 * len(y)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-3])
def test_estimate_lies_between_the_error_and_the_bound(tolerance: float) -> None:
    energy, (y, target) = Chain(), data()
    stage = LowerStage.of(energy, y, GradientDescent(), y)
    vector = ParameterVector(energy)
    with torch.no_grad():
        point = Point.at(stage, LOSS, target, vector, stage.solve(y, tolerance))
        size = point.slope.flatten(1).norm(dim=1)
        q = solve_linear(point.hessian, point.slope, mu=stage.mu, tolerance=1e-10 * size).x
        zero, radius = torch.zeros_like(size), point.lower.error
        estimate, bound = adjoint_estimate(point, q, zero, radius), adjoint_bound(point, q, zero, radius)
        gradient = -vector.flatten(energy.cross_vjp(point.x, y, q, vector.parameters))
    error = float((gradient - chain_reference(LOSS)).norm())
    assert error <= estimate.total
    assert estimate.lower < 0.5 * bound.lower
    assert estimate.rounding == bound.rounding


def test_estimate_asks_less_of_the_lower_level() -> None:
    y, target = data()
    accuracy = 1e-4 * float(chain_reference(LOSS).norm())
    reached = {
        error: float(
            ImplicitHypergradient(error=error)
            .estimate(Chain(), LOSS, y, target, solver=GradientDescent(), accuracy=accuracy)
            .lower.error.max()
        )
        for error in ("rigorous", "estimate")
    }
    assert reached["estimate"] > 2 * reached["rigorous"]


def test_estimate_with_many_parameters() -> None:
    energy = WeightMap(40, declare_norm=False)
    y, target = data(40)
    exact = energy.gradient(y, target)
    result = ImplicitHypergradient(error="estimate").estimate(energy, SquaredError(), y, target, accuracy=1e-6)
    assert float((result.gradient - exact).norm()) <= result.gradient_bound <= 1e-6
    assert not result.certified


def test_error_option_is_checked() -> None:
    with pytest.raises(ValueError, match="found 'guess', expected 'rigorous' or 'estimate'"):
        ImplicitHypergradient(error="guess")  # type: ignore[arg-type]
