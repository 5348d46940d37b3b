"""Budgets: projections against their optimality conditions; projected L-BFGS against the conditions of its problem."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from registry import rand
from synthetic_oracles import Problem
from torch import Tensor

from bilearn.parameters import Identity, Log10
from bilearn.upper import LBFGSB, Budget, ProjectedLBFGS, UpperStatus, run, state_from_tree, state_to_tree

COUNT = 12


def problem(seed: int) -> Problem:
    """|M theta - b|^2 / 2 in [0, 1]^n, condition number 100; most unconstrained entries leave the box."""
    left, _ = torch.linalg.qr(rand((COUNT, COUNT), seed) - 0.5)
    right, _ = torch.linalg.qr(rand((COUNT, COUNT), seed + 1) - 0.5)
    matrix = left @ torch.diag(torch.logspace(-2, 0, COUNT, dtype=torch.float64)) @ right
    b = matrix @ (4 * rand((COUNT,), seed + 2) - 1.5)

    def residual(theta: Tensor) -> Tensor:
        return matrix @ theta - b

    return Problem("budget", residual, [Identity((0.0, 1.0))] * COUNT, [0.5] * COUNT, 0.0, [])


def violation(theta: Tensor, gradient: Tensor, weights: Tensor | None) -> float:
    """Distance to the optimality conditions: with some multiplier c, g - c w is 0 inside, >= 0 below, <= 0 above."""
    low, high = theta <= 1e-9, theta >= 1 - 1e-9
    inner = ~(low | high)
    if weights is None:
        reduced = gradient
    else:
        assert bool(inner.any())
        reduced = gradient - (gradient[inner] / weights[inner]).median() * weights
    wrong = torch.where(low, reduced.clamp(max=0.0), torch.where(high, reduced.clamp(min=0.0), reduced))
    return float(wrong.abs().max())


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0] * (COUNT // 2), dtype=torch.float64)])
@pytest.mark.parametrize("total", [0.0, 1.0, 3.5, 12.0])
def test_projection_is_the_nearest_point(weights: Tensor | None, total: float) -> None:
    parameters = problem(0).oracle().parameters
    budget = Budget(0, COUNT, total, weights)
    w = torch.ones(COUNT, dtype=torch.float64) if weights is None else weights
    z = 4 * rand((COUNT,), 5) - 2
    point = budget.project(parameters, z)
    assert abs(float(w @ point) - total) <= 1e-12
    assert bool(((point >= 0) & (point <= 1)).all())
    if 0 < total < 12:
        assert violation(point, point - z, w) <= 1e-12
    assert torch.allclose(budget.project(parameters, point), point, atol=1e-14)


def test_projection_leaves_other_coordinates_in_their_box() -> None:
    parameters = problem(0).oracle().parameters
    z = 4 * rand((COUNT,), 5) - 2
    point = Budget(2, 6, 1.5).project(parameters, z)
    assert abs(float(point[2:6].sum()) - 1.5) <= 1e-13
    assert torch.equal(point[6:], z[6:].clamp(0, 1))


def test_descent_stays_feasible_and_is_minus_the_gradient_inside() -> None:
    parameters = problem(0).oracle().parameters
    theta = torch.tensor([0.0] * 4 + [1.0] * 2 + [0.5] * 6, dtype=torch.float64)
    gradient = rand((COUNT,), 7) - 0.5
    budget = Budget(0, COUNT, float(theta.sum()))
    d = budget.descent(parameters, theta, gradient)
    assert abs(float(d.sum())) <= 1e-13
    assert bool((d[:4] >= 0).all())
    assert bool((d[4:6] <= 0).all())
    assert float(gradient @ d) == pytest.approx(-float(d @ d), rel=1e-12)


@pytest.mark.parametrize("total", [-1.0, 13.0])
def test_impossible_budget(total: float) -> None:
    parameters = problem(0).oracle().parameters
    with pytest.raises(ValueError, match="expected a number in"):
        Budget(0, COUNT, total).project(parameters, torch.zeros(COUNT, dtype=torch.float64))


@pytest.mark.parametrize("arguments", [(3, 3, 1.0), (0, 2, float("nan"))])
def test_malformed_budget(arguments: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="Budget"):
        Budget(*arguments)


def test_budget_weights_are_positive() -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        Budget(0, 2, 1.0, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("error", ["exact", "mixed", "unknown"])
@pytest.mark.parametrize("total", [None, 2.0, 4.25, 7.0])
def test_ends_at_the_optimality_conditions(total: float | None, error: str) -> None:
    task = problem(3)
    oracle = task.oracle(error)
    budget = None if total is None else Budget(0, COUNT, total)
    method = ProjectedLBFGS(budget, gradient_tolerance=1e-7, decrease_tolerance=1e-14)
    final = run(method, oracle, max_steps=300)
    theta = final.best.theta.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(task.residual(theta).square().sum(), theta)
    weights = None if budget is None else torch.ones(COUNT, dtype=torch.float64)
    assert violation(theta.detach(), gradient, weights) <= 2e-5 * float(gradient.abs().max())
    if total is not None:
        assert float(theta.detach().sum()) == pytest.approx(total, abs=1e-12)


def test_same_answer_as_lbfgsb_without_a_budget() -> None:
    task = problem(8)
    mine, other = (run(ProjectedLBFGS(), task.oracle(), max_steps=300), run(LBFGSB(), task.oracle(), max_steps=300))
    assert mine.best.value == pytest.approx(other.best.value, rel=1e-6)


def test_long_steps_in_logarithms_are_cut() -> None:
    task = Problem(
        "flat",
        lambda theta: torch.stack((torch.pow(10.0, theta[0]) - 1e-3, theta[1] - 0.25)),
        [Log10((1e-6, 1e2)), Identity((0.0, 1.0))],
        [1.0, 0.75],
        0.0,
        [-3.0, 0.25],
    )
    oracle = task.oracle()
    run(ProjectedLBFGS(max_step=0.2), oracle, max_steps=10)
    moves = [abs(b[0] - a[0]) for a, b in zip(oracle.visited(), oracle.visited()[1:], strict=False)]
    assert max(moves) <= 0.4 + 1e-12
    assert max(moves) > 0.1


def test_relative_tolerance_ends_early() -> None:
    task = problem(3)
    loose = run(ProjectedLBFGS(relative_tolerance=0.1), task.oracle(), max_steps=300)
    tight = run(ProjectedLBFGS(), task.oracle(), max_steps=300)
    assert loose.status is UpperStatus.STATIONARY
    assert loose.iteration < tight.iteration


@pytest.mark.parametrize("error", ["above", "below", "mixed"])
def test_a_lenient_run_asks_for_less_and_ends_with_a_proof(error: str) -> None:
    ends, asked = [], []
    for leniency in (1.0, 30.0):
        oracle = problem(3).oracle(error)
        method = ProjectedLBFGS(leniency=leniency, gradient_tolerance=1e-5, decrease_tolerance=1e-14)
        final = run(method, oracle, max_steps=300)
        assert final.status is UpperStatus.STATIONARY
        scale = max(abs(final.current.value), 1e-8 * abs(final.initial_value - final.current.value))
        assert method.slope(oracle.parameters, final.current) + final.current.gradient_bound <= 1e-5 * scale
        ends.append(final.best.value)
        asked.append([a for kind, _, a in oracle.asked if kind == "hypergradient" and a is not None])
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
    assert asked[1][0] > 5 * asked[0][0]


def test_state_survives_a_checkpoint_and_goes_on_alike() -> None:
    task, method = problem(3), ProjectedLBFGS(Budget(0, COUNT, 4.0))
    whole = run(method, task.oracle(), max_steps=12)
    half = run(method, task.oracle(), max_steps=6)
    again = run(method, task.oracle(), max_steps=12, state=state_from_tree(method, state_to_tree(half)))
    assert torch.equal(whole.best.theta, again.best.theta)


@pytest.mark.parametrize(
    "options",
    [{"memory": 0}, {"line_search_steps": 0}, {"acceptance": 0.0}, {"gradient_accuracy": 1.0}, {"first_step": 0.0}],
)
def test_hyperparameters_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ProjectedLBFGS"):
        replace(ProjectedLBFGS(), **options)  # type: ignore[arg-type]
