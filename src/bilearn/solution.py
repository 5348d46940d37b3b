"""Tolerances, work counts and the frozen result of every lower-level and linear solve."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from bilearn.status import SolveError, Status


@dataclass(frozen=True)
class Tolerance:
    """A requested accuracy, always a 2-norm per sample.

    Give exactly one of the two. ``gradient``: |grad h(x)| <= gradient. ``distance``: |x - xhat| <= distance, proved by
    |grad h(x)| / mu, which needs a strong convexity constant mu.

    Raises:
        ValueError: if none or both are given, or the number is not positive.
    """

    gradient: float | None = None
    distance: float | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.gradient, self.distance) if v is not None]
        if len(given) != 1:
            raise ValueError("Tolerance: give exactly one of gradient=... and distance=...")
        if not given[0] > 0:
            raise ValueError(f"Tolerance: found {given[0]}, expected a positive number")

    def gradient_norm(self, strong_convexity: Tensor) -> Tensor:
        """Gradient norm (B,) at which a sample meets this tolerance; zero where it cannot be certified."""
        if self.gradient is not None:
            return torch.full_like(strong_convexity, self.gradient)
        assert self.distance is not None
        return self.distance * strong_convexity


@dataclass
class Cost:
    """Work, counted per sample: one gradient of a batch of 8 counts as 8."""

    values: int = 0
    gradients: int = 0
    hessian_products: int = 0
    direct_solves: int = 0
    cross_products: int = 0

    def add(self, other: Cost) -> None:
        """Add the counts of ``other`` to this record."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    def copy(self) -> Cost:
        """An independent record with the same counts."""
        return replace(self)

    def minus(self, other: Cost) -> Cost:
        """Counts since ``other`` was copied."""
        return Cost(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def as_dict(self) -> dict[str, int]:
        """Counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Solution:
    """Result of a solve; every number is evaluated at the returned ``x``.

    Attributes:
        x: (B, ...) the returned points ((K, B, ...) for K right-hand sides).
        gradient_norm: (B,) |grad h(x)| (for a linear system: the residual norm), without the rounding allowance.
        rounding: (B,) bound on the rounding error of the computed gradient.
        error: (B,) bound on |x - xhat|: (gradient_norm + rounding) / mu; infinite where mu is unknown.
        certified: whether every ``error`` is a bound by declared (not estimated) constants.
        status: (B,) integer codes of :class:`Status`.
        steps: (B,) steps taken.
        cost: work of this solve.
        method: name of the method that ran.
    """

    x: Tensor
    gradient_norm: Tensor
    rounding: Tensor
    error: Tensor
    certified: bool
    status: Tensor
    steps: Tensor
    cost: Cost = field(default_factory=Cost)
    method: str = ""

    @property
    def converged(self) -> bool:
        """Whether every sample met its tolerance."""
        return bool((self.status == Status.CONVERGED).all())

    @property
    def settled(self) -> bool:
        """Whether every sample met its tolerance or came as close as its dtype can certify."""
        return bool(((self.status == Status.CONVERGED) | (self.status == Status.FLOOR)).all())

    def describe(self) -> str:
        """One sentence on the samples that failed, or on success."""
        codes, counts = self.status.unique(return_counts=True)
        parts = [f"{int(n)} of {self.status.numel()}: {Status(int(c))}" for c, n in zip(codes, counts, strict=True)]
        worst = float(self.gradient_norm.max()) if self.gradient_norm.numel() else 0.0
        text = f"{self.method}: " + "; ".join(parts) + f" (largest gradient norm {worst:.3g})"
        return text + "; stationary points, at an unknown distance from a minimizer" if self.stationary else text

    @property
    def stationary(self) -> bool:
        """Whether some sample met its tolerance while nothing bounds its distance from a minimizer."""
        met = (self.status == Status.CONVERGED) | (self.status == Status.FLOOR)
        return bool((met & self.error.isinf()).any())

    def raise_for_status(self) -> Solution:
        """Return self, or raise :class:`SolveError` if a sample did not converge."""
        if not self.converged:
            raise SolveError(
                self.describe() + ". Raise max_steps, loosen the tolerance, use float64, or pass throw=False.", self
            )
        return self
