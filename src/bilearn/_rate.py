"""What gradients so far say about the lower-level accuracy that the next one needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bilearn.hypergradient import Hypergradient

DEFAULT_RELATIVE = 1e-3
"""Accuracy of a gradient relative to its norm, where none was asked for."""


@dataclass(frozen=True)
class Rate:
    """What the last gradient said about the distance its accuracy needs: bound's lower part = rate * distance, per sample."""

    rate: float
    norm: float
    reached: float

    @classmethod
    def of(cls, result: Hypergradient, count: int) -> Rate:
        """The rate of a gradient of ``count`` samples."""
        reached = float(result.lower.error.max())
        if not math.isfinite(reached):
            measured = result.lower.gradient_norm + result.lower.rounding
            return cls(math.inf, 0.0, float(measured.max()))
        rate = result.bound.lower / (reached * count) if reached > 0 else math.inf
        return cls(rate, float(torch.linalg.vector_norm(result.gradient)) / count, reached)

    def tolerance(self, goal: float | None, count: int) -> float | None:
        """Distance to ask for first when ``count`` samples may err by ``goal`` together."""
        each = DEFAULT_RELATIVE * self.norm if goal is None else goal / count
        wanted = 0.4 * each / self.rate if math.isfinite(self.rate) and self.rate > 0 else self.reached
        return wanted if wanted > 0 and math.isfinite(wanted) else None
