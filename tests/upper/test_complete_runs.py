"""Whole runs of every method: each number that was recorded is checked against solves to machine precision."""

from __future__ import annotations

import pytest
from small_problems import METHODS, SmallProblem

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.lower import LowerSolver, NesterovGradient
from bilearn.upper import LBFGSB, MAID, FixedAccuracy, GaussNewton, UpperOptimizer, UpperStatus, run

BOX = {"alpha": (1e-3, 1e2), "xi": (1e-3, 1.0), "nu": (1e-3, 1.0)}
"""Wide enough for every method to move, narrow enough for Newton's method with dense matrices everywhere in it."""


def check(problem: SmallProblem) -> None:
    """Every recorded value and gradient lies within its bound, and an accuracy is recorded as reached only where it was."""
    exact = problem.exact()
    for evaluation in problem.seen:
        value, gradient = exact(evaluation)
        assert evaluation.certified
        assert abs(evaluation.value - value) <= evaluation.bound
        assert evaluation.lower <= value <= evaluation.upper
        got = evaluation.bound
        if evaluation.gradient is not None:
            got = evaluation.gradient_bound
            assert float((evaluation.gradient - gradient).norm()) <= got + 1e-12 * float(gradient.norm())
        assert evaluation.accuracy is None or got <= evaluation.accuracy or "not reached" in evaluation.message
        assert evaluation.cost.gradients > 0


@pytest.mark.parametrize("optimizer", METHODS, ids=lambda o: o.name)
@pytest.mark.parametrize("solver", [None, NesterovGradient()], ids=["default", "nesterov"])
def test_every_record_of_a_run_holds(optimizer: UpperOptimizer, solver: LowerSolver | None) -> None:
    learn = ("alpha",) if solver is not None else ("alpha", "xi", "nu")
    problem = SmallProblem(learn, {name: BOX[name] for name in learn}, solver=solver)
    state = run(optimizer, problem.objective, problem.start, max_steps=7)
    check(problem)
    assert state.evaluations == len(problem.seen) == problem.objective.evaluations
    assert sum(e.cost.gradients for e in problem.seen) == problem.objective.cost.gradients
    assert state.status is not UpperStatus.RUNNING
    whole = [e for e in problem.seen if e.minibatch is None]
    assert state.best.minibatch is None
    assert state.best.upper <= min(e.upper for e in whole[:1]) * (1 + 1e-12)
    assert any(e.theta.equal(state.best.theta) for e in whole)


@pytest.mark.parametrize("options", [{"distance": 1e-2}, {"steps": 40}, {"steps": 40, "trusted": True}], ids=str)
@pytest.mark.parametrize("optimizer", [GaussNewton(), LBFGSB(), MAID()], ids=lambda o: o.name)
def test_a_fixed_accuracy_records_bounds_and_promises_none(optimizer: UpperOptimizer, options: dict) -> None:
    problem = SmallProblem(("alpha",), {"alpha": BOX["alpha"]}, solver=NesterovGradient())
    objective = FixedAccuracy(problem.objective, **options)
    state = run(optimizer, objective, problem.start, max_steps=6)
    check(problem)
    assert state.evaluations == len(problem.seen)
    assert all(e.accuracy is None for e in problem.seen)
    assert state.best.certified is not options.get("trusted", False)


def test_estimated_errors_are_recorded_as_such() -> None:
    problem = SmallProblem(("alpha",), {"alpha": BOX["alpha"]})
    problem.objective.estimator = ImplicitHypergradient(error="estimate")
    state = run(MAID(), problem.objective, problem.start, max_steps=8)
    gradients = [e for e in problem.seen if e.gradient is not None]
    assert gradients
    assert not any(e.certified for e in gradients)
    assert all(e.certified for e in problem.seen if e.gradient is None)
    assert not state.best.certified


def test_unreached_accuracy_is_said_and_not_recorded_as_reached() -> None:
    problem = SmallProblem()
    missed = [problem.objective.value(problem.start, 1e-18), problem.objective.hypergradient(problem.start, 1e-18)]
    assert missed[0].bound > 1e-18
    assert missed[1].gradient_bound > 1e-18
    assert all("1e-18 was not reached" in e.message for e in missed)
    check(problem)


@pytest.mark.parametrize("optimizer", [GaussNewton(), LBFGSB(), MAID(), METHODS[0]], ids=lambda o: o.name)
def test_records_hold_where_a_budget_cuts_solves_off(optimizer: UpperOptimizer) -> None:
    budget = 300
    problem = SmallProblem(("alpha",), {"alpha": BOX["alpha"]}, solver=NesterovGradient())
    problem.objective.max_gradients = budget
    state = run(optimizer, problem.objective, problem.start, max_gradients=budget)
    assert state.status is UpperStatus.BUDGET
    assert budget <= problem.objective.cost.gradients <= budget + 20 * len(problem.seen)
    check(problem)
    problem.objective.max_gradients = None
    resumed = run(optimizer, problem.objective, state=state, max_steps=state.iteration + 2)
    assert resumed.status is not UpperStatus.BUDGET
    assert resumed.best.upper <= state.best.upper
