from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import threading
import time

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from synthetic_oracles import FLAT_TAIL, FREUDENSTEIN_ROTH, ROSENBROCK

from bilearn.lower import NesterovGradient
from bilearn.problems import one_parameter
from bilearn.upper import LBFGSB, UpperState, UpperStatus, run
from bilearn.upper.blocking_session import BlockingSession, Query
from bilearn.upper.lbfgsb import scipy_lbfgsb


def threads() -> int:
    """Number of live SciPy threads."""
    return sum(t.name == "bilearn-l-bfgs-b" for t in threading.enumerate())


def wait_for_threads() -> None:
    """Give threads that were told to end, but not waited for, a moment to do so."""
    for _ in range(200):
        if threads() == 0:
            return
        time.sleep(0.01)


def test_same_points_as_scipy() -> None:
    oracle, points = FREUDENSTEIN_ROTH.oracle(), []
    run(LBFGSB(), oracle)

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        points.append(x.tolist())
        answer = FREUDENSTEIN_ROTH.oracle().hypergradient(torch.from_numpy(x))
        assert answer.gradient is not None
        return answer.value, answer.gradient.numpy()

    box = list(zip(oracle.parameters.lower.tolist(), oracle.parameters.upper.tolist(), strict=True))
    options = {"ftol": 0.0, "gtol": 0.0, "maxcor": 10}
    minimize(fun, FREUDENSTEIN_ROTH.start, jac=True, method="L-BFGS-B", bounds=box, options=options)
    assert len(oracle.visited()) > 5
    assert oracle.visited() == points[: len(oracle.visited())]


def test_one_step_is_one_accepted_iterate() -> None:
    oracle, optimizer = ROSENBROCK.oracle(), LBFGSB()
    state = optimizer.init(oracle, oracle.parameters.get())
    for k in range(1, 4):
        following = optimizer.step(oracle, state)
        assert following.iteration == k
        assert following.current.value < state.current.value
        assert following.log[: len(state.log)] == state.log
        state = following
    assert threads() == 1
    optimizer.release()
    assert threads() == 0


def test_thread_ends_with_the_run_and_with_an_error() -> None:
    run(LBFGSB(), ROSENBROCK.oracle(), max_steps=3)
    assert threads() == 0
    oracle = ROSENBROCK.oracle()

    def broken(theta: torch.Tensor) -> bool:
        if len(oracle.asked) == 5:
            raise RuntimeError("oracle failed")
        return False

    oracle.fails_at = broken
    with pytest.raises(RuntimeError, match="oracle failed"):
        run(LBFGSB(), oracle)
    assert threads() == 0


def test_thread_ends_with_its_optimizer() -> None:
    oracle, optimizer = ROSENBROCK.oracle(), LBFGSB()
    optimizer.step(oracle, optimizer.init(oracle, oracle.parameters.get()))
    assert threads() == 1
    del optimizer
    gc.collect()
    wait_for_threads()
    assert threads() == 0


def test_optimizer_with_a_waiting_thread_can_be_copied() -> None:
    oracle, optimizer = ROSENBROCK.oracle(), LBFGSB(memory=5)
    state = optimizer.step(oracle, optimizer.init(oracle, oracle.parameters.get()))
    expected = optimizer.step(oracle, state).current.theta
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert other == optimizer
        assert torch.equal(other.step(oracle, state).current.theta, expected)
        other.release()
    optimizer.release()


def test_replay_asks_the_oracle_nothing() -> None:
    oracle = ROSENBROCK.oracle()
    state = run(LBFGSB(), oracle, max_steps=3)
    asked = len(oracle.asked)
    following = LBFGSB().step(oracle, dataclasses.replace(state, status=UpperStatus.RUNNING))
    assert len(oracle.asked) - asked == following.evaluations - state.evaluations


def test_run_of_another_kind_is_refused() -> None:
    oracle = ROSENBROCK.oracle()
    state = run(LBFGSB(), oracle, max_steps=4)
    point, value, gradient = state.log[1]
    log = (state.log[0], (point + 1e-3, value, gradient), *state.log[2:])
    with pytest.raises(RuntimeError, match="SciPy departs from it after 0 of 4 steps"):
        run(LBFGSB(), oracle, state=dataclasses.replace(state, log=log))
    assert threads() == 0


def test_scipy_sees_the_refined_differences() -> None:
    """A value that changed after SciPy was told it shifts all later ones."""
    oracle = ROSENBROCK.oracle("mixed", sloppy=0.5)
    state = run(LBFGSB(), oracle, max_steps=200)
    assert state.shift != 0.0
    (told,) = [v for p, v, _ in state.log if torch.equal(p, state.current.theta)]
    assert told == pytest.approx(state.current.value + state.shift, rel=1e-12)
    assert abs(told - oracle.exact(state.current.theta)) > 10 * state.current.bound


def test_long_steps_in_logarithms_are_cut_without_asking() -> None:
    oracle = FLAT_TAIL.oracle()
    state = run(LBFGSB(max_step=0.5), oracle)
    assert state.best.value == pytest.approx(FLAT_TAIL.optimum, rel=1e-6)
    assert len(state.log) > len(oracle.asked)
    accepted: list[torch.Tensor] = []
    run(LBFGSB(max_step=0.5), FLAT_TAIL.oracle(), callback=lambda s: accepted.append(s.current.theta))
    moves = torch.stack(accepted).diff(dim=0).abs()
    assert 0.3 < float(moves[:, :2].max()) <= 0.5


def test_memory_and_line_search_limit_matter() -> None:
    visited = []
    for options in ({}, {"memory": 1}, {"line_search_steps": 1}):
        oracle = FREUDENSTEIN_ROTH.oracle()
        state = run(LBFGSB(**options), oracle)
        visited.append(oracle.visited())
    assert visited[1] != visited[0]
    assert len(visited[2]) < len(visited[0])
    assert state.status is UpperStatus.NO_PROGRESS


def test_leniency_saves_work_and_a_run_ends_with_a_proved_gradient() -> None:
    """Bounds may be far larger than wanted while steps succeed; the end of a run does not rest on belief."""
    work, states = [], []
    for leniency in (1.0, LBFGSB().leniency):
        problem = one_parameter()
        problem.objective.solver = NesterovGradient()
        limit = 1.0001 * problem.optimum

        def near(state: UpperState, limit: float = limit) -> UpperStatus | None:
            return UpperStatus.EARLY_STOP if state.best.upper <= limit else None

        state = run(LBFGSB(leniency=leniency), problem.objective, problem.start, callback=near)
        assert state.status is UpperStatus.EARLY_STOP
        work.append(problem.objective.cost.gradients)
        states.append(state)
    assert work[1] < work[0]
    assert states[1].evaluations <= states[0].evaluations + 6
    worst = FREUDENSTEIN_ROTH.oracle("above")
    state = run(LBFGSB(), worst)
    assert state.leniency == 1.0
    assert 0 < state.origin <= state.iteration
    assert state.best.value == pytest.approx(FREUDENSTEIN_ROTH.optimum, rel=1e-6)
    with pytest.raises(ValueError, match=r"LBFGSB\.leniency: found 0\.5"):
        LBFGSB(leniency=0.5)


def test_session_reports_what_scipy_raises() -> None:
    session = BlockingSession(scipy_lbfgsb(np.zeros(2), np.ones(2), -np.ones(2), 5, 20), "l-bfgs-b")
    with pytest.raises(ValueError):
        session.next()
    session.close()
    session = BlockingSession(scipy_lbfgsb(np.zeros(2), -np.ones(2), np.ones(2), 5, 20), "l-bfgs-b")
    event = session.next()
    assert isinstance(event, Query)
    assert event.point.tolist() == [0.0, 0.0]
    session.close()
    assert threads() == 0
