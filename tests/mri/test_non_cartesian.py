"""Non-uniform transforms against the sum itself."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower import minimize
from bilearn.mri import FourierTransform
from bilearn.mri.non_cartesian import NonCartesian, nonuniform_adjoint, nonuniform_fourier
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

SHAPE = (6, 5)
LOCATIONS = (rand((11, 2), 1) - 0.5) * torch.tensor(SHAPE)


@pytest.fixture(autouse=True, params=["sums", "finufft"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to compute the transform."""
    if request.param == "finufft":
        monkeypatch.setattr("bilearn.mri.non_cartesian._DIRECT", 0)


def matrix(locations: Tensor = LOCATIONS) -> Tensor:
    rows, columns = (torch.arange(n, dtype=torch.float64) / n for n in SHAPE)
    phase = locations[:, 0, None, None] * rows[:, None] + locations[:, 1, None, None] * columns
    return torch.exp(-2j * math.pi * phase).flatten(1) / math.sqrt(30)


def images(*lead: int) -> Tensor:
    return torch.complex(rand((*lead, *SHAPE), 2), rand((*lead, *SHAPE), 3))


def test_against_the_sum() -> None:
    operator, x = NonCartesian(LOCATIONS, SHAPE), images(3)
    z = operator.A(torch.stack((x.real, x.imag), 1))
    expected = x.flatten(1) @ matrix().T
    assert torch.allclose(torch.complex(z[:, 0], z[:, 1]), expected, atol=1e-11)
    back = operator.A_adjoint(z)
    assert torch.allclose(torch.complex(back[:, 0], back[:, 1]).flatten(1), expected @ matrix().conj(), atol=1e-10)
    stacked = operator.A(torch.stack((x.real, x.imag), 1)[None].repeat(2, 1, 1, 1, 1))
    assert torch.allclose(stacked[1], z, atol=1e-12)


def test_the_norm_bound() -> None:
    exact = float(torch.linalg.matrix_norm(matrix(), 2)) ** 2
    bound = float(NonCartesian(LOCATIONS, SHAPE).norm_squared().value)
    assert exact <= bound <= 3 * exact


def test_on_the_grid_it_is_the_plain_transform() -> None:
    grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(5.0)).double()
    x = rand((2, 2, *SHAPE), 4)
    assert torch.allclose(NonCartesian(grid, SHAPE).A(x), FourierTransform().A(x).flatten(2), atol=1e-11)


def test_derivatives() -> None:
    x, at, seed = images(2).requires_grad_(True), LOCATIONS.clone().requires_grad_(True), images(2).flatten(1)[:, :11]

    def value(z: Tensor) -> Tensor:
        return (z * seed.conj()).real.sum() + z.abs().square().sum()

    ours = torch.autograd.grad(value(nonuniform_fourier(x, at)), (x, at))
    exact = torch.autograd.grad(value(x.flatten(1) @ matrix(at).T), (x, at))
    for a, b in zip(ours, exact, strict=True):
        assert torch.allclose(a, b, atol=1e-10 * float(b.abs().max()))
    direction, step = rand((11, 2), 5) - 0.5, 1e-5
    high, low = (float(value(nonuniform_fourier(x, at + s * step * direction)).detach()) for s in (1, -1))
    assert (high - low) / (2 * step) == pytest.approx(float((ours[1] * direction).sum()), rel=1e-6)


def test_second_derivatives() -> None:
    """Of a value that is quadratic in the image and uses the adjoint as well, against those of the dense sum."""
    x, at = images(1), LOCATIONS.clone().requires_grad_(True)
    v = rand((11, 2), 5) - 0.5

    def curvature(value: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(value, at, create_graph=True)
        (second,) = torch.autograd.grad((first * v).sum(), at)
        return second

    back = nonuniform_adjoint(nonuniform_fourier(x, at), at, SHAPE)
    dense = (x.flatten(1) @ matrix(at).T) @ matrix(at).conj()
    ours, exact = (curvature((z.flatten() * x.flatten().conj()).real.sum()) for z in (back, dense))
    assert torch.allclose(ours, exact, atol=1e-9 * float(exact.abs().max()))


def test_reconstruction_is_certified() -> None:
    operator = NonCartesian(LOCATIONS, SHAPE)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.05, 0.1, 0.1, coupled=True), operator)
    y = operator.A(rand((1, 2, *SHAPE), 6))
    loose = minimize(energy, y, tolerance=Tolerance(distance=1e-3))
    tight = minimize(energy, y, tolerance=Tolerance(distance=1e-8))
    assert loose.certified
    assert float((loose.x - tight.x).norm()) <= float(loose.error + tight.error)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"locations: found shape \(3,\)"):
        NonCartesian(torch.zeros(3), SHAPE)
