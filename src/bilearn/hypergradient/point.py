"""A lower-level solution with everything an estimator evaluates once there."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bilearn.energy import Hessian
from bilearn.hypergradient.cross import CrossDerivative, cross_derivative
from bilearn.hypergradient.lower_stage import LowerStage
from bilearn.losses import UpperLoss
from bilearn.parameters import ParameterVector
from bilearn.solution import Solution


@dataclass(frozen=True)
class Point:
    """A lower-level solution and everything that is evaluated once there.

    Attributes:
        stage: energy, data, solver, strong convexity constants.
        loss, target: the upper level.
        vector: the learnable parameters.
        lower: the lower-level solution.
        slope: (B, ...) gradient of the loss.
        hessian: of the energy.
        cross: d(grad h)/d(theta).
    """

    stage: LowerStage
    loss: UpperLoss
    target: Tensor
    vector: ParameterVector
    lower: Solution
    slope: Tensor
    hessian: Hessian
    cross: CrossDerivative

    @classmethod
    def at(cls, stage: LowerStage, loss: UpperLoss, target: Tensor, vector: ParameterVector, lower: Solution) -> Point:
        """Evaluate loss gradient, Hessian and cross derivative at a solution."""
        cross = cross_derivative(stage.energy, lower.x, stage.y, vector.parameters)
        hessian = stage.energy.hessian(lower.x, stage.y)
        return cls(stage, loss, target, vector, lower, loss.grad(lower.x, target), hessian, cross)

    @property
    def x(self) -> Tensor:
        """(B, ...) the returned points."""
        return self.lower.x

    def flatten(self, products: Tensor) -> Tensor:
        """(P,) in the dtype and on the device of theta."""
        return products.to(self.vector.device, self.vector.dtype)
