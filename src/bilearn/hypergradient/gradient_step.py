"""Step lengths of plain gradient methods, from an energy's curvature constants."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.energy import Energy


def optimal_step(energy: Energy, y: Tensor, like: Tensor) -> Tensor:
    """2 / (L + mu) per sample (B,), the step of gradient descent with the smallest contraction factor.

    Raises:
        ValueError: if the energy knows no L.
    """
    mu, smoothness = constants(energy, y, like)
    return 2 / (smoothness + mu)


def constants(energy: Energy, y: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """mu (zero where unknown or negative) and L per sample (B,).

    Raises:
        ValueError: if the energy knows no L.
    """
    with torch.no_grad():
        curvature = energy.curvature(y)
        smoothness = curvature.smoothness.per_sample(like)
        if not bool(torch.isfinite(smoothness).all()):
            name = type(energy).__name__.removeprefix("Parametrized")
            raise ValueError(
                f"{name}: found no smoothness constant L, expected one for a gradient step; declare it in "
                "curvature(y) or pass step_size"
            )
        return curvature.strong_convexity.per_sample(like).clamp(min=0.0), smoothness
