from __future__ import annotations

import math

import pytest
import torch

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.lower.nesterov import NesterovGradient
from bilearn.problems import one_parameter
from bilearn.reduced_objective import ReducedObjective
from bilearn.upper import MAID, DynamicDFO, FixedAccuracy, GaussNewton, UpperStatus, run

START = torch.tensor([0.3], dtype=torch.float64)


@pytest.fixture(scope="module")
def objective() -> ReducedObjective:
    return one_parameter().objective


@pytest.fixture(scope="module")
def exact() -> ReducedObjective:
    return one_parameter().objective


@pytest.mark.parametrize("options", [{"distance": 0.1}, {"distance": 1e-3}, {"steps": 2}, {"steps": 6}], ids=str)
def test_bounds_are_honest(objective: ReducedObjective, exact: ReducedObjective, options: dict[str, float]) -> None:
    fixed = FixedAccuracy(objective, **options)  # type: ignore[arg-type]
    truth = exact.gauss_newton(START, 1e-8)
    for evaluation in (
        fixed.value(START),
        fixed.hypergradient(START, 1e-12),
        fixed.gauss_newton(START),
        fixed.residuals(START),
    ):
        assert evaluation.lower <= truth.lower
        assert truth.upper <= evaluation.upper
        assert evaluation.accuracy is None
        if evaluation.gradient is not None:
            assert float((evaluation.gradient - truth.gradient).norm()) <= evaluation.gradient_bound
    if "distance" in options:
        assert fixed.value(START).lower_error <= options["distance"]


def test_requests_do_not_change_the_work(objective: ReducedObjective) -> None:
    costs = []
    for accuracy in (None, 1.0, 1e-10):
        fixed = FixedAccuracy(objective, distance=1e-2)
        fixed.value(START, accuracy)
        fixed.hypergradient(START + 0.1, accuracy)
        costs.append(fixed.cost.as_dict())
    assert costs[0] == costs[1] == costs[2]
    assert objective.evaluations == 0


@pytest.mark.parametrize("steps", [1, 7])
def test_exactly_so_many_steps(steps: int) -> None:
    objective = one_parameter().objective
    objective.solver = NesterovGradient()
    fixed = FixedAccuracy(objective, steps=steps)
    fixed.value(START)
    assert fixed.cost.gradients == 10 * (1 + steps)
    fixed.value(START)
    assert fixed.cost.gradients == 2 * 10 * (1 + steps)


def test_trusted_numbers_reach_the_method_without_bounds_and_the_observer_with_them(
    objective: ReducedObjective,
) -> None:
    seen = []
    objective.observer = seen.append
    cautious, trusting = (FixedAccuracy(objective, distance=1e-2, trusted=t) for t in (False, True))
    objective.observer = None
    assert run(GaussNewton(), cautious, START).status is UpperStatus.SMALL_DECREASE
    seen.clear()
    state = run(GaussNewton(), trusting, START)
    assert math.isinf(state.best.bound)
    assert not state.best.certified
    assert seen
    assert all(math.isfinite(e.bound) for e in seen)
    assert state.best.value == pytest.approx(1.3714888337818, rel=1e-3)


def test_subset_keeps_the_accuracy(objective: ReducedObjective) -> None:
    part = FixedAccuracy(objective, distance=1e-2).subset(torch.tensor([1, 4]))
    evaluation = part.value(START, 1e-9)
    assert evaluation.losses.shape == (2,)
    assert 1e-4 < evaluation.lower_error <= 1e-2


def test_adaptive_accuracy_needs_less_work_than_an_over_solved_count() -> None:
    def work(steps: int | None) -> int:
        problem = one_parameter()
        problem.objective.solver = NesterovGradient()
        problem.objective.estimator = ImplicitHypergradient(error="estimate")
        objective = problem.objective if steps is None else FixedAccuracy(problem.objective, steps=steps, trusted=True)

        def close(state) -> UpperStatus | None:
            return UpperStatus.EARLY_STOP if state.best.value <= problem.optimum * 1.01 else None

        assert run(MAID(), objective, problem.start, callback=close).status is UpperStatus.EARLY_STOP
        return objective.cost.gradients

    assert 2 * work(None) < work(1000)


def test_options_are_checked(objective: ReducedObjective) -> None:
    for options in ({}, {"distance": 1e-2, "steps": 3}, {"distance": 0.0}, {"steps": 0}):
        with pytest.raises(ValueError, match="expected one of them as a positive number"):
            FixedAccuracy(objective, **options)
    with pytest.raises(ValueError, match="loosest"):
        FixedAccuracy(objective, distance=1e-2, residual=2.0)


def test_derivative_free_methods_run_on_trusted_numbers(objective: ReducedObjective) -> None:
    view = FixedAccuracy(objective, distance=1e-6, trusted=True)
    state = run(DynamicDFO(), view, START, max_steps=40)
    assert state.status in (UpperStatus.SMALL_STEP, UpperStatus.SMALL_DECREASE)
    assert objective.value(state.best.theta, 1e-6).value <= 1.001 * one_parameter().optimum
