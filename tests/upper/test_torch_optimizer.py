from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from synthetic_oracles import LINEAR, ROSENBROCK, UNBOUNDED, Problem

from bilearn.parameters import Identity
from bilearn.upper import TorchOptimizer, UpperStatus, run


def test_same_iterates_as_torch_inside_the_box() -> None:
    oracle = UNBOUNDED.oracle()
    state = run(TorchOptimizer(lambda p: torch.optim.AdamW(p, lr=0.1)), oracle, max_steps=20)
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    plain = torch.optim.AdamW([parameter], lr=0.1)
    for _ in range(20):
        plain.zero_grad()
        UNBOUNDED.residual(parameter).square().sum().backward()
        plain.step()
    assert state.iteration == 20
    assert torch.allclose(state.current.theta, parameter.detach(), rtol=1e-12)


def test_writes_no_gradient_of_the_model() -> None:
    oracle = LINEAR.oracle()
    run(TorchOptimizer(lambda p: torch.optim.Adam(p)), oracle, max_steps=3)
    assert all(p.grad is None for p in oracle.parameters.parameters)


def test_accuracy_schedule_is_asked_for() -> None:
    oracle = LINEAR.oracle("mixed")
    make = TorchOptimizer(lambda p: torch.optim.Adam(p), accuracy=lambda k: None if k == 0 else 0.5**k)
    run(make, oracle, max_steps=4)
    assert [a for _, _, a in oracle.asked] == [None, 0.5, 0.25, 0.125, 0.0625]


def test_relative_accuracy_without_a_schedule() -> None:
    oracle, bounds = LINEAR.oracle("mixed"), []
    optimizer = TorchOptimizer(lambda p: torch.optim.Adam(p), gradient_accuracy=0.05)
    run(
        optimizer,
        oracle,
        max_steps=4,
        callback=lambda s: bounds.append(s.current.gradient_bound / s.current.gradient.norm()),
    )
    assert max(bounds) <= 0.06


def test_closures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found torch.optim.LBFGS, which needs a closure; use LBFGSB instead"):
        run(TorchOptimizer(lambda p: torch.optim.LBFGS(p)), LINEAR.oracle())


def test_non_finite_points_halve_the_step() -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: bool(theta[0] > -1.0)
    state = run(TorchOptimizer(lambda p: torch.optim.SGD(p, lr=1.0)), oracle, max_steps=1)
    failed = [t for _, t, _ in oracle.asked if oracle.fails_at(t)]
    assert 1 <= len(failed) <= 10
    assert math.isfinite(state.current.value)
    assert state.evaluations == len(oracle.asked) == 2 + len(failed)


def test_nothing_finite_ends_the_run() -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: len(oracle.asked) > 1
    state = run(TorchOptimizer(lambda p: torch.optim.SGD(p, lr=1e-4)), oracle)
    assert state.status is UpperStatus.NON_FINITE
    assert torch.equal(state.best.theta, oracle.asked[0][1])
    state = dataclasses.replace(state, status=UpperStatus.RUNNING)
    broken = TorchOptimizer(lambda p: torch.optim.SGD(p, lr=math.inf))
    assert broken.step(LINEAR.oracle(), broken.init(LINEAR.oracle(), torch.zeros(4, dtype=torch.float64))).status in (
        UpperStatus.NON_FINITE,
        UpperStatus.RUNNING,
    )


def test_stationary_start_takes_no_step() -> None:
    oracle = LINEAR.oracle()
    optimizer = TorchOptimizer(lambda p: torch.optim.Adam(p), gradient_tolerance=1e-6)
    state = run(optimizer, oracle, torch.tensor(LINEAR.minimizer, dtype=torch.float64))
    assert (state.status, state.iteration, len(oracle.asked)) == (UpperStatus.STATIONARY, 0, 1)


def test_momentum_against_a_bound_is_no_reason_to_stop() -> None:
    """The start's momentum carries theta into its upper bound, where the gradient already points back inside."""
    problem = Problem(
        "valley", lambda t: torch.cat((3 * t - 2.7, 0 * t + 1)), [Identity((-1.0, 1.0))], [-1.0], 1.0, [0.9]
    )
    oracle = problem.oracle()
    pinned = []
    optimizer = TorchOptimizer(lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.95), gradient_tolerance=1e-6)
    state = run(optimizer, oracle, max_steps=600, callback=lambda s: pinned.append(float(s.current.theta) == 1.0))
    assert sum(pinned) >= 2
    assert state.status is UpperStatus.STATIONARY
    assert float(state.best.theta) == pytest.approx(0.9, abs=1e-3)
    assert state.evaluations == len(oracle.asked) < state.iteration + 1


def test_small_steps_still_stop() -> None:
    state = run(TorchOptimizer(lambda p: torch.optim.SGD(p, lr=1e-14)), LINEAR.oracle())
    assert (state.status, state.iteration) == (UpperStatus.SMALL_STEP, 0)
