"""Upper-level losses of a batch to a requested accuracy: solve as accurately as the loss needs, no more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.hypergradient.bounds import largest_radius
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval, stuck
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.solution import Cost, Solution


@dataclass(frozen=True)
class CertifiedLoss:
    """Losses at the returned points with the intervals of the exact ones.

    Attributes:
        losses: (B,) computed.
        lower, upper: (B,) interval of each.
        solution: the lower-level solve.
        message: what was not reached, else empty.
        cost: work, all repetitions included.
    """

    losses: Tensor
    lower: Tensor
    upper: Tensor
    solution: Solution
    message: str
    cost: Cost


def certified_loss(
    energy: Energy,
    loss: UpperLoss,
    y: Tensor,
    target: Tensor,
    solver: LowerSolver | None = None,
    x0: Tensor | None = None,
    accuracy: float | None = None,
    distance: float | None = None,
    relative: float = 1e-3,
    fallback: float = 1e-5,
    max_rounds: int = 6,
) -> CertifiedLoss:
    """Losses whose sum is known to a requested accuracy.

    1. At the start, ask the loss which distance e keeps the sum's interval within the accuracy.
    2. Solve the lower level to e; measure the interval at the returned points.
    3. While it is too wide, ask again there and solve on, warm.

    Args:
        energy, loss: the two levels.
        y, target: (B, ...) data and true signals.
        solver: lower-level method; the default one for this energy if None.
        x0: (B, ...) start.
        accuracy: bound on |computed - exact| of the sum over the batch; None asks for ``relative`` times the sum,
            infinity for the interval of the start, which one gradient gives.
        distance: ask for this distance of every reconstruction instead.
        relative: see ``accuracy``.
        fallback: lower-level tolerance relative to |x| where the loss knows no interval.
        max_rounds: limit on the solves.
    """
    with torch.no_grad():
        x = energy.start(y) if x0 is None else x0
        stage = LowerStage.of(energy, y, solver, x)
        unit = torch.finfo(x.dtype).eps

        def width(points: Tensor, radius: float | Tensor) -> float:
            size = torch.as_tensor(radius, dtype=stage.mu.dtype, device=x.device).expand(stage.mu.shape)
            value = loss(points, target)
            low, high = loss.interval(points, target, size)
            wide = float(torch.maximum(high - value, value - low).double().sum())
            return math.inf if math.isnan(wide) else wide

        def goal(points: Tensor) -> float:
            return relative * abs(float(loss(points, target).double().sum())) if accuracy is None else accuracy

        known = stage.convex and math.isfinite(width(x, unit * stage.scale))
        if distance is not None:
            tolerance = distance
        elif known:
            wanted = goal(x)
            free = math.isinf(wanted)
            tolerance = wanted if free else largest_radius(lambda r: width(x, r), stage.scale, 0.9 * wanted)
        else:
            tolerance = fallback * stage.scale
        solution = stage.solve(x, tolerance)
        cost = solution.cost.copy()
        reached, asked = width(solution.x, solution.error), goal(solution.x)
        for _ in range(max_rounds - 1):
            if distance is not None or not known or reached <= asked or stuck(solution):
                break
            points = solution.x
            tolerance = largest_radius(lambda r, p=points: width(p, r), 0.5 * stage.reached(solution), 0.9 * asked)
            solution = stage.solve(points, tolerance)
            cost.add(solution.cost)
            reached, asked = width(solution.x, solution.error), goal(solution.x)
        losses, low, high = loss_interval(loss, solution, target)
        notes = []
        if accuracy is not None and not reached <= accuracy:
            notes.append(f"the requested value accuracy {accuracy:.3g} was not reached: the bound is {reached:.3g}")
        if (notes and solution.stationary) or ((notes or accuracy is None) and not solution.converged):
            notes.append(solution.describe())
        return CertifiedLoss(losses, low, high, solution, "; ".join(notes), cost)
