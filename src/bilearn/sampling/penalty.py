"""What samples cost: a penalty on the degrees of a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.parameters import ParameterVector
from bilearn.penalties import Penalty

PATTERN = "fidelity.pattern"
"""Where the pattern sits in an energy made by :func:`bilearn.mri.sampling_energy`."""


@dataclass(frozen=True)
class SamplingPenalty(Penalty):
    """slope * mean(s) + concavity * mean(s (1 - s)), the means over the learned numbers s of the pattern.

    The numbers are degrees of points, of lines, or whatever the pattern learns; they are counted once each. The second
    part draws them to 0 or 1. With slope = concavity its derivative vanishes at s = 1.

    Args:
        slope: beta1 >= 0.
        concavity: beta2 >= 0.

    Raises:
        ValueError: if a weight is negative or not finite.

    Reference:
        Sherry et al., Learning the sampling pattern for MRI, IEEE TMI 39(12), 2020.
    """

    slope: float = 0.0
    concavity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slope", "concavity"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"SamplingPenalty.{name}: found {value}, expected a finite number >= 0")

    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        slots = ParameterVector(energy.get_submodule(PATTERN)).slots
        degrees = torch.cat([slot.coordinate(slot.parameter).reshape(-1) for slot in slots])
        return self.costs(degrees).mean()

    def costs(self, degrees: Tensor) -> Tensor:
        """slope s + concavity s (1 - s), elementwise."""
        return self.slope * degrees + self.concavity * degrees * (1 - degrees)

    def with_concavity(self, concavity: float) -> SamplingPenalty:
        """The same slope, another concavity."""
        return replace(self, concavity=concavity)
