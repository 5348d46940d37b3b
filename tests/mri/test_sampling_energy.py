"""Energies weighted by a pattern: closed forms, certificates, and what a pattern of the user's own has to provide."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor, nn

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.linear_systems import ConjugateGradient, Direct, default_method, solve_linear
from bilearn.losses import SquaredError
from bilearn.lower import ClosedForm, NewtonCG, default_solver, minimize
from bilearn.mri import FreePattern, KSpaceFidelity, Linear, Odds, Pattern, Share, Square, Weighting, sampling_energy
from bilearn.regularizers import SmoothedTV, SquaredH1, Sum, Tikhonov
from bilearn.solution import Tolerance
from bilearn.testing import check_energy

GRID = (6, 5)


class Lines(Pattern):
    """What a user writes: one degree for each row of k-space."""

    def __init__(self, certified: bool) -> None:
        super().__init__()
        self.lines = nn.Parameter(0.2 + 0.6 * rand(GRID[:1], 1))
        self.certified = certified

    def forward(self) -> Tensor:
        return self.lines[:, None].expand(GRID).clone()

    def row_norms(self) -> Tensor:
        return torch.ones(GRID, dtype=torch.float64) if self.certified else super().row_norms()


def data(shape: tuple[int, ...] = GRID) -> tuple[Tensor, Tensor]:
    x = rand((2, 2, *shape), 2)
    return x, torch.randn((2, 2, *shape), generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("weighting", [Square(), Linear(), Odds(), Share(0.0), Share(100.0)])
def test_slopes(weighting: Weighting) -> None:
    s = (0.05 + 0.9 * rand((7,), 4)).requires_grad_(True)
    (slope,) = torch.autograd.grad(weighting(s).sum(), s)
    assert torch.allclose(weighting.slope(s.detach()), slope, rtol=1e-13)
    assert bool((slope >= 0).all())


@pytest.mark.parametrize("q", [0.0, 1.0, 100.0])
def test_a_part_of_a_sample_counts_no_more_than_its_part(q: float) -> None:
    s, h = torch.linspace(0, 1, 101, dtype=torch.float64), torch.linspace(0, q, 50, dtype=torch.float64)[:, None]
    b = Share(q)(s)
    effect = b * (1 + h) / (1 + b * h)
    assert bool((effect <= s.square() + 1e-14).all())
    assert torch.allclose(effect[-1], s.square(), rtol=1e-12)
    assert torch.equal(Share(0.0)(s), Square()(s))
    assert Square().steeper(q) == Share(7.0).steeper(q) == Share(q)
    assert Linear().steeper(q) == Linear()


def test_steepness_is_a_finite_number() -> None:
    with pytest.raises(ValueError, match="q: found -1"):
        Share(-1.0)


@pytest.mark.parametrize(("weighting", "slope"), [(Square(), lambda s: 2 * s), (Odds(), lambda s: (1 - s) ** -2)])
def test_ridge_has_a_closed_form(weighting: Weighting, slope) -> None:  # type: ignore[no-untyped-def]
    """x = F^-1[b y/(b + eps)], so that d xhat_k/d s_k = b' eps y_k/(b + eps)^2 in k-space, where |.| is the same."""
    s, eps = 0.1 + 0.8 * rand(GRID, 5), 0.3
    energy = sampling_energy(FreePattern(s), Tikhonov(eps, learn=False), weighting)
    target, y = data()
    assert isinstance(default_solver(energy, y), ClosedForm)
    b = weighting(s)
    expected = b / (b + eps) * y
    found = minimize(energy, y, tolerance=Tolerance(distance=1e-10))
    assert found.certified
    assert torch.allclose(energy.operator.A(found.x), expected, atol=1e-13)
    result = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    residual = expected - energy.operator.A(target)
    gradient = (2 * residual * slope(s) * eps * y / (b + eps) ** 2).sum((0, 1))
    assert float((result.gradient - gradient.flatten()).norm()) <= result.gradient_bound
    assert result.gradient_bound <= 1e-9
    assert result.certified


def test_periodic_h1_is_solved_in_fourier() -> None:
    energy = sampling_energy(FreePattern(rand(GRID, 6)), Sum(SquaredH1(0.2, boundary="periodic"), Tikhonov(0.1)))
    _, y = data()
    assert isinstance(default_solver(energy, y), ClosedForm)
    assert float(minimize(energy, y, tolerance=Tolerance(gradient=1e-12)).gradient_norm.max()) < 1e-12


@pytest.mark.parametrize(("grid", "small"), [((8, 8), True), ((16, 16), False)])
def test_small_samples_are_factorized_and_large_ones_preconditioned(grid: tuple[int, ...], small: bool) -> None:
    energy = sampling_energy(FreePattern(rand(grid, 7)), SmoothedTV(0.02, 1e-2, 1e-2, coupled=True))
    _, y = data(grid)
    hessian = energy.hessian(energy.start(y), y)
    assert isinstance(default_method(hessian), Direct) == small
    assert hessian.preconditioner() is not None
    assert isinstance(default_solver(energy, y), NewtonCG)
    found = minimize(energy, y, tolerance=Tolerance(distance=1e-9))
    assert found.converged
    assert found.certified
    assert int(found.steps.max()) < 30


def test_the_preconditioner_pays() -> None:
    """Weights from 1 to 1e-4: conjugate gradients in Fourier against without."""
    generator = torch.Generator().manual_seed(8)
    s = torch.where(torch.rand(16, 16, generator=generator) < 0.3, 1.0, 0.01)
    energy = sampling_energy(FreePattern(s), SmoothedTV(1e-3, 1e-4, 0.5, coupled=True))
    x, y = data((16, 16))
    hessian, rhs = energy.hessian(x, y), rand(tuple(x.shape), 9)
    steps = [
        int(solve_linear(hessian, rhs, method=ConjugateGradient(preconditioned), tolerance=1e-6).steps.max())
        for preconditioned in (True, False)
    ]
    assert 4 * steps[0] < steps[1]


def test_turning_the_phase_turns_the_reconstruction() -> None:
    """TV that couples real and imaginary part knows no preferred phase."""
    energy = sampling_energy(FreePattern(rand(GRID, 10)), SmoothedTV(0.1, 0.1, 0.05, coupled=True))
    _, y = data()

    def turned(v: Tensor) -> Tensor:
        c, s = math.cos(0.7), math.sin(0.7)
        return torch.stack((c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1]), 1)

    first, second = (minimize(energy, data, tolerance=Tolerance(distance=1e-11)).x for data in (y, turned(y)))
    assert torch.allclose(turned(first), second, atol=1e-10)


@pytest.mark.parametrize("certified", [True, False])
def test_a_pattern_of_your_own(certified: bool) -> None:
    energy = sampling_energy(Lines(certified), SmoothedTV(0.1, 0.3, 0.2, learn=(), coupled=True))
    target, y = data()
    check_energy(energy, target, y)
    result = ImplicitHypergradient(fallback=1e-10).estimate(energy, SquaredError(), y, target, accuracy=1e-8)
    assert result.certified == certified
    assert math.isfinite(result.gradient_bound) == certified
    lines = energy.get_parameter("fidelity.pattern.lines")

    def value(step: float) -> float:
        with torch.no_grad():
            lines[2] += step
            x = minimize(energy, y, tolerance=Tolerance(distance=1e-11)).x
            lines[2] -= step
        return float((x - target).square().sum())

    difference = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float(result.gradient[2]) == pytest.approx(difference, rel=1e-6)


def test_the_norms_of_a_free_pattern_are_exact() -> None:
    pattern, size = FreePattern(rand(GRID, 11)), rand((3, *GRID), 12)
    jacobian = torch.eye(30, dtype=torch.float64)
    spectral = torch.stack([torch.linalg.matrix_norm(jacobian @ torch.diag(v.flatten()), 2) for v in size])
    assert torch.allclose(pattern.scaled_norm(size), spectral)
    assert bool((Pattern.scaled_norm(pattern, size) >= spectral).all())
    assert float(FreePattern(rand(GRID, 11), learn=False).scaled_norm(size).max()) == 0.0


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"bounds: found lower -1\.0, expected a number >= 0"):
        FreePattern(torch.zeros(3), (-1.0, 1.0))
    fidelity = KSpaceFidelity(FreePattern(torch.ones(4, 4)))
    with pytest.raises(
        ValueError, match=r"pattern: found a grid of shape \(4, 4\) for k-space of shape \(1, 2, 5, 5\)"
    ):
        fidelity(torch.zeros(1, 2, 5, 5), torch.zeros(1, 2, 5, 5))
    with pytest.raises(NotImplementedError, match="Pattern must define forward"):
        Pattern()()
