"""The default methods on the published problems, against their known optima."""

from __future__ import annotations

import pytest
import torch

from bilearn.problems import one_parameter, three_parameters
from bilearn.upper import LBFGSB, GaussNewton, UpperStatus, default_optimizer, run


def test_three_parameters_in_few_evaluations() -> None:
    problem = three_parameters()
    optimizer = default_optimizer(problem.objective.parameters, least_squares=True)
    state = run(optimizer, problem.objective, problem.start)
    assert isinstance(optimizer, GaussNewton)
    assert state.status in (UpperStatus.STATIONARY, UpperStatus.SMALL_DECREASE)
    assert state.evaluations == problem.objective.evaluations <= 20
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-8)
    assert state.best.lower <= problem.optimum * (1 + 1e-8)
    assert torch.allclose(state.best.theta, problem.minimizer, atol=1e-3)
    assert float(state.best.theta[1]) == -7.0


def test_three_parameters_with_lbfgsb() -> None:
    problem = three_parameters()
    state = run(LBFGSB(), problem.objective, problem.start)
    assert problem.objective.evaluations <= 45
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-7)


@pytest.mark.parametrize("start", [0.0, 1.0, 2.0, -1.0, -2.0])
def test_one_parameter_from_the_published_starts(start: float) -> None:
    problem = one_parameter()
    state = run(GaussNewton(), problem.objective, torch.tensor([start], dtype=torch.float64))
    assert problem.objective.evaluations <= 15
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-7)
