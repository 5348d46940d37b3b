"""Central differences of accurately solved values: slow, for checking the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.differences import central_slopes
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.lower_stage import loss_interval
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector


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
        axes = torch.eye(len(vector), dtype=vector.dtype, device=vector.device)
        found = central_slopes(energy, loss, y, target, vector, solver, x0, axes, self.step, self.distance)
        gradient = found.along
        losses, low, high = loss_interval(loss, found.center, target)
        message = ""
        if _batch.size(y) and not bool(torch.isfinite(gradient).all()):
            message = "a non-finite value appeared"
        elif accuracy is not None:
            message = (
                f"the requested gradient accuracy {accuracy:.3g} cannot be certified: the truncation error of the "
                "differences is unknown"
            )
        return Hypergradient(
            losses, low, high, gradient, UNKNOWN_BOUND, False, found.center, None, None, message, found.cost
        )
