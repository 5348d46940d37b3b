"""Energies whose sampling locations are learned: derivatives through operator and simulated data, bounds, learning."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import NonCartesian, NonCartesianEnergy, nonuniform_fourier
from bilearn.mri.patterns import GriddedPattern, HardwareLimits, RadialPattern, TrajectoryPattern, check_hardware
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import Regularizer, SmoothedTV, Tikhonov
from bilearn.sampling import HardwarePenalty
from bilearn.solution import Tolerance
from bilearn.testing import check_energy
from bilearn.upper import ProjectedLBFGS

GRID = (6, 5)

TRAJECTORIES: dict[str, Callable[[], GriddedPattern]] = {
    "angles": lambda: RadialPattern(torch.tensor([0.3, 1.9]), GRID, 0.7),
    "angles and degrees": lambda: RadialPattern(torch.tensor([0.3, 1.9]), GRID, 0.7, learn=("angles", "degrees")),
    "control points": lambda: TrajectoryPattern(0.8 * rand((1, 5, 2), 1) - 0.4, GRID, 9),
    "many control points": lambda: TrajectoryPattern(0.8 * rand((2, 5, 2), 1) - 0.4, GRID, 7),
}


def tv() -> Regularizer:
    return SmoothedTV(0.05, 0.3, 0.2, learn=("alpha", "xi"), coupled=True)


@pytest.mark.parametrize("name", ["angles and degrees", "many control points"])
def test_derivatives_and_everything_that_is_declared(name: str) -> None:
    energy = NonCartesianEnergy(TRAJECTORIES[name](), tv(), 1e-13)
    check_energy(energy, rand((2, 2, *GRID), 2), energy.simulate(rand((2, 2, *GRID), 3), 0.1, 4))


def test_it_is_least_squares_with_simulated_data() -> None:
    energy = NonCartesianEnergy(TRAJECTORIES["angles"](), Tikhonov(0.2))
    truth, x = rand((2, 2, *GRID), 2), rand((2, 2, *GRID), 3)
    y = energy.simulate(truth, 0.1, 5)
    operator = NonCartesian(energy.trajectory.locations(), GRID)
    noise = y[:, 60:].reshape(2, 2, -1)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.3)
    data = operator.A(truth) + noise
    expected = 0.35 * (operator.A(x) - data).square().sum((1, 2)) + 0.1 * x.square().sum((1, 2, 3))
    assert torch.allclose(energy(x, y), expected, rtol=1e-11)


def central(
    energy: NonCartesianEnergy, y: Tensor, target: Tensor, start: Tensor, direction: Tensor, step: float
) -> float:
    vector, values = ParameterVector(energy), []
    theta = vector.get()
    for sign in (1, -1):
        vector.set(theta + sign * step * direction)
        x = minimize(energy, y, NewtonCG(), start, Tolerance(gradient=1e-12), throw=False).x
        values.append(float((x - target).square().sum()))
    vector.set(theta)
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_hypergradients_against_central_differences(name: str) -> None:
    """In locations (or degrees), alpha and the ridge, each as a whole: 1e-6; and the error bound of a loose one holds."""
    energy = NonCartesianEnergy(TRAJECTORIES[name](), tv(), 1e-14)
    target = rand((1, 2, *GRID), 8)
    y = energy.simulate(target, 0.1, 9)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-8)
    loose = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-2)
    assert exact.certified
    assert float((loose.gradient - exact.gradient).norm()) <= loose.gradient_bound + exact.gradient_bound
    for slot in ParameterVector(energy).slots:
        direction = torch.zeros_like(exact.gradient)
        part = exact.gradient[slot.start : slot.stop]
        direction[slot.start : slot.stop] = part / part.norm()
        near, far = (central(energy, y, target, exact.lower.x, direction, step) for step in (3e-4, 6e-4))
        difference = (4 * near - far) / 3
        assert difference == pytest.approx(float(part.norm()), rel=1e-6), slot.name


def test_data_of_fixed_locations_would_give_another_gradient() -> None:
    """What is differentiated includes the data: with y held fixed, a moved operator misfits even at the true image."""
    energy = NonCartesianEnergy(TRAJECTORIES["angles"](), Tikhonov(1e-3, learn=False))
    truth = rand((1, 2, *GRID), 8)
    y = energy.simulate(truth, 0.0, 0)
    (through,) = energy.cross_vjp(truth, y, rand((1, 2, *GRID), 7), [energy.get_parameter("trajectory.angles")])
    assert float(through.abs().max()) < 1e-11, "at the true image noise-free data fit wherever samples are"
    at = energy.trajectory.locations()
    image = torch.complex(truth[:, 0], truth[:, 1])
    data = nonuniform_fourier(image, at).detach()
    v = torch.complex(rand(GRID, 7), rand(GRID, 6))[None]
    misfit = ((nonuniform_fourier(image, at) - data).conj() * nonuniform_fourier(v, at)).real.sum()
    fixed = torch.autograd.grad(misfit, energy.get_parameter("trajectory.angles"))[0]
    assert float(fixed.abs().max()) > 1e-2


def test_the_start_knows_the_data_only() -> None:
    """Noise-free data of an image the samples cannot see leave the start at zero."""
    energy = NonCartesianEnergy(TrajectoryPattern(torch.zeros(1, 4, 2), GRID, 4), Tikhonov(0.1))
    blind = torch.zeros(1, 2, *GRID, dtype=torch.float64)
    blind[0, 0, 0, 0], blind[0, 0, 2, 3] = 1.0, -1.0
    assert float(energy.start(energy.simulate(blind, 0.0, 0)).abs().max()) < 1e-10


def test_learned_locations_lower_the_loss_within_the_limits() -> None:
    n = 16
    axis = torch.linspace(-1, 1, n, dtype=torch.float64)
    truth = torch.zeros(1, 2, n, n, dtype=torch.float64)
    truth[0, 0] = torch.exp(-6 * (axis[:, None] ** 2 + 4 * axis**2)) * torch.cos(4 * math.pi * axis)
    pattern = TrajectoryPattern.radial((n, n), 3, controls=5, samples=20)
    energy = NonCartesianEnergy(pattern, Tikhonov(1e-2, learn=False), 1e-9)
    limits = HardwareLimits(1e-5, (0.2, 0.2), 0.04, 150.0)
    objective = ReducedObjective(
        energy, energy.simulate(truth, 0.01, 0), truth, SquaredError(1 / n**2), HardwarePenalty(limits)
    )
    method, theta = ProjectedLBFGS(), objective.parameters.get()
    before = objective.value(theta, 1e-8).value
    state = method.init(objective, theta)
    for _ in range(4):
        state = method.step(objective, state)
    after = objective.value(state.current.theta, 1e-8)
    assert after.certified
    assert after.value < 0.8 * before
    assert check_hardware(pattern, limits).slew < 1.1 * limits.slew


def test_refusals() -> None:
    energy = NonCartesianEnergy(TRAJECTORIES["angles"](), tv())
    with pytest.raises(ValueError, match=r"y: found shape \(1, 2, 6, 5\), expected \(B, 84\)"):
        energy(torch.zeros(1, 2, *GRID), torch.zeros(1, 2, *GRID))
