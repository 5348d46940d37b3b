"""Regularizers: values against formulas, options, local bounds, potentials, errors."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn._spectral import Cosine, Fourier
from bilearn.regularizers import FiniteDifferences, Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov
from bilearn.regularizers.potentials import Potential, Quadratic, SmoothedAbsolute
from bilearn.testing.reference import dense_hessian

F64 = torch.float64
X = rand((2, 2, 5, 4), 120)
DOWN, RIGHT = FiniteDifferences(2)(X)
RIDGE = 0.5 * X.square().sum((1, 2, 3))


def total(t: Tensor) -> Tensor:
    return t.sum((1, 2, 3))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.3 * total(torch.sqrt(DOWN**2 + RIGHT**2 + 0.04)) + 0.1 * RIDGE),
        ({"bracket": True}, 0.3 * (total(torch.sqrt(DOWN**2 + RIGHT**2 + 0.04)) + 0.1 * RIDGE)),
        ({"isotropic": False}, 0.3 * total(torch.sqrt(DOWN**2 + 0.04) + torch.sqrt(RIGHT**2 + 0.04)) + 0.1 * RIDGE),
        (
            {"coupled": True},
            0.3 * torch.sqrt((DOWN**2 + RIGHT**2).sum(1) + 0.04).sum((1, 2)) + 0.1 * RIDGE,
        ),
        ({"axes": 1}, 0.3 * total(torch.sqrt(RIGHT**2 + 0.04)) + 0.1 * RIDGE),
    ],
    ids=["plain", "bracket", "anisotropic", "coupled", "signals"],
)
def test_smoothed_tv_values(options: dict[str, bool], expected: Tensor) -> None:
    assert torch.allclose(SmoothedTV(0.3, 0.1, 0.2, **options)(X), expected)  # type: ignore[arg-type]


def test_pixelwise_weight_map() -> None:
    weights = 0.1 + rand((1, 1, 5, 4), 121)
    expected = total(weights * torch.sqrt(DOWN**2 + RIGHT**2 + 0.04)) + 0.1 * RIDGE
    assert torch.allclose(SmoothedTV(weights, 0.1, 0.2)(X), expected)


def test_quadratic_regularizers() -> None:
    assert torch.allclose(Tikhonov(0.3)(X), 0.3 * RIDGE)
    assert torch.allclose(SquaredH1(0.3)(X), 0.15 * total(DOWN**2 + RIGHT**2))
    both = Sum(Tikhonov(0.3), SquaredH1(0.2))
    assert torch.allclose(both(X), Tikhonov(0.3)(X) + SquaredH1(0.2)(X))


def test_parameters_come_in_the_published_order() -> None:
    names = [n.split(".")[1] for n, _ in SmoothedTV().named_parameters()]
    assert names == ["alpha", "xi", "nu"]


@pytest.mark.parametrize("name", ["alpha", "xi", "nu"])
def test_every_parameter_changes_the_value(name: str) -> None:
    low, high = SmoothedTV(0.1, 0.1, 0.1), SmoothedTV(**{"alpha": 0.1, "xi": 0.1, "nu": 0.1, name: 0.2})
    assert bool((high(X) > low(X)).all())


def flux_change(regularizer: Regularizer, x: Tensor, other: Tensor, v: Tensor) -> Tensor:
    """2-norm over theta of the change of d/dtheta <grad R, v>, for one sample."""
    rows = []
    for point in (x, other):
        parameters = [p for p in regularizer.parameters() if p.requires_grad]
        parts = torch.autograd.grad((regularizer.grad(point) * v).sum(), parameters)
        rows.append(torch.cat([p.reshape(-1) for p in parts]))
    return (rows[0] - rows[1]).norm()


@pytest.mark.parametrize("weights", [torch.full((1, 1, 1, 9), 0.1, dtype=F64), torch.full((1,), 0.1, dtype=F64)])
def test_channels_that_share_a_weight_add_up(weights: Tensor) -> None:
    """Sixteen equal channels move together: the change in the shared weight is sixteen times that of one."""
    regularizer = SmoothedTV(weights, 1e-6, 1.0, learn=("alpha",))
    x = torch.zeros(1, 16, 1, 9, dtype=F64)
    direction = torch.tensor([1.0, -1.0] * 4 + [1.0], dtype=F64).expand(1, 16, 1, 9)
    other = x + 0.01 * direction
    radius = (other - x).norm().reshape(1)
    bound = regularizer.cross_variation(x, direction, radius)
    change = flux_change(regularizer, x, other, direction)
    assert float(change) <= float(bound)
    assert float(change) > 0.2 * float(bound)


def test_coupled_channels_take_one_weight_per_pixel() -> None:
    with pytest.raises(ValueError, match="alpha: found 2 channels, expected 1 where coupled=True"):
        SmoothedTV(torch.full((1, 2, 5, 4), 0.1), coupled=True)
    SmoothedTV(torch.full((1, 1, 5, 4), 0.1), coupled=True).grad(X)


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        (lambda: SquaredH1(0.3), Cosine(2)),
        (lambda: SquaredH1(0.3, boundary="periodic"), Fourier(2)),
        (lambda: Sum(SquaredH1(0.3), Tikhonov(0.1)), Cosine(2)),
        (lambda: Tikhonov(0.1), Cosine(2)),
        (lambda: SquaredH1(0.3, boundary="dirichlet"), None),
        (lambda: SmoothedTV(0.3), None),
        (lambda: Tikhonov(torch.full((1, 1, 5, 4), 0.1)), None),
    ],
)
def test_symbols_say_truly_whether_they_are_exact(make, exact: Fourier | Cosine | None) -> None:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        hessian = make().hessian(X)
        for basis in (Fourier(2), Cosine(2)):
            symbol = hessian.symbol(basis, X)
            assert symbol is not None
            assert float(symbol.values.min()) >= 0
            assert not symbol.exact or torch.allclose(basis.multiply(X, symbol.values), hessian(X), atol=1e-12)
            assert symbol.exact or basis != exact


@pytest.mark.parametrize(
    "make", [lambda: SmoothedTV(0.3, axes=1), lambda: SquaredH1(0.3, axes=1), lambda: Tikhonov(0.3)]
)
def test_tridiagonal_structure_is_the_hessian(make) -> None:  # type: ignore[no-untyped-def]
    x = rand((2, 6), 122)
    with torch.no_grad():
        hessian = make().hessian(x)
        dense, diagonal, off = dense_hessian(hessian, x), hessian.diagonal(), hessian.off_diagonal()
    assert torch.allclose(dense.diagonal(dim1=1, dim2=2), diagonal.expand_as(x))
    assert torch.allclose(dense.diagonal(1, 1, 2), off)


def test_reading_the_gradient_does_not_disturb_an_earlier_one() -> None:
    regularizer = SmoothedTV(0.3)
    with torch.no_grad():
        first = regularizer.grad(X)
        kept = first.clone()
        regularizer.grad(X + 1.0)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("potential", [SmoothedAbsolute(), Quadratic()])
def test_potential_derivatives(potential: Potential) -> None:
    nu = torch.tensor(0.3, dtype=F64)
    r = torch.linspace(1e-3, 4, 400, dtype=F64).requires_grad_(True)
    value = potential.value(r**2, nu)
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    first, cross = (f(r.detach() ** 2, nu) for f in (potential.first, potential.cross))
    assert torch.allclose(slope.detach(), first * r.detach())
    second = torch.autograd.grad(slope.sum(), r)[0] if slope.requires_grad else torch.zeros_like(r)
    assert torch.allclose(second, first + cross * r.detach() ** 2)
    assert float(first.max()) <= float(potential.first_max(nu))
    assert float(second.min()) >= float(potential.second_min(nu)) - 1e-12
    fresh = (r.detach() ** 2).clone()
    assert torch.allclose(potential.fill_first(fresh, nu), first)
    amplitude, root = potential.first_and_root((r.detach() ** 2).clone(), nu)
    assert torch.allclose(root**2 * amplitude, -cross)
    assert torch.allclose(amplitude, first)


def test_smoothed_absolute_bounds_hold_and_are_not_slack() -> None:
    """Both Lipschitz bounds against Hessians in the plane, over |u| >= r."""
    nu = torch.tensor(0.3, dtype=F64)
    potential = SmoothedAbsolute()
    generator = torch.Generator().manual_seed(0)

    def flux(u: Tensor, log_nu: Tensor) -> Tensor:
        return u / torch.sqrt(u.square().sum() + torch.exp(2 * log_nu))

    log_nu = nu.log()
    ratios = []
    for _ in range(60):
        u = torch.randn(2, generator=generator, dtype=F64) * 0.4
        r = u.norm()
        third = torch.autograd.functional.jacobian(
            lambda w: torch.autograd.functional.jacobian(lambda z: flux(z, log_nu), w, create_graph=True), u
        )
        angles = torch.linspace(0, math.pi, 60, dtype=F64)
        norms = [torch.linalg.matrix_norm(third @ torch.stack([a.cos(), a.sin()]), ord=2) for a in angles]
        sampled = float(torch.stack(norms).max())
        bound = float(potential.third(r, nu))
        assert sampled <= bound * (1 + 1e-9)
        ratios.append(sampled / bound)
        mixed = torch.autograd.functional.jacobian(
            lambda w: torch.autograd.functional.jacobian(lambda s: flux(w, s), log_nu, create_graph=True), u
        )
        assert float(torch.linalg.matrix_norm(mixed, ord=2)) <= float(potential.shape_slope(r, nu)) * (1 + 1e-9)
    assert max(ratios) > 0.5


def test_shape_column_is_the_derivative() -> None:
    nu, t = torch.tensor(0.3, dtype=F64), rand((7,), 123)
    potential = SmoothedAbsolute()
    difference = (potential.first(t, nu * math.exp(1e-6)) - potential.first(t, nu * math.exp(-1e-6))) / 2e-6
    assert torch.allclose(potential.shape_column(t, nu), difference, rtol=1e-8)
    assert torch.allclose(Potential.shape_column(potential, t, nu), potential.shape_column(t, nu))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"learn: found \['beta'\], expected names out of"):
        SmoothedTV(learn=("beta",))
    with pytest.raises(ValueError, match=r"bounds: found \['beta'\]"):
        SmoothedTV(bounds={"beta": (0.0, 1.0)})
    with pytest.raises(ValueError, match=r"SmoothedTV\.nu: found 2"):
        SmoothedTV(nu=2.0)
    with pytest.raises(ValueError, match="Sum: found no terms"):
        Sum()
    with pytest.raises(NotImplementedError, match=r"Regularizer must define forward"):
        Regularizer()(X)
