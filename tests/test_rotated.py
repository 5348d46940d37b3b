"""Hessians in the Fourier basis against the same Hessians in the image, and solves that go through single precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Apply, Hessian, Rotated
from bilearn.linear_systems import ConjugateGradient, solve_linear
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import FreePattern, birdcage_maps, sampling_energy
from bilearn.regularizers import Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

GRID = (16, 18)
REGULARIZERS: dict[str, Callable[[], Regularizer]] = {
    "tv": lambda: SmoothedTV(0.02, 1e-2, 1e-2, coupled=True),
    "h1": lambda: Sum(SquaredH1(0.1), Tikhonov(1e-2, learn=False)),
}


def energy(name: str) -> VariationalEnergy:
    return sampling_energy(FreePattern((rand(GRID, 1) < 0.3).double()), REGULARIZERS[name]())


def hessians(name: str) -> list[Hessian]:
    x, y = rand((3, 2, *GRID), 2), rand((3, 2, *GRID), 3)
    made = energy(name)
    direction = rand((3, 2, *GRID), 4)
    _, advance = made.newton_model(x, y, None)
    return [made.hessian(x, y), made.newton_model(x, y, advance(0.1 * direction))[0]]


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize(("single", "dtype", "tolerance"), [(False, torch.float64, 1e-13), (True, torch.float32, 1e-6)])
def test_products_and_preconditioner_agree_with_those_in_the_image(
    name: str, single: bool, dtype: torch.dtype, tolerance: float
) -> None:
    v = rand((3, 2, *GRID), 5) - 0.5
    for hessian in hessians(name):
        for index in (torch.arange(3), torch.tensor([2, 0])):
            part, mine = v[index], hessian.select(index)
            rotated = mine.rotated(single)
            assert rotated is not None
            entered = rotated.enter(part)
            assert entered.dtype == dtype
            assert rotated.single == single
            torch.testing.assert_close(_batch.norm(entered).double(), _batch.norm(part), rtol=tolerance, atol=0)
            back = rotated.leave(rotated.hessian(entered))
            assert back.dtype == torch.float64
            wanted = mine(part)
            assert bool((_batch.norm(back - wanted) <= tolerance * _batch.norm(wanted)).all())
            solve, own = rotated.hessian.preconditioner(), mine.preconditioner()
            assert solve is not None
            assert own is not None
            torch.testing.assert_close(
                rotated.leave(solve(entered)), own(part), rtol=10 * tolerance, atol=10 * tolerance
            )
        stacked = torch.stack((v, 2 * v))
        rotated = hessian.rotated(single)
        assert rotated is not None
        both = rotated.leave(rotated.hessian(rotated.enter(stacked)))
        assert bool((_batch.norm(both - hessian(stacked), 2) <= tolerance * _batch.norm(hessian(stacked), 2)).all())


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-11])
def test_residuals_below_single_precision_are_reached(name: str, tolerance: float) -> None:
    g = rand((3, 2, *GRID), 6) - 0.5
    hessian = hessians(name)[0]
    method = ConjugateGradient()
    solution = solve_linear(hessian, g, mu=1e-2, method=method, tolerance=tolerance)
    assert solution.converged
    assert bool((_batch.norm(hessian(solution.x) - g) <= tolerance).all())
    other = solve_linear(hessian, g, method=ConjugateGradient(single=False), tolerance=1e-12)
    assert bool((_batch.norm(solution.x - other.x) <= 2 * tolerance / 1e-2).all())


def test_lower_level_solves_reach_double_precision() -> None:
    y = rand((2, 2, *GRID), 7)
    solution = minimize(energy("tv"), y, NewtonCG(), tolerance=Tolerance(distance=1e-10))
    assert solution.converged
    assert bool((_batch.norm(energy("tv").grad(solution.x, y)) <= 1e-12).all())


def test_coils_stay_in_the_image() -> None:
    made = sampling_energy(FreePattern(torch.ones(GRID)), REGULARIZERS["tv"](), maps=birdcage_maps(2, GRID))
    x = rand((1, 2, *GRID), 8)
    assert made.hessian(x, made.operator.A(x)).rotated(True) is None


class Misleading(Hessian):
    """The identity, which turns out indefinite where rounding is coarse."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def __call__(self, v: Tensor) -> Tensor:
        return self.sign * v

    def select(self, index: Tensor) -> Hessian:
        return self

    def preconditioner(self) -> Apply | None:
        return None

    def rotated(self, single: bool) -> Rotated | None:
        return Rotated(Misleading(-1.0), lambda x: x, lambda v: v, single)


def test_a_system_that_looks_indefinite_inside_is_tried_again_outside() -> None:
    g = rand((2, 5), 9)
    solution = solve_linear(Misleading(), g, method=ConjugateGradient(), tolerance=1e-10)
    assert solution.converged
    torch.testing.assert_close(solution.x, g)
