"""What a hypergradient estimator is: it wraps the lower-level solve and returns a gradient with a bound on its error."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from bilearn.energy import Energy
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution


@dataclass(frozen=True)
class BoundParts:
    """Bound on the 2-norm error of a gradient, by cause; the bound is their sum.

    Attributes:
        lower: from the distance of the returned points to the lower-level minimizers.
        adjoint: from the residual of the linear system (for one-step methods: their bias).
        rounding: allowance for the dtype.
    """

    lower: float
    adjoint: float
    rounding: float = 0.0

    @property
    def total(self) -> float:
        """The bound; infinite where a part is unknown or not a number."""
        value = self.lower + self.adjoint + self.rounding
        return math.inf if math.isnan(value) else value


UNKNOWN_BOUND = BoundParts(math.inf, math.inf)


@dataclass(frozen=True)
class Hypergradient:
    """Losses of a batch and the gradient of their sum, with bounds.

    Attributes:
        losses: (B,) computed losses.
        loss_lower, loss_upper: (B,) interval that contains the loss at the exact minimizer.
        gradient: (P,) d/dtheta of the sum of the losses, in coordinates.
        bound: bound on the 2-norm error of ``gradient``, by cause.
        certified: whether every constant behind the bound was declared, and the bound is finite.
        lower: the lower-level solve.
        adjoint: the linear solve: x is the adjoint (B, ...) or, for tangents, (P, B, ...); None where there was none.
        gauss_newton: (P, P) sum of T' (loss Hessian) T over the tangents T, or None.
        message: what was not reached, else empty.
        cost: work, all repetitions included.
    """

    losses: Tensor
    loss_lower: Tensor
    loss_upper: Tensor
    gradient: Tensor
    bound: BoundParts
    certified: bool
    lower: Solution
    adjoint: Solution | None = None
    gauss_newton: Tensor | None = None
    message: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def gradient_bound(self) -> float:
        """Bound on the 2-norm error of ``gradient``; infinite where unknown."""
        return self.bound.total


class HypergradientEstimator(ABC):
    """Gradient in theta of sum_i loss(xhat_i(theta), target_i), xhat_i(theta) = argmin_x h(x; theta, y_i).

    An author must write ``estimate``. Estimators are frozen: warm starts are arguments, results are values.
    """

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
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
        """Losses and gradient at the energy's current theta. Never raises for a solve that fails: ``message`` says so.

        Args:
            energy: the energy.
            loss: the upper-level loss.
            y: (B, ...) data.
            target: (B, ...) true signals, shaped like the reconstructions.
            parameters: the learnable parameters of ``energy``; made from it if None.
            solver: lower-level method; the default one for this energy if None.
            x0: (B, ...) start of the lower-level solve.
            adjoint0: start of the linear solve, shaped as ``Hypergradient.adjoint.x``.
            accuracy: requested bound on the 2-norm error of the gradient; None asks for 1e-3 of the gradient's norm.
            lower_tolerance: distance (or gradient norm, where no strong convexity is known) for the first lower-level
                solve; a hint, refined as the accuracy requires.

        Raises:
            ValueError: if shapes do not fit or a method cannot run on this energy.
        """


def missed_accuracy(accuracy: float, bound: float) -> str:
    """What to say when a gradient with this bound was asked for this accuracy."""
    if math.isinf(bound):
        return (
            f"the requested gradient accuracy {accuracy:.3g} cannot be certified: mu, a Lipschitz constant of the energy or "
            "the smoothness of the loss is unknown"
        )
    return f"the requested gradient accuracy {accuracy:.3g} was not reached: the bound is {bound:.3g}"
