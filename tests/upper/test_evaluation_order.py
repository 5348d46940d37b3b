"""Warm starts and the order of evaluations change the work; values and gradients change only within their bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_problems import SmallProblem
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.lower import LowerSolver, NesterovGradient
from bilearn.reduced_objective import ReducedObjective
from bilearn.upper import FixedAccuracy

Ask = Callable[[ReducedObjective, Tensor], Evaluation]
QUESTIONS: dict[str, Ask] = {
    "value": lambda objective, theta: objective.value(theta, 1e-2),
    "default value": lambda objective, theta: objective.value(theta),
    "hypergradient": lambda objective, theta: objective.hypergradient(theta, 1e-1),
    "gauss_newton": lambda objective, theta: objective.gauss_newton(theta, 1e-1),
    "minibatch": lambda objective, theta: objective.subset(torch.tensor([0, 2])).hypergradient(theta, 1e-1),
}
SOLVERS: list[LowerSolver | None] = [None, NesterovGradient()]


def points() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.tensor([-0.5, -1.0, -1.0], dtype=torch.float64) + 0.7 * torch.rand(
        5, 3, dtype=torch.float64, generator=generator
    )


def agree(first: Evaluation, second: Evaluation) -> None:
    """The two intervals share a point, and so do the two balls of gradients."""
    assert max(first.lower, second.lower) <= min(first.upper, second.upper)
    assert abs(first.value - second.value) <= first.bound + second.bound
    if first.gradient is not None and second.gradient is not None:
        apart = float((first.gradient - second.gradient).norm())
        assert apart <= first.gradient_bound + second.gradient_bound


@pytest.mark.parametrize("solver", SOLVERS, ids=["default", "nesterov"])
@pytest.mark.parametrize("question", list(QUESTIONS))
def test_order_changes_nothing_beyond_the_bounds(question: str, solver: LowerSolver | None) -> None:
    ask, thetas = QUESTIONS[question], points()
    fresh, moved = [], 0.0
    for theta in thetas:
        fresh.append(ask(SmallProblem(solver=solver).objective, theta))
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3, 2, 0]):
        warm = SmallProblem(solver=solver).objective
        for index in order:
            answer = ask(warm, thetas[index])
            agree(answer, fresh[index])
            moved = max(moved, abs(answer.value - fresh[index].value))
    assert moved > 0.0


@pytest.mark.parametrize("options", [{"distance": 1e-2}, {"steps": 30}], ids=str)
def test_order_at_a_fixed_accuracy(options: dict) -> None:
    thetas = points()

    def objective() -> FixedAccuracy:
        return FixedAccuracy(SmallProblem(solver=NesterovGradient()).objective, **options)

    fresh, warm = [objective().hypergradient(theta) for theta in thetas], objective()
    for index in (3, 1, 4, 0, 2, 3):
        agree(warm.hypergradient(thetas[index]), fresh[index])


def test_a_snapshot_of_another_point_changes_nothing_beyond_the_bounds() -> None:
    thetas = points()
    objective = SmallProblem(solver=NesterovGradient()).objective
    answers, snapshots = [], []
    for theta in thetas:
        answers.append(objective.value(theta, 1e-2))
        snapshots.append(objective.snapshot())
    for index in range(5):
        objective.restore(snapshots[index - 1])
        agree(objective.value(thetas[index], 1e-2), answers[index])
        objective.restore(snapshots[index])
        continued = objective.value(thetas[index], 1e-5)
        agree(continued, answers[index])
        assert continued.bound <= 1e-5
