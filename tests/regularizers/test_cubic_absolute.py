"""The piecewise cubic smoothed absolute value: formulas, smoothness at the joint and at zero, constants."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower.minimize import minimize
from bilearn.lower.newton_cg import NewtonCG
from bilearn.regularizers import CubicAbsolute, Potential, SmoothedTV
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

F64 = torch.float64
NU = torch.tensor(0.3, dtype=F64)
PHI = CubicAbsolute()


def test_values_and_derivatives_are_those_of_the_paper() -> None:
    r = torch.tensor([0.0, 1e-9, 0.1, 0.3, 0.31, 2.0], dtype=F64)
    cubic, linear = -(r**3) / (3 * 0.09) + r**2 / 0.3, r - 0.1
    assert torch.allclose(PHI.value(r**2, NU), torch.where(r <= 0.3, cubic, linear), rtol=1e-13)
    first, cross = PHI.first(r**2, NU), PHI.cross(r**2, NU)
    assert torch.allclose(first, torch.where(r <= 0.3, 2 / 0.3 - r / 0.09, 1 / r.clamp(min=0.3)), rtol=1e-13)
    expected = torch.where(r <= 0.3, -1 / (0.09 * r.clamp(min=1e-30)), -1 / r.clamp(min=0.1) ** 3)
    assert torch.allclose(cross[1:], expected[1:], rtol=1e-12)
    assert float(cross[0]) == 0.0
    amplitude, root = PHI.first_and_root((r**2).clone(), NU)
    assert torch.allclose(root**2 * amplitude, -cross, rtol=1e-12)
    assert torch.equal(amplitude, first)
    assert torch.equal(PHI.fill_first((r**2).clone(), NU), first)


def test_autograd_is_finite_at_zero_and_agrees() -> None:
    u = torch.tensor([0.0, 1e-8, 0.05, -0.2, 0.299, 0.5], dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(PHI.value(u * u, NU).sum(), u, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), u)
    r = u.detach().abs()
    assert torch.allclose(slope.detach(), PHI.first(r**2, NU) * u.detach(), rtol=1e-12)
    assert torch.allclose(second, torch.where(r <= NU, 2 / NU - 2 * r / NU**2, 0.0), rtol=1e-12)
    assert float(second.max()) <= float(PHI.first_max(NU))
    assert float(second.min()) >= float(PHI.second_min(NU))


def test_bounds_hold_and_are_not_slack() -> None:
    """Both Lipschitz bounds against Hessians in the plane, over |u| >= r."""
    generator = torch.Generator().manual_seed(0)

    def flux(u: Tensor, log_nu: Tensor) -> Tensor:
        return PHI.first(u.square().sum(), log_nu.exp()) * u

    third_ratios, slope_ratios = [], []
    for _ in range(40):
        u = torch.randn(2, generator=generator, dtype=F64) * 0.3
        third = torch.autograd.functional.jacobian(
            lambda w: torch.autograd.functional.jacobian(lambda z: flux(z, NU.log()), w, create_graph=True), u
        )
        angles = torch.linspace(0, math.pi, 60, dtype=F64)
        norms = [torch.linalg.matrix_norm(third @ torch.stack([a.cos(), a.sin()]), ord=2) for a in angles]
        mixed = torch.autograd.functional.jacobian(
            lambda w: torch.autograd.functional.jacobian(lambda s: flux(w, s), NU.log(), create_graph=True), u
        )
        third_ratios.append(float(torch.stack(norms).max() / PHI.third(u.norm(), NU)))
        size = torch.linalg.matrix_norm(mixed.reshape(2, 2), ord=2)
        assert float(size) <= float(PHI.shape_slope(u.norm(), NU)) * (1 + 1e-9)
        slope_ratios.append(float(size) * float(NU) / 2)
    assert 0.99 < max(third_ratios) <= 1 + 1e-9
    assert min(third_ratios) > 0.99
    assert max(slope_ratios) > 0.7


def test_shape_column_is_the_derivative_in_log_nu() -> None:
    t = torch.tensor([0.0, 1e-4, 0.02, 0.08, 0.3, 2.0], dtype=F64)
    difference = (PHI.first(t, NU * math.exp(1e-6)) - PHI.first(t, NU * math.exp(-1e-6))) / 2e-6
    assert torch.allclose(PHI.shape_column(t, NU), difference, rtol=1e-7, atol=1e-9)
    assert torch.allclose(Potential.shape_column(PHI, t, NU), PHI.shape_column(t, NU))


def test_tv_value_is_the_formula_with_complex_coupling() -> None:
    x = rand((2, 2, 5, 4), 11)
    regularizer = SmoothedTV(0.3, 0.1, 0.3, coupled=True, direction="forward", potential=CubicAbsolute())
    z = torch.complex(x[:, 0], x[:, 1])
    down = torch.cat((z[:, 1:] - z[:, :-1], torch.zeros_like(z[:, :1])), 1)
    right = torch.cat((z[:, :, 1:] - z[:, :, :-1], torch.zeros_like(z[:, :, :1])), 2)
    r = torch.sqrt(down.abs() ** 2 + right.abs() ** 2)
    rho = torch.where(r <= 0.3, -(r**3) / 0.27 + r**2 / 0.3, r - 0.1)
    expected = 0.3 * rho.sum((1, 2)) + 0.05 * x.square().sum((1, 2, 3))
    assert torch.allclose(regularizer(x), expected, rtol=1e-13)


@pytest.mark.parametrize("nu", [1e-1, 1e-3])
def test_newton_converges_in_few_steps_on_blocky_images(nu: float) -> None:
    """Flat regions sit at r = 0, where the second derivative of the flux direction is infinite."""
    y = torch.zeros(1, 2, 16, 16, dtype=F64)
    y[:, 0, 4:12, 4:12] = 1.0
    y = y + 0.05 * (rand((1, 2, 16, 16), 3) - 0.5)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 1e-3, nu, coupled=True, potential=CubicAbsolute()))
    solution = minimize(energy, y, NewtonCG(), tolerance=Tolerance(distance=1e-8))
    assert float(solution.error.max()) <= 1e-8
    assert int(solution.steps.max()) <= 20
