"""DFO-LS and Py-BOBYQA behind ``init`` and ``step``."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from dataclasses import replace

import pytest
import torch
from synthetic_oracles import FLAT_TAIL, FREUDENSTEIN_ROTH, LINEAR, ROSENBROCK, UNBOUNDED, Problem

from bilearn.problems import one_parameter
from bilearn.upper import DFOLS, PyBOBYQA, UpperStatus, run
from bilearn.upper.foreign_dfo import ForeignDFO

BOTH = pytest.mark.parametrize("optimizer", [DFOLS(), PyBOBYQA()], ids=lambda o: o.name)


def waiting() -> int:
    """Number of live threads of the packages."""
    return sum(t.name in ("bilearn-dfols", "bilearn-pybobyqa") for t in threading.enumerate())


@BOTH
@pytest.mark.parametrize("problem", [ROSENBROCK, FREUDENSTEIN_ROTH, LINEAR, UNBOUNDED, FLAT_TAIL], ids=lambda p: p.name)
def test_reaches_known_minima_and_says_why_it_stops(optimizer: ForeignDFO, problem: Problem) -> None:
    state = run(optimizer, problem.oracle(), max_steps=500)
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-6)
    assert state.status is UpperStatus.SMALL_STEP
    assert waiting() == 0


@BOTH
def test_published_problem(optimizer: ForeignDFO) -> None:
    problem = one_parameter()
    state = run(replace(optimizer, final_radius=1e-3), problem.objective, problem.start)
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-4)
    assert state.evaluations < 60


def test_residuals_are_distances_and_their_squares_sum_to_the_objective() -> None:
    problem = one_parameter()
    evaluation = problem.objective.value(problem.start, 1e-8)
    told = DFOLS().told(evaluation)
    assert evaluation.residuals is not None
    assert torch.allclose(told[:-1], evaluation.residuals, rtol=1e-12)
    penalized = replace(evaluation, value=evaluation.value + 4.0, penalty=4.0)
    told = DFOLS().told(penalized)
    assert float(told[-1]) == 2.0
    assert float(told.square().sum()) == pytest.approx(penalized.value, rel=1e-12)
    with pytest.raises(
        ValueError, match="found a smallest loss of -1 and a penalty of 0, expected none to be negative"
    ):
        DFOLS().told(replace(evaluation, losses=-torch.ones(1)))


@BOTH
def test_resumed_run_is_the_uninterrupted_one(optimizer: ForeignDFO) -> None:
    whole, first = ROSENBROCK.oracle(), ROSENBROCK.oracle()
    expected = run(optimizer, whole, max_steps=30)
    stopped = run(optimizer, first, max_steps=12)
    again = ROSENBROCK.oracle()
    other = pickle.loads(pickle.dumps(copy.deepcopy(optimizer)))
    state = run(other, again, state=stopped, max_steps=30)
    assert first.visited() + again.visited() == whole.visited()
    assert torch.equal(state.best.theta, expected.best.theta)
    assert state.evaluations == expected.evaluations
    assert waiting() == 0


@BOTH
def test_asks_relative_to_the_smallest_value(optimizer: ForeignDFO) -> None:
    oracle = FREUDENSTEIN_ROTH.oracle()
    run(replace(optimizer, value_accuracy=1e-3), oracle)
    accuracies = [a for _, _, a in oracle.asked]
    assert accuracies[0] is None
    assert accuracies[-1] == pytest.approx(1e-3 * FREUDENSTEIN_ROTH.optimum, rel=1e-3)
    assert accuracies[1:] == sorted(accuracies[1:], reverse=True)
    oracle = FREUDENSTEIN_ROTH.oracle()
    run(replace(optimizer, value_accuracy=None), oracle, max_steps=3)
    assert {a for _, _, a in oracle.asked} == {None}


@BOTH
def test_non_finite_points_turn_it_back(optimizer: ForeignDFO) -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: bool(theta[1] > 1.2)
    state = run(optimizer, oracle, torch.tensor([-1.0, 1.0]), max_steps=500)
    assert any(oracle.fails_at(t) for _, t, _ in oracle.asked)
    assert state.best.value == pytest.approx(ROSENBROCK.optimum, rel=1e-6)


@BOTH
def test_ends_at_its_evaluations(optimizer: ForeignDFO) -> None:
    state = run(replace(optimizer, max_evaluations=7), ROSENBROCK.oracle(), max_steps=100)
    assert state.status is UpperStatus.EXHAUSTED
    assert state.evaluations == 8


@BOTH
def test_thread_ends_with_an_error_of_the_oracle(optimizer: ForeignDFO) -> None:
    oracle = ROSENBROCK.oracle()

    def broken(theta: torch.Tensor) -> bool:
        if len(oracle.asked) == 6:
            raise RuntimeError("oracle failed")
        return False

    oracle.fails_at = broken
    with pytest.raises(RuntimeError, match="oracle failed"):
        run(optimizer, oracle)
    assert waiting() == 0


def test_run_of_another_kind_is_refused() -> None:
    oracle = ROSENBROCK.oracle()
    state = run(DFOLS(), oracle, max_steps=4)
    point, answer = state.log[2]
    log = (*state.log[:2], (point + 1e-3, answer), *state.log[3:])
    with pytest.raises(RuntimeError, match="DFOLS: the stored run cannot be continued: DFO-LS departs from it"):
        run(DFOLS(), oracle, state=replace(state, log=log))
    assert waiting() == 0


@pytest.mark.parametrize(("kind", "package"), [(DFOLS, "dfols"), (PyBOBYQA, "pybobyqa")])
def test_missing_package_is_named(kind: type[ForeignDFO], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"is not installed; install it with 'pip install \"bilearn\[dfo\]\"'"):
        kind()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 < final_radius < initial_radius"):
        DFOLS(initial_radius=1e-7)
    with pytest.raises(ValueError, match=r"PyBOBYQA\.value_accuracy: found 0\.0"):
        PyBOBYQA(value_accuracy=0.0)
    with pytest.raises(ValueError, match=r"DFOLS\.max_evaluations: found 0"):
        DFOLS(max_evaluations=0)
