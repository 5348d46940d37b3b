"""``check_energy`` finds what is wrong: each energy below breaks one promise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from registry import rand
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Apply, Energy, Hessian
from bilearn.testing import check_energy

X, Y = rand((2, 5), 30), rand((2, 5), 31)


class Quartic(Energy):
    """sum (x - y)^2/2 + w x^4/12: mu = 1, nothing else bounded over all x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (0.5 * (x - y) ** 2 + self.w * x**4 / 12).sum(1)

    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.0))

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        return 8 * torch.finfo(x.dtype).eps * ((1 + self.w * x**2) * x.abs() + y.abs()).detach().norm(dim=1)


class MixesSamples(Quartic):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, y) + 1e-3 * x.mean()


class WrongGradient(Quartic):
    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        return 1.001 * super().grad(x, y)


class SkewHessian(Hessian):
    def __init__(self, hessian: Hessian) -> None:
        self.hessian = hessian

    def __call__(self, v: Tensor) -> Tensor:
        return self.hessian(v) + 1e-3 * v.roll(1, -1)

    def select(self, index: Tensor) -> Hessian:
        return SkewHessian(self.hessian.select(index))


class WrongHessian(Quartic):
    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        return SkewHessian(super().hessian(x, y))


class HalfSolver(SkewHessian):
    def __call__(self, v: Tensor) -> Tensor:
        return self.hessian(v)

    def select(self, index: Tensor) -> Hessian:
        return HalfSolver(self.hessian.select(index))

    def direct(self) -> Apply:
        return lambda v: 0.5 * v


class WrongDirect(Quartic):
    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        return HalfSolver(super().hessian(x, y))


class WrongCross(Quartic):
    def cross_vjp(self, x: Tensor, y: Tensor, v: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
        return tuple(-part for part in super().cross_vjp(x, y, v, parameters))


class WrongColumns(Quartic):
    def cross_columns(self, x: Tensor, y: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        return 2 * super().cross_columns(x, y, parameters)


class TooConvex(Quartic):
    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.01))


class TooSmooth(Quartic):
    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.0), Constant(1.0))


class TooFlat(Quartic):
    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.0), hessian_lipschitz=Constant(0.0))


class TooStill(Quartic):
    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.0), cross_lipschitz=Constant(0.0))


class TooExact(Quartic):
    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(_batch.norm(x))


class Writes(Quartic):
    def start(self, y: Tensor) -> Tensor:
        return y


def test_a_right_energy_passes() -> None:
    check_energy(Quartic(), X, Y)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (MixesSamples(), "value of sample 0 alone"),
        (WrongGradient(), "grad against autograd"),
        (WrongHessian(), "Hessian product against central differences"),
        (WrongDirect(), r"direct\(\) of one right-hand side"),
        (WrongCross(), "cross_vjp against central differences"),
        (WrongColumns(), "cross_columns against central differences"),
        (TooConvex(), "declared strong convexity"),
        (TooSmooth(), "declared smoothness"),
        (TooFlat(), "hessian_variation"),
        (TooStill(), "cross_variation"),
        (TooExact(), "rounding error of the float32 gradient"),
        (Writes(), "start after the caller changed"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Energy) else "",
)
def test_names_what_is_wrong(energy: Energy, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_energy(energy, X, Y.clone())


def test_needs_two_samples_in_float64() -> None:
    with pytest.raises(ValueError, match="found 1 samples, expected at least 2"):
        check_energy(Quartic(), X[:1], Y[:1])
    with pytest.raises(ValueError, match="expected float64"):
        check_energy(Quartic(), X.float(), Y.float())
