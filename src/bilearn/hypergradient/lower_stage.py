"""The lower-level solve inside an estimator: which tolerance to ask for, and what its answer allows to say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.losses import UpperLoss
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.solution import Solution, Tolerance
from bilearn.status import Status


@dataclass(frozen=True)
class LowerStage:
    """Everything a lower-level solve needs except the accuracy.

    Distances are asked for where the energy declares strong convexity; elsewhere the same numbers are gradient norms.
    """

    energy: Energy
    y: Tensor
    solver: LowerSolver | None
    curvature: Curvature
    mu: Tensor
    scale: float

    @classmethod
    def of(cls, energy: Energy, y: Tensor, solver: LowerSolver | None, start: Tensor) -> LowerStage:
        """Stage for these data; ``scale`` is the mean norm of the start's samples."""
        with torch.no_grad():
            curvature = energy.curvature(y)
            mu = curvature.strong_convexity.per_sample(start).clamp(min=0.0)
        scale = float(_batch.norm(start).mean()) if _batch.size(start) else 1.0
        return cls(energy, y, solver, curvature, mu, scale if scale > 0 else _batch.samples(start) ** 0.5)

    @property
    def convex(self) -> bool:
        """Whether distances can be certified."""
        return bool((self.mu > 0).all())

    def solve(self, x0: Tensor, tolerance: float) -> Solution:
        """Solve from x0; failures are in the returned status."""
        asked = Tolerance(distance=tolerance) if self.convex else Tolerance(gradient=tolerance)
        return minimize(self.energy, self.y, self.solver, x0, asked, throw=False, curvature=self.curvature)

    def reached(self, solution: Solution) -> float:
        """The largest distance bound (or gradient norm) of a solution."""
        measured = solution.error if self.convex else solution.gradient_norm + solution.rounding
        return float(measured.max()) if measured.numel() else 0.0


def stuck(solution: Solution) -> bool:
    """Whether a tighter tolerance cannot help: some sample did not reach even this one."""
    return bool((solution.status != Status.CONVERGED).any())


def loss_interval(loss: UpperLoss, solution: Solution, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (B,) at the returned points, and the interval that contains the exact ones."""
    with torch.no_grad():
        value = loss(solution.x, target)
        low, high = loss.interval(solution.x, target, solution.error)
        return value, torch.where(low.isnan(), -torch.inf, low), torch.where(high.isnan(), torch.inf, high)
