"""Starts no sane user would choose: every method ends in bounded work, with a named reason and a certified point."""

from __future__ import annotations

import math

import pytest
import torch
from small_problems import METHODS, SmallProblem
from torch import Tensor

from bilearn.curvature import Constant, Curvature
from bilearn.energy import Energy
from bilearn.evaluation import Evaluation
from bilearn.fidelities import LeastSquares
from bilearn.lower import NesterovGradient
from bilearn.parameters import Identity, Log10, learnable
from bilearn.problems import indicator_signals
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV, Sum, Tikhonov
from bilearn.upper import UpperOptimizer, UpperState, UpperStatus, run
from bilearn.variational import VariationalEnergy

WORST = [7.0, -7.0, -7.0]
"""Condition number 1e21."""
STARTS = {
    "alpha 1e7, nu 1e-7": [7.0, -1.0, -7.0],
    "lower bounds": [-7.0, -7.0, -7.0],
    "upper bounds": [7.0, 0.0, 0.0],
}
STEPS = 4
GRADIENTS = 300
"""More than any of these runs takes; none has more work than a few dozen gradients per step and sample."""


def check(objective: ReducedObjective, state: UpperState, seen: list[Evaluation]) -> None:
    assert state.status is not UpperStatus.RUNNING
    assert len(state.status.value) > 10
    assert state.iteration <= STEPS
    assert math.isfinite(state.best.value)
    assert math.isfinite(state.best.bound)
    assert state.best.certified
    assert state.best.upper <= next(e.upper for e in seen if e.minibatch is None) * (1 + 1e-9)
    box = objective.parameters
    for evaluation in seen:
        assert math.isfinite(evaluation.value)
        assert evaluation.lower <= evaluation.value <= evaluation.upper
        assert bool(((evaluation.theta >= box.lower) & (evaluation.theta <= box.upper)).all())


@pytest.mark.parametrize("start", list(STARTS))
@pytest.mark.parametrize("optimizer", METHODS, ids=lambda o: o.name)
def test_extreme_parameters(optimizer: UpperOptimizer, start: str) -> None:
    problem = SmallProblem(penalized=start == "upper bounds", signals=2, pixels=12)
    state = run(optimizer, problem.objective, torch.tensor(STARTS[start], dtype=torch.float64), max_steps=STEPS)
    check(problem.objective, state, problem.seen)
    assert problem.objective.cost.gradients <= GRADIENTS


@pytest.mark.parametrize("optimizer", METHODS, ids=lambda o: o.name)
def test_a_budget_cuts_off_hopeless_solves(optimizer: UpperOptimizer) -> None:
    budget = 400
    problem = SmallProblem(penalized=False, signals=2, pixels=8, solver=NesterovGradient())
    problem.objective.max_gradients = budget
    start = torch.tensor(WORST, dtype=torch.float64)
    state = run(optimizer, problem.objective, start, max_steps=STEPS, max_gradients=budget)
    check(problem.objective, state, problem.seen)
    assert state.status in (UpperStatus.BUDGET, UpperStatus.STATIONARY, UpperStatus.EXHAUSTED)
    assert problem.objective.cost.gradients <= budget + 20 * len(problem.seen)


class WithIdleNumber(Energy):
    """1/2 |x - y|^2 + alpha/2 |x|^2 by autograd, and a learnable number that nothing depends on."""

    alpha: Tensor

    def __init__(self) -> None:
        super().__init__()
        learnable(self, "alpha", 3.0, Log10((1e-3, 1e3)))
        learnable(self, "idle", 0.5, Identity((0.0, 1.0)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (0.5 * (x - y).square() + 0.5 * self.alpha.to(x.dtype) * x.square()).flatten(1).sum(1)

    def curvature(self, y: Tensor) -> Curvature:
        alpha = self.alpha.detach()
        return Curvature(Constant(1 + alpha), Constant(1 + alpha), Constant(0.0), Constant(math.log(10) * alpha))


def flat(kind: str, seen: list[Evaluation]) -> ReducedObjective:
    x, y = indicator_signals(2, 12, 0.1)
    if kind == "idle number":
        energy: Energy = WithIdleNumber()
    elif kind == "only a sum matters":
        energy = VariationalEnergy(LeastSquares(), Sum(Tikhonov(3.0), Tikhonov(3.0)))
    else:
        x, y = torch.zeros_like(x), torch.zeros_like(y)
        energy = VariationalEnergy(LeastSquares(), SmoothedTV(1.0, 0.1, 0.1, axes=1, boundary="dirichlet"))
    return ReducedObjective(energy, y, x, reduction="sum", observer=seen.append)


@pytest.mark.parametrize("kind", ["idle number", "only a sum matters", "constant objective"])
@pytest.mark.parametrize("optimizer", METHODS, ids=lambda o: o.name)
def test_flat_directions(optimizer: UpperOptimizer, kind: str) -> None:
    seen: list[Evaluation] = []
    objective = flat(kind, seen)
    state = run(optimizer, objective, max_steps=STEPS)
    check(objective, state, seen)
    if kind == "constant objective":
        assert state.best.value == 0.0
    elif optimizer.name in ("DynamicDFO", "GaussNewton", "LBFGSB", "MAID"):
        assert state.best.value < 0.9 * seen[0].value
