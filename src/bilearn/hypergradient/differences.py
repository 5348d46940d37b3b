"""Differences of accurately solved losses along directions of theta: what the derivative-free estimators share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.hypergradient.lower_stage import LowerStage
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution


@dataclass(frozen=True)
class Slopes:
    """Central differences of the sum of the losses.

    Attributes:
        along: (K,) slope in each direction, in the dtype of theta.
        center: the lower-level solve at theta.
        cost: of all 2 K + 1 solves.
    """

    along: Tensor
    center: Solution
    cost: Cost


def central_slopes(
    energy: Energy,
    loss: UpperLoss,
    y: Tensor,
    target: Tensor,
    vector: ParameterVector,
    solver: LowerSolver | None,
    x0: Tensor | None,
    directions: Tensor,
    step: float,
    distance: float,
) -> Slopes:
    """(f(theta + step u) - f(theta - step u)) / (2 step) for every row u of ``directions`` (K, P).

    All solves but the first start from the one at theta, so that their errors cancel as far as they are smooth. theta is
    moved in place and put back.

    Args:
        energy, loss, y, target, solver, x0: as in :meth:`HypergradientEstimator.estimate`.
        vector: the learnable parameters of ``energy``.
        directions: (K, P), in coordinates.
        step: positive number.
        distance: accuracy of the solves relative to |x|.
    """
    theta, cost = vector.get(), Cost()
    with torch.no_grad():
        start = energy.start(y) if x0 is None else x0
        stage = LowerStage.of(energy, y, solver, start)
        center = stage.solve(start, distance * stage.scale)
        cost.add(center.cost)
        slopes = []
        try:
            for direction in directions:
                ends = []
                for sign in (1.0, -1.0):
                    vector.set(theta + (sign * step) * direction)
                    stage = LowerStage.of(energy, y, solver, start)
                    solution = stage.solve(center.x, distance * stage.scale)
                    cost.add(solution.cost)
                    ends.append(loss(solution.x, target))
                slopes.append((ends[0] - ends[1]).double().sum() / (2 * step))
        finally:
            vector.set(theta)
        return Slopes(torch.stack(slopes).to(vector.device, vector.dtype), center, cost)
