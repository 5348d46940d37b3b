"""Trajectories: splines, derivatives, physical units and limits."""

from __future__ import annotations

import math

import pytest
import torch
from pattern_checks import check_pattern
from registry import rand

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.mri import FreePattern, sampling_energy
from bilearn.mri.patterns import (
    CenteredPattern,
    HardwareLimits,
    TrajectoryPattern,
    center_block,
    check_hardware,
    hardware_excess,
    spline_basis,
)
from bilearn.parameters import ParameterVector
from bilearn.penalties import PenaltyTerms
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV, Tikhonov
from bilearn.sampling import HardwarePenalty
from bilearn.solution import Tolerance
from bilearn.upper import ProjectedLBFGS

GRID = (7, 8)
LIMITS = HardwareLimits(dwell=4e-6, field_of_view=(0.2, 0.25), gradient=0.04, slew=150.0)


def curves() -> TrajectoryPattern:
    return TrajectoryPattern(rand((2, 5, 2), 1) * 0.9 - 0.45, GRID, 9)


def test_derivatives_and_norms() -> None:
    check_pattern(curves())
    check_pattern(CenteredPattern(curves(), center_block(GRID, (3, 3))))


def test_splines() -> None:
    basis = spline_basis(50, 7)
    assert torch.allclose(basis.sum(1), torch.ones(50, dtype=torch.float64), rtol=1e-14)
    assert bool((basis >= 0).all())
    assert float(basis[0, 0]) == 1.0
    assert float(basis[-1, -1]) == 1.0
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    cubic = 2 * t**3 - t
    assert torch.allclose(basis @ (torch.linalg.pinv(basis) @ cubic), cubic, atol=1e-13)


def test_spirals_are_spirals() -> None:
    pattern = TrajectoryPattern.spiral((64, 64), readouts=2, turns=4, controls=40, samples=400)
    k = pattern.readouts().detach()
    radius = torch.linalg.vector_norm(k, dim=-1)
    assert torch.allclose(radius, torch.linspace(0, 32, 400, dtype=torch.float64).expand(2, -1), atol=0.3)
    assert torch.allclose(k[0], -k[1], atol=1e-10)
    assert 0.2 < float(pattern().detach().mean()) < 0.6


def test_straight_readouts_are_lines() -> None:
    pattern = TrajectoryPattern.radial((9, 9), 2, samples=9, offset=0.0)
    k = pattern.readouts().detach()
    assert torch.allclose(k[0, :, 1], torch.linspace(-4.5, 4.5, 9, dtype=torch.float64), atol=1e-12)
    assert float(k[0, :, 0].abs().max()) < 1e-12


def test_physical_units() -> None:
    """One sample per cycle over a field of view L moves k at 1 / (L dwell), so G = 1 / (gamma L dwell)."""
    pattern = TrajectoryPattern.radial((8, 8), 1, samples=9, offset=0.0)
    report = check_hardware(pattern, LIMITS)
    assert report.gradient == pytest.approx(1 / (42.577478518e6 * 0.25 * 4e-6), rel=1e-9)
    assert report.slew == pytest.approx(0.0, abs=1e-4)
    assert report.feasible
    circle = TrajectoryPattern.spiral((64, 64), turns=2, controls=60, samples=400, power=1e-3)
    gradients, slews = LIMITS.waveforms(circle)
    turn = 2 * math.pi * 2 / 399
    size = torch.linalg.vector_norm(slews, dim=-1)[0, 100:300].detach()
    step = torch.linalg.vector_norm(gradients * torch.tensor(LIMITS.field_of_view), dim=-1)[0, 200]
    assert float(step.detach()) * 42.577478518e6 * 4e-6 == pytest.approx(2 * 32 * math.sin(turn / 2), rel=1e-2)
    assert bool((size > 0).all())


def test_the_shortest_dwell_is_feasible() -> None:
    pattern = TrajectoryPattern.spiral((64, 64), turns=12, controls=100, samples=400)
    report = check_hardware(pattern, LIMITS)
    assert not report.feasible
    slower = HardwareLimits(report.shortest_dwell * (1 + 1e-9), LIMITS.field_of_view, LIMITS.gradient, LIMITS.slew)
    again = check_hardware(pattern, slower)
    assert again.feasible
    assert max(again.gradient / 0.04, again.slew / 150) == pytest.approx(1.0, rel=1e-6)
    assert float(hardware_excess(pattern, slower).detach()) == 0.0
    assert float(hardware_excess(pattern, LIMITS).detach()) > 0.0


def test_the_penalty_is_differentiable() -> None:
    energy = sampling_energy(curves(), Tikhonov(0.1, learn=False))
    penalty, y = HardwarePenalty(LIMITS, 1e-4), torch.zeros(1, 2, *GRID, dtype=torch.float64)
    vector = ParameterVector(energy)
    terms = PenaltyTerms.of(penalty, energy, y, vector, order=1)
    theta, direction = vector.get(), rand((20,), 5) - 0.5
    values = []
    for sign in (1, -1):
        vector.set(theta + sign * 1e-6 * direction)
        values.append(float(penalty(energy, y).detach()))
    assert terms.value > 0
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(terms.gradient @ direction), rel=1e-6)
    with pytest.raises(ValueError, match="no TrajectoryPattern"):
        penalty(sampling_energy(FreePattern(torch.ones(GRID)), Tikhonov(0.1)), y)


def test_hypergradient_against_central_differences() -> None:
    energy = sampling_energy(curves(), SmoothedTV(0.05, 0.1, 0.1, learn=(), coupled=True))
    target = rand((1, 2, *GRID), 8)
    y = energy.operator.A(target)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    assert exact.certified
    vector = ParameterVector(energy)
    theta = vector.get()
    direction = exact.gradient / exact.gradient.norm()

    def central(step: float) -> float:
        values = []
        for sign in (1, -1):
            vector.set(theta + sign * step * direction)
            x = minimize(energy, y, tolerance=Tolerance(gradient=1e-13)).x
            values.append(float((x - target).square().sum()))
        return (values[0] - values[1]) / (2 * step)

    difference = (4 * central(5e-5) - central(1e-4)) / 3
    assert difference == pytest.approx(float(exact.gradient.norm()), rel=1e-6)


def test_learned_curves_lower_the_loss_within_the_limits() -> None:
    pattern = TrajectoryPattern.radial((16, 16), 3, controls=6, samples=24)
    x = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    x[:, 0, 4:12, 5:11] = 1
    energy = sampling_energy(pattern, Tikhonov(1e-2, learn=False))
    y = energy.operator.A(x)
    limits = HardwareLimits(1e-5, (0.2, 0.2), 0.04, 150.0)
    objective = ReducedObjective(energy, y, x, SquaredError(1 / 256), HardwarePenalty(limits, 1.0))
    method, theta = ProjectedLBFGS(), objective.parameters.get()
    before = objective.value(theta, 1e-9).value
    state = method.init(objective, theta)
    for _ in range(8):
        state = method.step(objective, state)
    objective.parameters.set(state.current.theta)
    after = objective.value(state.current.theta, 1e-9)
    assert after.value < 0.9 * before
    report = check_hardware(pattern, limits)
    assert report.gradient < 1.1 * limits.gradient
    assert report.slew < 1.1 * limits.slew


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least 4 control points"):
        TrajectoryPattern(torch.zeros(1, 3, 2), GRID, 9)
    with pytest.raises(ValueError, match="samples: found 4"):
        TrajectoryPattern(torch.zeros(1, 5, 2), GRID, 4)
    with pytest.raises(ValueError, match=r"found 0\.7, expected a number in \[-0\.5, 0\.5\]"):
        TrajectoryPattern(torch.full((1, 5, 2), 0.7), GRID, 9)
    with pytest.raises(ValueError, match=r"HardwareLimits\.dwell"):
        HardwareLimits(0.0, (0.2, 0.2))
    with pytest.raises(ValueError, match="field_of_view"):
        HardwareLimits(1e-5, (0.2, -0.2))
    with pytest.raises(ValueError, match="weight"):
        HardwarePenalty(LIMITS, -1.0)
