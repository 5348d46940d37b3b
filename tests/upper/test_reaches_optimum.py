from __future__ import annotations

import itertools
import math

import pytest
import torch
from synthetic_oracles import ERRORS, FLAT_TAIL, FREUDENSTEIN_ROTH, LINEAR, PROBLEMS, ROSENBROCK, Problem

from bilearn.upper import (
    LBFGSB,
    BayesianSearch,
    GaussNewton,
    GridSearch,
    ProjectedGradient,
    RandomSearch,
    TorchOptimizer,
    UpperOptimizer,
    UpperStatus,
    run,
)

DESCENT: list[UpperOptimizer] = [GaussNewton(), LBFGSB(), ProjectedGradient()]
CASES = [
    (optimizer, problem)
    for optimizer in (*DESCENT, GaussNewton(second_order=False))
    for problem in PROBLEMS
    if not (optimizer.name == "ProjectedGradient" and problem in (FREUDENSTEIN_ROTH, FLAT_TAIL))
    if not (optimizer == GaussNewton(second_order=False) and problem is FREUDENSTEIN_ROTH)
]
CONVERGED = {UpperStatus.STATIONARY, UpperStatus.SMALL_DECREASE, UpperStatus.SMALL_STEP}


def name(value: object) -> str:
    if isinstance(value, Problem):
        return value.name.split()[0]
    return value.name if isinstance(value, UpperOptimizer) else str(value)


def check_inside(oracle, state) -> None:
    """Every point asked for lies in the box, exactly, and every request was counted."""
    for _, theta, _ in oracle.asked:
        assert bool(((theta >= oracle.parameters.lower) & (theta <= oracle.parameters.upper)).all())
    assert state.evaluations == len(oracle.asked)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(("optimizer", "problem"), CASES, ids=name)
def test_descent_reaches_the_optimum(optimizer: UpperOptimizer, problem: Problem, error: str) -> None:
    oracle = problem.oracle(error)
    state = run(optimizer, oracle, max_steps=2000)
    check_inside(oracle, state)
    assert state.status in CONVERGED
    assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-6)


@pytest.mark.parametrize("error", ["above", "below", "mixed"])
@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_accepted_points_really_decrease(optimizer: UpperOptimizer, error: str) -> None:
    oracle = ROSENBROCK.oracle(error)
    accepted: list[torch.Tensor] = []
    run(optimizer, oracle, max_steps=2000, callback=lambda state: accepted.append(state.current.theta))
    values = [oracle.exact(theta) for theta in accepted]
    assert values[-1] < values[0]
    assert all(b <= a for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_start_at_the_optimum_is_recognized(optimizer: UpperOptimizer) -> None:
    oracle = LINEAR.oracle()
    state = run(optimizer, oracle, torch.tensor(LINEAR.minimizer, dtype=torch.float64))
    assert state.status in CONVERGED
    assert state.best.value == pytest.approx(LINEAR.optimum, rel=1e-12)
    assert len(oracle.asked) <= 3


@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_start_is_projected_into_the_box(optimizer: UpperOptimizer) -> None:
    oracle = ROSENBROCK.oracle()
    state = run(optimizer, oracle, torch.tensor([9.0, -9.0], dtype=torch.float64), max_steps=2000)
    assert oracle.asked[0][1].tolist() == [0.5, -2.0]
    check_inside(oracle, state)
    assert state.best.value == pytest.approx(ROSENBROCK.optimum, rel=1e-6)


@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_float32(optimizer: UpperOptimizer) -> None:
    oracle = FLAT_TAIL.oracle("mixed", torch.float32, floor=1e-6)
    state = run(optimizer, oracle, max_steps=500)
    check_inside(oracle, state)
    assert state.best.theta.dtype == torch.float32
    assert oracle.exact(state.best.theta) == pytest.approx(FLAT_TAIL.optimum, rel=1e-3)


@pytest.mark.parametrize("floor", [1e-2, 1e-5])
@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_oracle_with_a_floor_ends_near_what_it_can_tell(optimizer: UpperOptimizer, floor: float) -> None:
    oracle = LINEAR.oracle("mixed", floor=floor)
    state = run(optimizer, oracle, max_steps=500)
    check_inside(oracle, state)
    assert state.status in CONVERGED
    assert len(oracle.asked) < 200
    assert oracle.exact(state.best.theta) <= LINEAR.optimum + 20 * floor


@pytest.mark.parametrize("optimizer", DESCENT, ids=name)
def test_non_finite_trials_shrink_the_step(optimizer: UpperOptimizer) -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: bool((theta[1] - theta[0] ** 2).abs() > 0.6)
    state = run(optimizer, oracle, max_steps=3000)
    assert any(oracle.fails_at(theta) for _, theta, _ in oracle.asked) or optimizer.name == "GaussNewton"
    assert oracle.exact(state.best.theta) == pytest.approx(ROSENBROCK.optimum, rel=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        *DESCENT,
        TorchOptimizer(lambda p: torch.optim.Adam(p, lr=0.1)),
        GridSearch(2),
        RandomSearch(2),
        BayesianSearch(2),
    ],
    ids=lambda o: o.name,
)
def test_non_finite_start(optimizer: UpperOptimizer) -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: True
    state = run(optimizer, oracle)
    assert state.status is UpperStatus.NON_FINITE
    assert len(oracle.asked) == 1
    assert state.iteration == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.5, nesterov=True),
        lambda p: torch.optim.Rprop(p, lr=0.05),
    ],
)
@pytest.mark.parametrize("error", ["exact", "mixed"])
def test_torch_optimizers(make, error: str) -> None:
    oracle = LINEAR.oracle(error)
    state = run(TorchOptimizer(make), oracle, max_steps=150)
    check_inside(oracle, state)
    assert oracle.exact(state.best.theta) == pytest.approx(LINEAR.optimum, rel=1e-2)


@pytest.mark.parametrize(
    ("optimizer", "within"),
    [
        (GridSearch(9), 0.75),
        (GridSearch((5, 17)), 1e-12),
        (RandomSearch(200), 0.5),
        (BayesianSearch(40), 0.5),
        (BayesianSearch(12, sampler="gp"), 2.0),
    ],
    ids=str,
)
def test_searches(optimizer: UpperOptimizer, within: float) -> None:
    oracle = ROSENBROCK.oracle("exact")
    state = run(optimizer, oracle, max_steps=1000)
    check_inside(oracle, state)
    assert state.status is UpperStatus.EXHAUSTED
    assert {kind for kind, _, _ in oracle.asked} == {"value"}
    assert ROSENBROCK.optimum <= state.best.value <= ROSENBROCK.optimum + within


def test_gauss_newton_needs_few_evaluations() -> None:
    counts = {}
    for problem in PROBLEMS:
        oracle = problem.oracle()
        state = run(GaussNewton(), oracle)
        counts[problem.name.split()[0]] = len(oracle.asked)
        assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-8)
    assert counts["linear"] <= 5
    assert counts["a"] <= 12
    assert max(counts.values()) <= 30


def test_second_order_term_speeds_up_large_residuals() -> None:
    def evaluations(second_order: bool) -> int:
        oracle = FREUDENSTEIN_ROTH.oracle()
        state = run(GaussNewton(second_order=second_order), oracle, max_steps=300)
        assert oracle.exact(state.best.theta) == pytest.approx(FREUDENSTEIN_ROTH.optimum, rel=1e-6)
        return len(oracle.asked)

    assert 2 * evaluations(True) < evaluations(False)


def test_accuracy_is_tied_to_progress() -> None:
    """Requests tighten as the gradient falls, and no request is wasted on accuracy at the start."""
    oracle = FREUDENSTEIN_ROTH.oracle("mixed")
    run(GaussNewton(), oracle)
    gradients = [a for kind, _, a in oracle.asked if kind == "gauss_newton" and a is not None]
    assert oracle.asked[0][2] is None
    assert gradients[0] > 1e-2
    assert min(gradients) < 1e-3 * gradients[0]
    assert math.isfinite(max(gradients))
