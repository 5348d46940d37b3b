from __future__ import annotations

import itertools
import math

import pytest
import torch
from synthetic_oracles import ERRORS, FLAT_TAIL, LINEAR, ROSENBROCK, UNBOUNDED, Problem

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.problems import one_parameter
from bilearn.testing import WatchedOracle
from bilearn.upper import (
    HOAG,
    MAID,
    Adaptive,
    Fixed,
    Geometric,
    Polynomial,
    ScheduledGradient,
    UpperOptimizer,
    UpperStatus,
    run,
)

CONVERGED = {UpperStatus.STATIONARY, UpperStatus.SMALL_DECREASE, UpperStatus.SMALL_STEP}
METHODS: list[UpperOptimizer] = [
    MAID(),
    MAID(initial_accuracy=100.0),
    MAID(initial_accuracy=1e-6, relax=1.5),
    HOAG(),
    HOAG(Polynomial(1.0, 3.0)),
    HOAG(Adaptive(0.1), initial_length=1e-3),
    ScheduledGradient(Fixed(0.01), Geometric(10.0, 0.95)),
]


def label(value: object) -> str:
    return value.name.split()[0] if isinstance(value, Problem | UpperOptimizer) else str(value)


def check_inside(oracle, state) -> None:
    for _, theta, _ in oracle.asked:
        assert bool(((theta >= oracle.parameters.lower) & (theta <= oracle.parameters.upper)).all())
    assert state.evaluations == len(oracle.asked)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("problem", [LINEAR, UNBOUNDED], ids=label)
@pytest.mark.parametrize("optimizer", METHODS, ids=label)
def test_reaches_the_optimum(optimizer: UpperOptimizer, problem: Problem, error: str) -> None:
    oracle = problem.oracle(error)
    state = run(optimizer, oracle, max_steps=1500)
    check_inside(oracle, state)
    assert state.status in CONVERGED | {UpperStatus.NO_PROGRESS}
    assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-6)
