"""Where learning a pattern starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.sampling.problem import SamplingProblem, pattern_range
from bilearn.sampling.units import Units


@dataclass(frozen=True)
class Start:
    """Degrees to start from, the same for all starts of the other numbers.

    The learning problem has many stationary points of very different value, s = 1 among the worst: there the data term's
    pull is weakest and, with beta1 = beta2, the penalty is flat.

    Args:
        degree: of every learned number of the pattern; those it has if None.
        spectrum: part in [0, 1] of the mask that takes the units with the largest training coefficients in the mixture
            (1 - spectrum) degree + spectrum mask; positive values need an exact number of samples.
        jitter: half width of uniform random numbers that are added.
        seed: of the random numbers.

    Raises:
        ValueError: if a number is out of range.
    """

    degree: float | None = 0.5
    spectrum: float = 0.0
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.spectrum <= 1.0:
            raise ValueError(f"Start.spectrum: found {self.spectrum}, expected a number in [0, 1]")
        if self.jitter < 0:
            raise ValueError(f"Start.jitter: found {self.jitter}, expected a number >= 0")

    @property
    def name(self) -> str:
        """Name used in records."""
        parts = ["pattern" if self.degree is None else f"{self.degree:g}"]
        parts += [f"spectrum{self.spectrum:g}"] if self.spectrum else []
        parts += [f"jitter{self.jitter:g}-seed{self.seed}"] if self.jitter else []
        return "-".join(parts)

    def theta(self, problem: SamplingProblem, theta: Tensor, units: Units | None, points: int | None) -> Tensor:
        """(P,) theta with the pattern's part replaced.

        Raises:
            ValueError: if ``spectrum`` is positive without an exact number of samples.
        """
        parameters = problem.objective(None, pattern=True).parameters
        part = pattern_range(parameters)
        values = theta[part] if self.degree is None else torch.full_like(theta[part], self.degree)
        if self.spectrum:
            if units is None or points is None:
                raise ValueError("Start.spectrum: given without an exact number of samples, expected rate or count")
            mask = units.choose(_energy(problem, theta), points)
            values = (1 - self.spectrum) * values + self.spectrum * mask.to(values)
        if self.jitter:
            generator = torch.Generator().manual_seed(self.seed)
            noise = 2 * torch.rand(values.shape, generator=generator, dtype=torch.float64) - 1
            values = values + self.jitter * noise.to(values)
        out = theta.clone()
        out[part] = values
        return parameters.project(out)


def _energy(problem: SamplingProblem, theta: Tensor) -> Tensor:
    """(U,) mean squared training coefficient of the points that each unit samples."""
    parameters = problem.objective(None, pattern=True).parameters
    part = pattern_range(parameters)
    with torch.no_grad():
        k = problem.energy.operator.A(problem.x)
        grid = k.square().mean(0).reshape(-1, *problem.degrees().shape).sum(0)
    with torch.enable_grad():
        sums, counts = (
            parameters.flatten(
                torch.autograd.grad(
                    (problem.pattern() * w).sum(), parameters.parameters, materialize_grads=True, allow_unused=True
                )
            )[part]
            for w in (grid, torch.ones_like(grid))
        )
    return sums / counts.clamp(min=1e-12)
