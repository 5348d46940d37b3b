"""A penalty that keeps learned trajectories within what gradient coils can do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.mri.patterns import HardwareLimits, TrajectoryPattern, hardware_excess
from bilearn.penalties import Penalty


@dataclass(frozen=True)
class HardwarePenalty(Penalty):
    """weight * sum of :func:`bilearn.mri.patterns.hardware_excess` over the trajectories of the energy.

    A quadratic penalty: the limits are kept up to an excess that falls as 1 / weight; see ``check_hardware`` for what is left,
    and set the limits a few percent below those of the scanner.

    Args:
        limits: in physical units.
        weight: factor >= 0.

    Raises:
        ValueError: if the weight is negative or not finite, or (when called) the energy has no trajectory.
    """

    limits: HardwareLimits
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"HardwarePenalty.weight: found {self.weight}, expected a finite number >= 0")

    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        found = [module for module in energy.modules() if isinstance(module, TrajectoryPattern)]
        if not found:
            raise ValueError("HardwarePenalty: found no TrajectoryPattern in the energy, expected at least one")
        return self.weight * torch.stack([hardware_excess(pattern, self.limits) for pattern in found]).sum()
