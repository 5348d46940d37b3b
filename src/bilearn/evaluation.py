"""One evaluation of the reduced objective: what was asked, what was got, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bilearn.solution import Cost


@dataclass(frozen=True)
class Evaluation:
    """F, and where asked its gradient, at one theta, with bounds.

    Attributes:
        theta: (P,) coordinates.
        value: computed F(theta) (mean or sum of the losses, plus the penalty).
        lower, upper: interval that contains the exact F(theta); infinite where nothing is known.
        losses: (N,) computed loss of each pair.
        penalty: value of the penalty on theta.
        gradient: (P,) hypergradient in coordinates, or None.
        gradient_bound: bound on the 2-norm error of ``gradient``; infinite where unknown.
        jacobian_gram: (P, P) Gauss-Newton matrix of F, or None.
        residuals: (N,) |xhat_i - x_i| where the loss has that structure, else None.
        residual_bounds: (N,) bound on the error of each residual (the lower-level distance bound), or None.
        certified: whether every constant behind the bounds was declared.
        accuracy: the accuracy asked for (bound on |F~ - F| for values, on the gradient error for gradients), or None.
        lower_error: largest lower-level distance bound over the pairs.
        message: what the lower level and the adjoint said when they did not reach what was asked, else empty.
        minibatch: (M,) positions of the samples that F is restricted to, None where it is the F of all of them.
        cost: work of this evaluation.
        seconds: wall-clock time of this evaluation.
    """

    theta: Tensor
    value: float
    lower: float
    upper: float
    losses: Tensor
    penalty: float = 0.0
    gradient: Tensor | None = None
    gradient_bound: float = float("inf")
    jacobian_gram: Tensor | None = None
    residuals: Tensor | None = None
    residual_bounds: Tensor | None = None
    certified: bool = False
    accuracy: float | None = None
    lower_error: float = float("inf")
    message: str = ""
    minibatch: Tensor | None = None
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0

    @property
    def bound(self) -> float:
        """Bound on |value - F(theta)|."""
        return max(self.upper - self.value, self.value - self.lower)
