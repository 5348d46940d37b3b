"""Central differences of accurately solved values: slow, for checking the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost


@dataclass(frozen=True, kw_only=True)
class FiniteDifferences(HypergradientEstimator):
    """(f(theta + s e_p) - f(theta - s e_p)) / (2 s), every value solved as accurately as the dtype allows.

    The truncation error is unknown, so the bound is infinite. theta is moved in place and put back.

    Args:
        step: s, in coordinates; the truncation error falls with its square, the rounding error rises with its inverse.
        distance: accuracy of the lower level relative to |x|; below the floor of the dtype is allowed.

    Raises:
        ValueError: if a number is not positive.
    """

    step: float = 1e-4
    distance: float = 1e-13

    def __post_init__(self) -> None:
        for name in ("step", "distance"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}: found {value}, expected a positive number")

    def estimate(
        self,
        energy: Energy,
        loss: UpperLoss,
        y: Tensor,
        target: Tensor,
        parameters: ParameterVector | None = None,
        solver: LowerSolver | None = None,
        x0: Tensor | None = None,
        adjoint0: Tensor | None = None,
        accuracy: float | None = None,
        lower_tolerance: float | None = None,
    ) -> Hypergradient:
        """2 P + 1 solves from the same start, so that their errors cancel as far as they are smooth."""
        vector = ParameterVector(energy) if parameters is None else parameters
        theta, cost = vector.get(), Cost()
        with torch.no_grad():
            start = energy.start(y) if x0 is None else x0
            stage = LowerStage.of(energy, y, solver, start)
            center = stage.solve(start, self.distance * stage.scale)
            cost.add(center.cost)
            slopes = []
            try:
                for p in range(len(vector)):
                    ends = []
                    for sign in (1.0, -1.0):
                        moved = theta.clone()
                        moved[p] += sign * self.step
                        vector.set(moved)
                        stage = LowerStage.of(energy, y, solver, start)
                        solution = stage.solve(center.x, self.distance * stage.scale)
                        cost.add(solution.cost)
                        ends.append(loss(solution.x, target))
                    slopes.append((ends[0] - ends[1]).double().sum() / (2 * self.step))
            finally:
                vector.set(theta)
            losses, low, high = loss_interval(loss, center, target)
            gradient = torch.stack(slopes).to(vector.device, vector.dtype)
        message = ""
        if _batch.size(y) and not bool(torch.isfinite(gradient).all()):
            message = "a non-finite value appeared"
        elif accuracy is not None:
            message = (
                f"the requested gradient accuracy {accuracy:.3g} cannot be certified: the truncation error of the "
                "differences is unknown"
            )
        return Hypergradient(losses, low, high, gradient, UNKNOWN_BOUND, False, center, None, None, message, cost)
