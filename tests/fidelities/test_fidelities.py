"""Fidelities: values against formulas, constants against dense sampling, local bounds, errors."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import Fidelity, Huber, KullbackLeibler, LeastSquares, PseudoHuber, ResidualFidelity, StudentT

F64 = torch.float64
R = torch.linspace(-6, 6, 40001, dtype=F64)
ROBUST: list[type[ResidualFidelity]] = [Huber, PseudoHuber, StudentT]
Z, Y = rand((2, 1, 4, 3), 100), rand((2, 1, 4, 3), 101)


def test_least_squares() -> None:
    weights = 0.5 + rand((1, 1, 4, 3), 102)
    fidelity = LeastSquares(weights)
    expected = 0.5 * (weights * (Z - Y) ** 2).sum((1, 2, 3))
    assert torch.allclose(fidelity(Z, Y), expected)
    curvature = fidelity.curvature(Y)
    assert float(curvature.strong_convexity.value) == pytest.approx(float(weights.min()))
    assert float(curvature.smoothness.value) == pytest.approx(float(weights.max()))
    assert float(fidelity.second_variation(Z, Y, Z, torch.ones(2, dtype=F64)).abs().max()) == 0


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        (Huber, lambda r, s: torch.where(r.abs() <= s, r**2 / 2, s * r.abs() - s**2 / 2)),
        (PseudoHuber, lambda r, s: s**2 * (torch.sqrt(1 + (r / s) ** 2) - 1)),
        (StudentT, lambda r, s: s**2 / 2 * torch.log1p((r / s) ** 2)),
    ],
)
def test_robust_values(kind: type[ResidualFidelity], formula) -> None:  # type: ignore[no-untyped-def]
    fidelity = kind(2.0, 0.2)
    assert torch.allclose(fidelity(Z, Y), 2.0 * formula(Z - Y, torch.tensor(0.2, dtype=F64)).sum((1, 2, 3)))


def test_pseudo_huber_does_not_cancel_for_tiny_residuals() -> None:
    value = PseudoHuber(1.0, 1.0)(torch.full((1, 1), 1e-9, dtype=F64), torch.zeros(1, 1, dtype=F64))
    assert value.item() == pytest.approx(0.5e-18, rel=1e-12)


@pytest.mark.parametrize("kind", [PseudoHuber, StudentT])
def test_constants_are_sharp(kind: type[ResidualFidelity]) -> None:
    fidelity, scale = kind(1.0, 0.7), torch.tensor(0.7, dtype=F64)
    step = R[1] - R[0]
    bend = fidelity.bend(R, scale)
    assert fidelity.second_min - 1e-9 <= float(bend.min()) <= fidelity.second_min + 5e-3
    assert float(bend.max()) == pytest.approx(1.0)
    third = float((bend[1:] - bend[:-1]).abs().max() / step * scale)
    assert fidelity.third_max is not None
    assert 0.99 * fidelity.third_max <= third <= fidelity.third_max
    up, down = (fidelity.slope(R, scale * f) for f in (math.exp(1e-5), math.exp(-1e-5)))
    column = (up - down) / 2e-5
    steep = float((column[1:] - column[:-1]).abs().max() / step)
    assert fidelity.scale_slope is not None
    assert 0.98 * fidelity.scale_slope <= steep <= fidelity.scale_slope


def moved(fidelity: Fidelity, z: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """d/dtheta of <grad, v>, one row per sample."""
    parameters = [p for p in fidelity.parameters() if p.requires_grad]
    rows = []
    for i in range(len(z)):
        inner = (fidelity.grad(z[i : i + 1], y[i : i + 1]) * v[i : i + 1]).sum()
        rows.append(torch.stack(torch.autograd.grad(inner, parameters)))
    return torch.stack(rows)


def test_huber_counts_entries_that_cross_the_whole_parabola_twice() -> None:
    fidelity = Huber(1.0, 0.5, learn=("scale",))
    y = torch.zeros(1, 1, dtype=F64)
    z, other, v = torch.full((1, 1), 0.6, dtype=F64), torch.full((1, 1), -0.6, dtype=F64), torch.ones(1, 1, dtype=F64)
    radius = (z - other).abs()[0]
    change = (moved(fidelity, z, y, v) - moved(fidelity, other, y, v)).norm(dim=1)
    assert change.item() == pytest.approx(2 * 0.5 * math.log(10))
    assert float(fidelity.cross_variation(z, y, v, radius)) >= change.item()
    assert float(fidelity.column_variation(z, y, radius)) >= change.item()
    assert float(fidelity.cross_variation(z, y, v, torch.tensor([0.05], dtype=F64))) == 0
    assert float(fidelity.column_variation(z, y, torch.tensor([0.05], dtype=F64))) == 0
    assert float(fidelity.second_variation(z, y, v, torch.tensor([0.05], dtype=F64))) == 0


def test_huber_declares_that_its_hessian_has_no_lipschitz_constant() -> None:
    curvature = Huber(learn=("scale",)).curvature(Y)
    for constant in (curvature.hessian_lipschitz, curvature.cross_lipschitz):
        assert constant.declared
        assert float(constant.value) == math.inf
    assert float(Huber(learn=("weight",)).curvature(Y).cross_lipschitz.per_sample(Y).detach()[0]) < math.inf


@pytest.mark.parametrize("kind", ROBUST)
def test_outliers_pull_at_most_with_the_scale(kind: type[ResidualFidelity]) -> None:
    pull = kind(1.0, 0.3).slope(R, torch.tensor(0.3, dtype=F64)).abs()
    assert float(pull.max()) <= 0.3 * (1 + 1e-12)


@pytest.mark.parametrize("kind", ROBUST)
def test_unknown_names_are_refused(kind: type[ResidualFidelity]) -> None:
    with pytest.raises(ValueError, match=r"learn, bounds: found \['width'\]"):
        kind(learn=("width",))
    with pytest.raises(ValueError, match=r"\.scale: found -1"):
        kind(scale=-1.0)


def test_kullback_leibler_value() -> None:
    fidelity = KullbackLeibler(0.1, 2.0)
    s = Z + 0.1
    expected = 2.0 * (s - Y + Y * torch.log(Y / s)).sum((1, 2, 3))
    assert torch.allclose(fidelity(Z, Y), expected)
    exact = (Y - 0.1).clamp(min=0.0)
    assert torch.allclose(fidelity(exact, (exact + 0.1)), torch.zeros(2, dtype=F64), atol=1e-14)


def test_kullback_leibler_without_counts() -> None:
    fidelity, zero = KullbackLeibler(0.1), torch.zeros_like(Y)
    assert torch.allclose(fidelity(Z, zero), (Z + 0.1).sum((1, 2, 3)))
    assert bool(torch.isfinite(fidelity.grad(Z, zero)).all())
    assert float(fidelity.curvature(zero).smoothness.value.max()) == 0  # type: ignore[union-attr]


def test_kullback_leibler_is_twice_continuous_where_the_signal_vanishes() -> None:
    fidelity, y = KullbackLeibler(0.1), torch.full((1, 1), 0.5, dtype=F64)
    left, right = (torch.full((1, 1), e, dtype=F64) for e in (-1e-9, 1e-9))
    for function, slope in ((fidelity, 50.0), (fidelity.grad, 50.0), (fidelity.second, 2000.0)):
        assert abs(float((function(left, y) - function(right, y)).detach())) < 2.1e-9 * slope
    far = torch.full((1, 1), -3.0, dtype=F64)
    assert float(fidelity.second(far, y)) == pytest.approx(0.5 / 0.1**2)
    assert float(fidelity.second_variation(far, y, torch.ones_like(far), torch.tensor([1.0], dtype=F64))) >= 0


def test_kullback_leibler_constants_belong_to_each_sample() -> None:
    y = torch.tensor([[1.0, 3.0], [0.5, 0.2]], dtype=F64)
    curvature = KullbackLeibler(0.5, 2.0).curvature(y)
    assert curvature.smoothness.per_sample(y).tolist() == pytest.approx([2 * 3 / 0.25, 2 * 0.5 / 0.25])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="background: found 0"):
        KullbackLeibler(0)
    with pytest.raises(ValueError, match="expected counts >= 0"):
        KullbackLeibler()(Z, -Y)
