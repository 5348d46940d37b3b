"""Upper-level methods of the registry on an objective whose optimum is a formula, one coordinate at its bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from registry import OPTIMIZERS, SEARCHES, TORCH_OPTIMIZERS, rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import Tikhonov
from bilearn.testing import check_optimizer
from bilearn.upper import ProjectedGradient, UpperOptimizer, UpperState
from bilearn.upper.optimizer import Oracle
from bilearn.variational import VariationalEnergy

LOW, HIGH = 1e-2, 10.0


def two_weights() -> tuple[ReducedObjective, Tensor, float]:
    """Denoising with one Tikhonov weight per channel, xhat_c = y_c / (1 + alpha_c); the optimal alpha_1 is its bound.

    F = sum_c |s_c y_c - x_c|^2, s = 1/(1 + alpha), is minimal at s_c = <x_c, y_c>/|y_c|^2.
    """
    y = 0.5 + rand((3, 2, 4, 4), 20)
    scale = torch.tensor([1 / 1.5, 1.2], dtype=torch.float64).reshape(1, 2, 1, 1)
    target = scale * y
    weights = torch.ones(2, 1, 1, dtype=torch.float64)
    energy = VariationalEnergy(LeastSquares(), Tikhonov(weights, bounds=(LOW, HIGH)))
    objective = ReducedObjective(energy, y, target + 0.1, reduction="sum")
    inner = (target + 0.1).mul(y).sum((0, 2, 3)) / y.square().sum((0, 2, 3))
    best = inner.clamp(1 / (1 + HIGH), 1 / (1 + LOW)).reshape(1, 2, 1, 1)
    return objective, torch.zeros(2, dtype=torch.float64), float((best * y - target - 0.1).square().sum())


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
def test_descends_to_the_optimum(optimizer: UpperOptimizer) -> None:
    objective, start, optimum = two_weights()
    check_optimizer(optimizer, objective, start, optimum, rtol=1e-5, max_steps=100)


@pytest.mark.parametrize("optimizer", TORCH_OPTIMIZERS, ids=["adam", "sgd"])
def test_torch_optimizers_come_near(optimizer: UpperOptimizer) -> None:
    objective, start, optimum = two_weights()
    check_optimizer(optimizer, objective, start, optimum, rtol=1e-2, max_steps=60)


@pytest.mark.parametrize("optimizer", SEARCHES, ids=lambda o: o.name)
def test_searches_come_near(optimizer: UpperOptimizer) -> None:
    objective, start, optimum = two_weights()
    check_optimizer(optimizer, objective, start, optimum, rtol=0.2, max_steps=300)


class Leaves(ProjectedGradient):
    """Leaves the box in its first step."""

    def step(self, objective: Oracle, state: UpperState) -> UpperState:
        objective.value(objective.parameters.upper + 0.25)
        return state


class Forgets(ProjectedGradient):
    """Counts no evaluations."""

    def step(self, objective: Oracle, state: UpperState) -> UpperState:
        return replace(super().step(objective, state), evaluations=0)


@pytest.mark.parametrize(
    ("optimizer", "steps", "message"),
    [
        (Leaves(), 10, "0.25 outside the box"),
        (Forgets(), 300, "0 evaluations counted"),
        (ProjectedGradient(), 1, "relative above the optimum"),
    ],
    ids=["box", "counts", "optimum"],
)
def test_names_what_is_wrong(optimizer: UpperOptimizer, steps: int, message: str) -> None:
    objective, start, optimum = two_weights()
    with pytest.raises(AssertionError, match=message):
        check_optimizer(optimizer, objective, start, optimum, rtol=1e-5, max_steps=steps)
