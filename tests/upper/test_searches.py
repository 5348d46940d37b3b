from __future__ import annotations

import dataclasses
import itertools
import sys

import pytest
import torch
from synthetic_oracles import LINEAR, ROSENBROCK, UNBOUNDED, Problem

from bilearn.upper import BayesianSearch, GridSearch, RandomSearch, UpperOptimizer, UpperStatus, run


def test_grid_visits_every_point_once() -> None:
    oracle = ROSENBROCK.oracle()
    state = run(GridSearch((3, 2), accuracy=0.5), oracle)
    assert state.status is UpperStatus.EXHAUSTED
    assert oracle.visited()[1:] == [list(p) for p in itertools.product((-1.5, -0.5, 0.5), (-2.0, 2.0))]
    assert {a for _, _, a in oracle.asked} == {0.5}
    assert (state.iteration, state.evaluations) == (6, 7)


def test_one_point_is_the_middle() -> None:
    oracle = ROSENBROCK.oracle()
    run(GridSearch(1), oracle)
    assert oracle.visited()[1:] == [[-0.5, 0.0]]


def test_random_points_fill_the_box_and_depend_on_the_seed() -> None:
    clouds = []
    for seed in (0, 0, 1):
        oracle = LINEAR.oracle()
        run(RandomSearch(60, seed), oracle)
        clouds.append(torch.tensor(oracle.visited()[1:]))
    assert torch.equal(clouds[0], clouds[1])
    assert not torch.equal(clouds[0], clouds[2])
    assert float(clouds[0].min()) < -0.9
    assert float(clouds[0].max()) > 0.9
    assert float(clouds[0].mean().abs()) < 0.1


def test_bayesian_points_depend_on_seed_and_values() -> None:
    def visited(seed: int, problem: Problem) -> list[list[float]]:
        oracle = problem.oracle()
        run(BayesianSearch(16, seed), oracle)
        return oracle.visited()

    bowl = dataclasses.replace(ROSENBROCK, residual=lambda t: t + 1)
    first = visited(0, ROSENBROCK)
    assert visited(0, ROSENBROCK) == first
    assert visited(1, ROSENBROCK) != first
    assert visited(0, bowl) != first


def test_bayesian_search_learns() -> None:
    oracle = LINEAR.oracle()
    run(BayesianSearch(40), oracle)
    values = torch.tensor([oracle.exact(theta) for _, theta, _ in oracle.asked])
    assert float(values[-15:].median()) < 0.6 * float(values[:15].median())


@pytest.mark.parametrize("optimizer", [GridSearch(4), RandomSearch(12), BayesianSearch(14)], ids=str)
def test_non_finite_points_are_passed_over(optimizer: UpperOptimizer) -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: bool(theta[1] < 0.5)
    state = run(optimizer, oracle, torch.tensor([0.0, 1.0]), max_steps=100)
    assert state.status is UpperStatus.EXHAUSTED
    assert state.best.value == min(oracle.exact(t) for _, t, _ in oracle.asked if not oracle.fails_at(t))


@pytest.mark.parametrize("optimizer", [GridSearch(2), RandomSearch(2), BayesianSearch(2)], ids=str)
def test_unbounded_coordinates_are_refused(optimizer: UpperOptimizer) -> None:
    with pytest.raises(ValueError, match=rf"{optimizer.name}: found unbounded coordinates \(p0, p1\)"):
        run(optimizer, UNBOUNDED.oracle())


def test_grids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="found 3 numbers, expected 1 or 2"):
        run(GridSearch((2, 2, 2)), ROSENBROCK.oracle())
    with pytest.raises(ValueError, match="expected a grid of at most 1000000 points"):
        run(GridSearch(1001), ROSENBROCK.oracle())


def test_missing_optuna_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        ImportError, match=r"Optuna is not installed; install it with 'pip install \"bilearn\[search\]\"'"
    ):
        BayesianSearch()


def test_optuna_settings_are_left_alone() -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    run(BayesianSearch(2), ROSENBROCK.oracle())
    assert optuna.logging.get_verbosity() == before
