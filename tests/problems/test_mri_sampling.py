"""The 1-D sampling problem: its data, the published anchor, hypergradients, the optimum, and the default method on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bilearn.problems import KnownProblem, indicator_kspace, indicator_signals, mri_sampling_1d
from bilearn.upper import UpperOptimizer, UpperState, UpperStatus, default_optimizer, run


@pytest.fixture
def problem() -> KnownProblem:
    return mri_sampling_1d()


def test_data_are_the_published_ones() -> None:
    x, y = indicator_kspace(10, 64, 0.05)
    assert x.shape == y.shape == (10, 2, 64)
    assert torch.equal(x[:, 0], indicator_signals(10, 64, 0.1)[0])
    assert float(x[:, 1].abs().max()) == 0.0
    noise = (y[:, 0] + 1j * y[:, 1]).numpy() - np.fft.fft(x[:, 0].numpy(), norm="ortho")
    assert np.sqrt(np.mean(np.abs(noise) ** 2)) == pytest.approx(0.05, rel=0.05)


def test_anchor(problem: KnownProblem) -> None:
    found = problem.objective.value(problem.start, 1e-9)
    assert found.certified
    assert found.value == pytest.approx(4.161093930551, rel=1e-9)
    assert found.lower <= 4.161093930551 <= found.upper
    assert found.penalty == pytest.approx(0.1 * 32, rel=1e-12)


@pytest.mark.parametrize("where", ["start", "minimizer"])
def test_hypergradient_against_central_differences(problem: KnownProblem, where: str) -> None:
    objective, theta = problem.objective, getattr(problem, where)
    slopes = objective.hypergradient(theta, 1e-8).gradient
    assert slopes is not None
    for k, step in ((0, 1e-5), (12, 1e-5), (36, 1e-6), (58, 1e-5)):
        move = torch.zeros_like(theta)
        move[k] = step
        high, low = (objective.value(theta + sign * move, 1e-11).value for sign in (1, -1))
        scale = float(slopes.abs().max())
        assert float(slopes[k]) == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-6 * scale)


def test_optimum(problem: KnownProblem) -> None:
    objective, parameters = problem.objective, problem.objective.parameters
    found = objective.hypergradient(problem.minimizer, 1e-6)
    value = objective.value(problem.minimizer, 1e-10)
    assert found.certified
    assert value.value == pytest.approx(problem.optimum, rel=1e-9)
    assert found.gradient is not None
    step = problem.minimizer - parameters.project(problem.minimizer - found.gradient)
    assert float(step.norm()) < 1e-4
    assert int((problem.minimizer == parameters.lower).sum()) == 32


def learned(problem: KnownProblem, method: UpperOptimizer, goal: float) -> UpperState:
    """The state at which the value falls below ``goal``."""
    return run(
        method,
        problem.objective,
        problem.start,
        callback=lambda state: UpperStatus.BUDGET if state.best.value <= goal else None,
    )


def test_default_method_needs_few_evaluations(problem: KnownProblem) -> None:
    goal = 1.001 * problem.optimum
    state = learned(problem, default_optimizer(problem.objective.parameters, True), goal)
    assert problem.objective.evaluations <= 30
    assert problem.optimum <= state.best.upper
    assert state.best.value <= goal
