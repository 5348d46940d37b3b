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
    HOAG(Geometric(1.0, 0.8), initial_length=1e-3),
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
    assert state.status in CONVERGED
    assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-6)


@pytest.mark.parametrize("error", ["above", "below", "mixed"])
@pytest.mark.parametrize("problem", [ROSENBROCK, FLAT_TAIL], ids=label)
def test_maid_really_decreases(problem: Problem, error: str) -> None:
    oracle = problem.oracle(error)
    visited: list[torch.Tensor] = []
    run(MAID(), oracle, max_steps=60, callback=lambda state: visited.append(state.current.theta))
    values = [oracle.exact(theta) for theta in visited]
    assert values[-1] < 0.8 * values[0]
    assert all(b < a for a, b in itertools.pairwise(values[:30]))


def test_maid_gradients_point_downhill() -> None:
    """<z, grad F> >= descent |z|^2 holds for the exact gradient at every point left."""
    oracle, exact = UNBOUNDED.oracle("mixed"), UNBOUNDED.oracle()
    used = []
    optimizer = MAID(descent=0.7, value_accuracy=0.1)
    run(optimizer, oracle, max_steps=20, callback=lambda state: used.append(state.current))
    for before in used[:-1]:
        z = before.gradient
        if before.gradient_bound <= 0.3 * float(z.norm()):
            assert float(z @ exact.hypergradient(before.theta).gradient) >= 0.7 * float(z @ z)
    assert len(used) > 5


def test_maid_starts_anywhere_between_coarse_and_fine() -> None:
    """The start accuracy decides the first request only: a coarse one is tightened at once, a fine one relaxed step by step."""
    counts = {}
    for accuracy in (100.0, 1.0, 1e-8):
        oracle = UNBOUNDED.oracle("mixed")
        state = run(MAID(initial_accuracy=accuracy, decrease_tolerance=1e-9), oracle, max_steps=500)
        assert oracle.exact(state.best.theta) == pytest.approx(UNBOUNDED.optimum, rel=1e-6)
        asked = [a for kind, _, a in oracle.asked if kind == "hypergradient"]
        assert asked[0] == accuracy
        assert asked[1] <= MAID().relax * accuracy
        counts[accuracy] = len(oracle.asked)
    assert max(counts.values()) <= 2 * min(counts.values())


def test_maid_fixes_accuracy_before_the_trial() -> None:
    """Values are asked for to a part of the first-order decrease, at the point left before the first trial."""
    oracle = UNBOUNDED.oracle("mixed")
    optimizer = MAID(initial_length=0.01)
    state = optimizer.init(oracle, oracle.parameters.project(torch.zeros(2, dtype=torch.float64)))
    oracle.asked.clear()
    after = optimizer.step(oracle, state)
    values = [(theta, a) for kind, theta, a in oracle.asked if kind == "value"]
    assert values[0][0].equal(state.current.theta)
    assert values[1][0].equal(after.current.theta)
    assert values[0][1] == values[1][1] == pytest.approx(0.1 * 0.01 * float(state.current.gradient.square().sum()))


def test_maid_stops() -> None:
    uphill = ROSENBROCK.oracle()
    uphill.fails_at = lambda theta: bool(theta[0] != -1.2)
    assert run(MAID(), uphill).status is UpperStatus.NO_PROGRESS
    assert run(MAID(), LINEAR.oracle("mixed", floor=1e-2)).status is UpperStatus.SMALL_DECREASE
    assert run(MAID(initial_length=1e-12), LINEAR.oracle()).status is UpperStatus.SMALL_STEP
    assert run(MAID(), UNBOUNDED.oracle()).status is UpperStatus.STATIONARY
    broken = LINEAR.oracle()
    broken.fails_at = lambda theta: True
    assert run(MAID(), broken).status is UpperStatus.NON_FINITE
    assert run(MAID(), ROSENBROCK.oracle(), max_steps=3).status is UpperStatus.MAX_STEPS


def test_maid_survives_a_gradient_that_fails_where_the_value_does_not() -> None:
    oracle = LINEAR.oracle()
    start = oracle.parameters.get()
    optimizer = MAID()
    state = optimizer.init(oracle, start)
    oracle.fails_at = lambda theta: bool((theta != start).any()) and oracle.asked[-1][0] == "hypergradient"
    after = optimizer.step(oracle, state)
    assert after.status is UpperStatus.NON_FINITE
    assert after.best.value < state.best.value


def test_hoag_goes_back_after_a_rejection() -> None:
    oracle = UNBOUNDED.oracle()
    optimizer = HOAG(initial_length=10.0)
    state = optimizer.init(oracle, torch.zeros(2, dtype=torch.float64))
    after = optimizer.step(oracle, state)
    assert after.current is state.current
    assert (after.length, after.rejections) == (5.0, 1)
    again = optimizer.step(oracle, after)
    assert oracle.asked[-1][1].equal(state.current.theta - 5.0 * state.current.gradient)
    assert again.iteration == 2


def test_hoag_asks_what_its_schedule_says_and_stops() -> None:
    oracle = UNBOUNDED.oracle("mixed")
    run(HOAG(Polynomial(0.5, 2.0)), oracle, max_steps=5)
    assert [a for _, _, a in oracle.asked] == [0.5 / (k + 1) ** 2 for k in range(6)]
    assert run(HOAG(), LINEAR.oracle("mixed", floor=1.0), max_steps=500).status is UpperStatus.SMALL_DECREASE
    uphill = ROSENBROCK.oracle()
    uphill.fails_at = lambda theta: bool(theta[0] != -1.2)
    assert run(HOAG(), uphill).status is UpperStatus.NO_PROGRESS
    assert run(HOAG(initial_length=1e-12), LINEAR.oracle()).status is UpperStatus.SMALL_STEP


def test_scheduled_gradient_is_the_plain_iteration() -> None:
    oracle = UNBOUNDED.oracle()
    state = run(ScheduledGradient(Fixed(0.01), Fixed(0.3)), oracle, torch.zeros(2, dtype=torch.float64), max_steps=3)
    theta, exact = torch.zeros(2, dtype=torch.float64), UNBOUNDED.oracle()
    for _ in range(3):
        theta = theta - 0.01 * exact.hypergradient(theta).gradient
    assert state.current.theta.equal(theta)
    assert [a for _, _, a in oracle.asked] == [0.3] * 4


def test_scheduled_gradient_stops() -> None:
    def status(optimizer: UpperOptimizer, **options: float) -> UpperStatus:
        return run(optimizer, LINEAR.oracle("mixed", **options), max_steps=600).status

    assert status(ScheduledGradient(Fixed(0.02))) is UpperStatus.STATIONARY
    assert status(ScheduledGradient(Fixed(0.02), Fixed(1.0))) is UpperStatus.SMALL_DECREASE
    assert status(ScheduledGradient(Fixed(0.02)), floor=1e-2) is UpperStatus.SMALL_DECREASE
    assert status(ScheduledGradient(Fixed(1e-14))) is UpperStatus.SMALL_STEP
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: bool(theta[0] != -1.2)
    assert run(ScheduledGradient(Fixed(1e-3)), oracle).status is UpperStatus.NON_FINITE
    with pytest.raises(ValueError, match="step_length: found no number"):
        run(ScheduledGradient(NoNumbers()), LINEAR.oracle())


class NoNumbers(Fixed):
    """A schedule without numbers."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def __call__(self, iteration: int, slope: float | None = None) -> None:
        return None


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [(MAID(), 30), (HOAG(), 40), (ScheduledGradient(Fixed(0.05), Adaptive(0.3)), 40)],
    ids=label,
)
@pytest.mark.parametrize("error", ["rigorous", "estimate"])
def test_one_parameter_denoising(optimizer: UpperOptimizer, steps: int, error: str) -> None:
    problem = one_parameter()
    problem.objective.estimator = ImplicitHypergradient(error=error)
    watched = WatchedOracle(problem.objective)
    state = run(optimizer, watched, problem.start, max_steps=steps)
    assert state.evaluations == len(watched.requests)
    assert state.best.lower <= state.best.value <= state.best.upper
    assert state.best.certified == (error == "rigorous")
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-4)


def test_hyperparameters_are_checked() -> None:
    for make, message in [
        (lambda: MAID(descent=1.0), "MAID.descent: found 1.0"),
        (lambda: MAID(acceptance=0.3), "expected acceptance"),
        (lambda: MAID(least_shrink=0.6), "MAID.least_shrink: found 0.6"),
        (lambda: MAID(grow=0.5), "MAID.grow: found 0.5"),
        (lambda: MAID(initial_accuracy=0.0), "MAID.initial_accuracy: found 0.0"),
        (lambda: HOAG(grow=1.5), "HOAG.grow: found 1.5"),
        (lambda: HOAG(initial_length=-1.0), "HOAG.initial_length: found -1.0"),
        (lambda: Fixed(0.0), "Fixed.value: found 0.0"),
        (lambda: Polynomial(1.0, -1.0), "Polynomial.power: found -1.0"),
        (lambda: Geometric(1.0, 1.0), "Geometric.factor: found 1.0"),
        (lambda: Adaptive(2.0), "Adaptive.relative: found 2.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


def test_schedules() -> None:
    assert [Fixed(2.0)(k) for k in range(3)] == [2.0, 2.0, 2.0]
    assert [Polynomial(2.0, 1.0)(k) for k in range(3)] == [2.0, 1.0, 2.0 / 3.0]
    assert [Geometric(2.0, 0.5, 0.6)(k) for k in range(3)] == [2.0, 1.0, 0.6]
    assert Adaptive(0.1)(0) is None
    assert Adaptive(0.1, initial=3.0)(0) == 3.0
    assert Adaptive(0.1)(7, 5.0) == 0.5
    assert math.isclose(Adaptive(0.1, floor=0.2)(7, 1.0) or 0.0, 0.2)
