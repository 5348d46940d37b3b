"""``check_solver`` and ``check_hypergradient`` find what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from registry import ENERGIES, rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import BoundParts, Hypergradient, ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower.gradient_descent import GradientDescent
from bilearn.problem import LowerProblem
from bilearn.regularizers import Tikhonov
from bilearn.status import SolveError
from bilearn.testing import check_hypergradient, check_solver, newton_minimizer, reference_hypergradient
from bilearn.variational import VariationalEnergy

TV = next(case for case in ENERGIES if case.name == "ls-tv")


@dataclass(frozen=True)
class Lies(GradientDescent):
    """Reports a gradient that is too small."""

    def step(self, problem: LowerProblem, state: Any) -> Any:
        after = super().step(problem, state)
        return replace(after, gradient=0.5 * after.gradient)


@dataclass(frozen=True)
class Couples(GradientDescent):
    """Uses one step length for the batch that depends on every sample."""

    def step(self, problem: LowerProblem, state: Any) -> Any:
        after = super().step(problem, state)
        x = state.x + (after.x - state.x) / (1 + 0.1 * state.gradient.abs().max())
        return replace(after, x=x, gradient=problem.grad(x))


@dataclass(frozen=True)
class Writes(GradientDescent):
    """Moves the data."""

    def init(self, problem: LowerProblem, x0: Tensor) -> Any:
        problem.y.add_(1e-3)
        return super().init(problem, x0)


def test_solver_that_lies_about_its_gradient() -> None:
    energy = TV.make()
    with pytest.raises(AssertionError, match="recorded gradient norm against that of the returned x"):
        check_solver(Lies(), energy, TV.data(energy))


def test_solver_that_couples_samples() -> None:
    energy = TV.make()
    with pytest.raises(AssertionError, match="sample 0 alone against in the batch"):
        check_solver(Couples(check_every=1), energy, TV.data(energy), (1e-1, 1e-2))


def test_solver_that_writes_into_the_data() -> None:
    energy = TV.make()
    with pytest.raises(AssertionError):
        check_solver(Writes(), energy, TV.data(energy))


def test_solver_that_does_not_arrive() -> None:
    energy = TV.make()
    with pytest.raises(SolveError, match="step limit"):
        check_solver(GradientDescent(max_steps=3), energy, TV.data(energy))


def test_check_solver_needs_two_samples() -> None:
    energy = TV.make()
    with pytest.raises(ValueError, match="found 1 samples"):
        check_solver(GradientDescent(), energy, TV.data(energy)[:1])


def test_newton_minimizer_against_a_formula() -> None:
    energy, y = VariationalEnergy(LeastSquares(2.0), Tikhonov(0.5)), rand((3, 1, 4, 4), 40)
    assert torch.allclose(newton_minimizer(energy, y), y * 2 / 2.5, rtol=1e-14, atol=0)


def test_reference_hypergradient_against_a_formula() -> None:
    energy, y, x = VariationalEnergy(LeastSquares(), Tikhonov(0.5)), rand((3, 1, 4, 4), 41), rand((3, 1, 4, 4), 42)
    losses, gradient = reference_hypergradient(energy, SquaredError(), y, x)
    shrunk = y / 1.5
    assert torch.allclose(losses, (shrunk - x).square().sum((1, 2, 3)), rtol=1e-13)
    slope = -y / 1.5**2 * 0.5 * torch.log(torch.tensor(10.0, dtype=torch.float64))
    assert torch.allclose(gradient, (2 * (shrunk - x) * slope).sum().reshape(1), rtol=1e-10)


@dataclass(frozen=True, kw_only=True)
class Halves(ImplicitHypergradient):
    """Half of the right gradient, with the bound of the right one."""

    def estimate(self, *args: Any, **options: Any) -> Hypergradient:
        result = super().estimate(*args, **options)
        return replace(result, gradient=0.5 * result.gradient)


@dataclass(frozen=True, kw_only=True)
class Boasts(ImplicitHypergradient):
    """A bound of zero."""

    def estimate(self, *args: Any, **options: Any) -> Hypergradient:
        return replace(super().estimate(*args, **options), bound=BoundParts(0.0, 0.0))


@pytest.mark.parametrize(
    ("estimator", "rtol", "message"),
    [
        (Halves(), 1e-6, "against central differences"),
        (Halves(), None, "true error of the gradient against its bound"),
        (Boasts(), 1e-6, "at relative accuracy 0.1: true error of the gradient against its bound"),
    ],
)
def test_estimator_that_is_wrong(estimator: ImplicitHypergradient, rtol: float | None, message: str) -> None:
    energy = TV.make()
    with pytest.raises(AssertionError, match=message):
        check_hypergradient(estimator, energy, SquaredError(), TV.data(energy), TV.target(), GradientDescent(), rtol)
