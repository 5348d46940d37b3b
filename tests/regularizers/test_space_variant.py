"""Space-variant TV: the formula, its limits, the operator, exponents below 1, and the estimated maps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import (
    FiniteDifferences,
    OrientedDifferences,
    PowerAbsolute,
    SmoothedTV,
    SpaceVariantTV,
    fit_generalized_gaussian,
    gradient_maps,
)
from bilearn.variational import VariationalEnergy

F64 = torch.float64
X = rand((2, 2, 6, 5), 2)
MAPS: dict[str, Any] = {
    "alpha": 0.1 + rand((1, 1, 6, 5), 3),
    "angle": 3 * rand((1, 1, 6, 5), 4),
    "ratio": 0.2 + 0.8 * rand((1, 1, 6, 5), 5),
    "exponent": 1 + rand((1, 1, 6, 5), 6),
}


def test_value_is_the_formula() -> None:
    rows, columns = FiniteDifferences(2)(X)
    cos, sin = torch.cos(MAPS["angle"]), torch.sin(MAPS["angle"])
    along, across = cos * columns + sin * rows, cos * rows - sin * columns
    square = along**2 + (MAPS["ratio"] * across) ** 2 + 0.2**2
    expected = (MAPS["alpha"] * square ** (MAPS["exponent"] / 2)).sum((1, 2, 3)) + 0.05 * X.square().sum((1, 2, 3))
    assert torch.allclose(SpaceVariantTV(**MAPS, xi=0.1, nu=0.2)(X), expected, rtol=1e-13)


@pytest.mark.parametrize("coupled", [False, True])
def test_limits(coupled: bool) -> None:
    plain = SmoothedTV(0.3, 0.1, 0.2, coupled=coupled)
    assert torch.allclose(SpaceVariantTV(0.3, 1.1, 1.0, 1.0, 0.1, 0.2, coupled=coupled)(X), plain(X), rtol=1e-13)
    stripes = torch.sin(3 * torch.arange(6, dtype=F64))[:, None].expand(1, 1, 6, 5)
    values = {angle: float(SpaceVariantTV(1.0, angle, 0.1, nu=1e-6)(stripes).detach()) for angle in (0.0, math.pi / 2)}
    assert values[0.0] == pytest.approx(0.1 * values[math.pi / 2], rel=1e-2)
    turned = SpaceVariantTV(1.0, math.pi, 0.1, nu=1e-6)(stripes)
    assert float(turned.detach()) == pytest.approx(values[0.0], rel=1e-12)


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_adjoint_norm_and_diagonal(boundary: str, direction: str) -> None:
    bounds = {"angle": (-7.0, 7.0), "ratio": (1e-2, 1.0)}
    operator = OrientedDifferences(MAPS["angle"], MAPS["ratio"], (), bounds, boundary, direction)  # type: ignore[arg-type]
    unit = torch.eye(30, dtype=F64).reshape(30, 1, 6, 5)
    matrix = torch.cat([field.flatten(1).T for field in operator(unit)])
    adjoint = torch.cat(
        [operator.adjoint((unit, 0 * unit)).flatten(1).T, operator.adjoint((0 * unit, unit)).flatten(1).T], 1
    )
    assert torch.allclose(adjoint, matrix.T, atol=1e-15)
    assert float(torch.linalg.matrix_norm(matrix, ord=2)) ** 2 <= operator.norm_squared
    rows = torch.stack((matrix[:30], matrix[30:]), 1)
    assert float(torch.linalg.matrix_norm(rows, ord=2).max()) <= operator.local_norm
    buffer = [torch.empty_like(X), torch.empty_like(X)]
    operator.fill(buffer, X)
    assert all(torch.equal(a, b) for a, b in zip(buffer, operator(X), strict=True))
    assert torch.allclose(operator.add_adjoint(X.clone(), buffer), X + operator.adjoint(buffer), atol=1e-14)


@torch.no_grad()
def test_bounds_of_the_power_potential_hold_on_a_dense_grid() -> None:
    r = torch.linspace(0, 4, 4001, dtype=F64)
    nu, step = torch.tensor(0.3, dtype=F64), 1e-3
    for p in (0.5, 1.0, 1.4, 2.0):
        potential = PowerAbsolute(p, bounds=(0.1, 2.0))
        assert potential.convex == (p >= 1)
        slope = r * potential.first(r * r, nu)
        bend = (slope[1:] - slope[:-1]) / step
        assert float(bend.min()) >= float(potential.second_min(nu)) - 1e-9
        assert (float(bend.min()) < 0) == (p < 1)
        assert float(bend.max()) <= float(potential.first_max(nu)) * (1 + 1e-9)
        third = (bend[1:] - bend[:-1]).abs() / step
        assert bool((third <= potential.third(r[:-2], nu) * (1 + 1e-3) + 1e-6).all())
        size = torch.flip(torch.cummax(torch.flip(third * r[:-2], (0,)), 0).values, (0,))
        assert bool((size <= potential.third_times_size(r[:-2], nu) * (1 + 1e-3) + 1e-6).all())
        up, down = (PowerAbsolute(p + e, bounds=(0.1, 2.0)) for e in (0.0, -1e-6))
        column = r * (up.first(r * r, nu) - down.first(r * r, nu)) / 1e-6
        assert torch.allclose(column, r * potential.exponent_column(r * r, nu), rtol=1e-4, atol=1e-5)
        steep = (column[1:] - column[:-1]).abs() / step
        assert bool((steep <= potential.exponent_slope(r[:-1], r[1:], nu) * (1 + 1e-4)).all())


def test_exponents_below_one_are_never_certified() -> None:
    options: dict[str, Any] = {"xi": 0.5, "nu": 0.2, "bounds": {"exponent": (0.1, 2.0)}}
    y = rand((2, 1, 6, 5), 7)
    for exponent, certified in ((1.0, True), (0.99, False)):
        energy = VariationalEnergy(LeastSquares(), SpaceVariantTV(0.05, exponent=exponent, **options))
        assert energy.curvature(y).strong_convexity.declared == certified
        solution = minimize(energy, y)
        assert solution.certified == certified
        assert float(energy.grad(solution.x, y).detach().norm()) < 1e-2
    mixed = torch.ones(6, 5, dtype=F64)
    mixed[3, 2] = 0.9
    assert not SpaceVariantTV(exponent=mixed, **options).curvature(y).strong_convexity.known


def test_maps_have_certified_hypergradients() -> None:
    options: dict[str, Any] = {"learn": ("alpha", "angle", "ratio", "exponent"), "xi": 0.3, "nu": 0.2}
    energy = VariationalEnergy(LeastSquares(), SpaceVariantTV(**{**MAPS, "alpha": 0.2 * MAPS["alpha"]}, **options))
    y, target = rand((2, 1, 6, 5), 8), rand((2, 1, 6, 5), 9)
    objective = ReducedObjective(energy, y, target, SquaredError(), estimator=ImplicitHypergradient())
    theta = objective.parameters.get()
    exact, rough = objective.hypergradient(theta, 1e-9), objective.hypergradient(theta, 1e-3)
    assert exact.certified
    assert exact.gradient is not None
    assert rough.gradient is not None
    assert float((exact.gradient - rough.gradient).norm()) <= rough.gradient_bound + exact.gradient_bound < math.inf
    for slot in objective.parameters.slots:
        step = torch.zeros_like(theta)
        step[slot.start + 17] = 1e-4
        difference = (objective.value(theta + step, 1e-12).value - objective.value(theta - step, 1e-12).value) / 2e-4
        assert float(exact.gradient[slot.start + 17]) == pytest.approx(difference, rel=1e-6, abs=1e-9)


def draw(exponent: float, covariance: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(2, n, 1) samples of the distribution: q^(p/2)/2 is Gamma(2/p) distributed, the direction uniform."""
    torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
    gamma = torch.distributions.Gamma(torch.tensor(2 / exponent, dtype=F64), torch.tensor(1.0, dtype=F64))
    radius = (2 * gamma.sample((count,))) ** (1 / exponent)
    angle = 2 * math.pi * torch.rand(count, generator=generator, dtype=F64)
    direction = torch.stack((torch.cos(angle), torch.sin(angle)))
    return (torch.linalg.cholesky(covariance) @ (radius * direction))[..., None]


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_the_distribution_of_samples_is_recovered(exponent: float) -> None:
    covariance = torch.tensor([[2.0, 0.8], [0.8, 0.5]], dtype=F64)
    samples = draw(exponent, covariance, 20000, torch.Generator().manual_seed(0))
    found, shape = fit_generalized_gaussian(samples, [1.0, 1.25, 1.5, 1.75, 2.0], 1e-6)
    assert float(shape) == exponent
    assert torch.allclose(found[:, 0], torch.tensor([2.0, 0.8, 0.5], dtype=F64), rtol=0.05)


@pytest.mark.parametrize("patches", [False, True])
def test_maps_of_stripes_follow_the_stripes(patches: bool) -> None:
    rows, columns = torch.meshgrid(*(torch.arange(16, dtype=F64),) * 2, indexing="ij")
    left = torch.sin(1.3 * rows)
    right = torch.sin(0.9 * (columns - rows))
    image = torch.where(columns < 8, left, right)[None, None]
    maps = gradient_maps(image, 8 if patches else 5, patches)
    assert maps.angle.shape == ((1, 1, 2, 2) if patches else (1, 1, 16, 16))
    first, last = (maps.angle[..., 0], maps.angle[..., 1]) if patches else (maps.angle[..., 2], maps.angle[..., 13])
    assert bool((torch.sin(first).abs() < 0.1).all())
    assert bool(((last - math.pi / 4).abs() < 0.2).all())
    assert float(maps.ratio[..., 0].max()) < 0.1
    assert float(maps.ratio.max()) <= 1
    options: dict[str, Any] = {"alpha": 1.0, "nu": 1e-3, "xi": 1e-7}
    if not patches:
        guided = SpaceVariantTV(angle=maps.angle, ratio=maps.ratio.clamp(0.05, 1.0), **options)(image)
        assert float(guided.detach()) < 0.5 * float(SmoothedTV(**options)(image).detach())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"learn, bounds: found \['theta'\]"):
        SpaceVariantTV(learn=("theta",))
    with pytest.raises(ValueError, match="bounds of the ratio: found upper 2"):
        SpaceVariantTV(bounds={"ratio": (0.1, 2.0)})
    with pytest.raises(ValueError, match="bounds of the exponent"):
        SpaceVariantTV(bounds={"exponent": (0.0, 2.0)})
    with pytest.raises(ValueError, match="angle: found 2 channels"):
        SpaceVariantTV(angle=torch.zeros(1, 2, 6, 5), coupled=True)
    with pytest.raises(ValueError, match=r"x: found images of \(5, 6\) pixels, expected \(6, 5\) like the map 'angle'"):
        SpaceVariantTV(angle=MAPS["angle"])(X.transpose(-1, -2))
    with pytest.raises(ValueError, match="window: found 4, expected an odd"):
        gradient_maps(X, 4)
    with pytest.raises(ValueError, match="window: found patches of 4"):
        gradient_maps(X, 4, patches=True)
    with pytest.raises(ValueError, match="exponents: found none"):
        gradient_maps(X, 3, exponents=())
