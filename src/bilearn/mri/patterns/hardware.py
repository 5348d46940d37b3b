"""What gradient coils can do: limits in physical units, a differentiable excess, and a check."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.mri.patterns.trajectory import TrajectoryPattern

#: Gyromagnetic ratio of hydrogen over 2 pi, Hz / T (CODATA 2018).
HYDROGEN = 42.577478518e6


@dataclass(frozen=True)
class HardwareLimits:
    """Limits on gradient field and slew rate, and what turns a trajectory into them.

    A location of n cycles per field of view L is k = n / L; the gradient that moves it is G = (dk/dt) / gamma, gamma in Hz/T,
    and the slew rate dG/dt. Both are taken as 2-norms over the two axes, which is what any rotation of the slice allows.

    Args:
        dwell: seconds between two samples.
        field_of_view: meters along rows' and columns' index, (H, W) order.
        gradient: largest |G|, T / m.
        slew: largest |dG/dt|, T / m / s.
        gamma: Hz / T.

    Raises:
        ValueError: if a number is not positive.
    """

    dwell: float
    field_of_view: tuple[float, float]
    gradient: float = 0.04
    slew: float = 150.0
    gamma: float = HYDROGEN

    def __post_init__(self) -> None:
        for name in ("dwell", "gradient", "slew", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"HardwareLimits.{name}: found {getattr(self, name)}, expected a positive number")
        if len(self.field_of_view) != 2 or min(self.field_of_view) <= 0:
            raise ValueError(
                f"HardwareLimits.field_of_view: found {self.field_of_view}, expected two positive lengths in m"
            )

    def waveforms(self, pattern: TrajectoryPattern) -> tuple[Tensor, Tensor]:
        """Gradients (S, T - 1, 2) in T/m and slew rates (S, T - 2, 2) in T/m/s, by differences of successive samples.

        Ramps before the first and after the last sample are not part of them.
        """
        k = pattern.readouts()
        gradients = k.diff(dim=1) / (k.new_tensor(self.field_of_view) * (self.gamma * self.dwell))
        return gradients, gradients.diff(dim=1) / self.dwell


@dataclass(frozen=True)
class HardwareReport:
    """What a trajectory needs.

    Attributes:
        gradient: largest |G|, T/m.
        slew: largest |dG/dt|, T/m/s.
        feasible: whether both are within the limits.
        shortest_dwell: seconds between samples from which on they are: G falls as 1 / dwell, its slew rate as 1 / dwell^2.
    """

    gradient: float
    slew: float
    feasible: bool
    shortest_dwell: float


def check_hardware(pattern: TrajectoryPattern, limits: HardwareLimits) -> HardwareReport:
    """Largest gradient and slew rate of all readouts against the limits."""
    with torch.no_grad():
        gradient, slew = (float(torch.linalg.vector_norm(w, dim=-1).max()) for w in limits.waveforms(pattern))
    shortest = limits.dwell * max(gradient / limits.gradient, (slew / limits.slew) ** 0.5)
    return HardwareReport(gradient, slew, gradient <= limits.gradient and slew <= limits.slew, shortest)


def hardware_excess(pattern: TrajectoryPattern, limits: HardwareLimits) -> Tensor:
    """mean_t max(0, |G_t|^2 / G_max^2 - 1)^2 + the same of slew rates: zero where feasible, differentiable everywhere."""
    sizes = zip(limits.waveforms(pattern), (limits.gradient, limits.slew), strict=True)
    parts = [(w.square().sum(-1) / limit**2 - 1).clamp(min=0.0).square().mean() for w, limit in sizes]
    return parts[0] + parts[1]
