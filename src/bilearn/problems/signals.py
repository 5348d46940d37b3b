"""The 1-D denoising problems of Ehrhardt and Roberts (JMIV 63, 2021), with known optimal values.

All objectives are sums of squared errors |xhat_i - x_i|^2 plus a penalty; no factor 1/2, no mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.losses import SquaredError
from bilearn.penalties import ConditionNumber, Penalty
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy


def indicator_signals(count: int, pixels: int, sigma: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random indicator signals and their noisy versions, as published.

    1. NumPy's legacy generator is seeded; the domain is ``pixels`` points in [-2, 2].
    2. For every signal: center uniform(-1, 1), radius uniform(-0.5, -1); x = 1 where (domain - center)^2 < radius^2.
    3. Then, signal by signal, y = x + sigma * standard normal noise.

    Returns:
        x, y: float64 tensors (count, pixels).
    """
    generator = np.random.RandomState(seed)
    signals = random_indicators(generator, count, pixels)
    noisy = signals + sigma * np.stack([generator.randn(pixels) for _ in range(count)])
    return torch.from_numpy(signals), torch.from_numpy(noisy)


def random_indicators(generator: np.random.RandomState, count: int, pixels: int) -> np.ndarray:
    """(count, pixels) random indicator signals, steps 1 and 2 of :func:`indicator_signals`."""
    domain = np.linspace(-2.0, 2.0, pixels)
    signals = np.zeros((count, pixels))
    for signal in signals:
        center, radius = generator.uniform(-1.0, 1.0), generator.uniform(-0.5, -1.0)
        signal[(domain - center) ** 2 < radius**2] = 1.0
    return signals


@dataclass(frozen=True)
class KnownProblem:
    """A bilevel problem with what is known about its solution.

    Attributes:
        objective: the reduced objective.
        start: (P,) published start in coordinates.
        optimum: best known value.
        minimizer: (P,) where it is attained.
    """

    objective: ReducedObjective
    start: Tensor
    optimum: float
    minimizer: Tensor


def one_parameter() -> KnownProblem:
    """``1param``: 10 signals of 256 pixels, sigma 0.1, alpha = 10^theta in [1e-7, 1e7], xi = nu = 1e-3."""
    x, y = indicator_signals(10, 256, 0.1)
    regularizer = SmoothedTV(1.0, 1e-3, 1e-3, learn=("alpha",), axes=1, boundary="dirichlet")
    return _problem(regularizer, x, y, None, [0.0], 1.3714888337818, [-0.314921])


def three_parameters(weight: float = 1e-6) -> KnownProblem:
    """``reg6`` (weight 1e-6) and ``reg4`` (1e-4): 20 signals, alpha, xi and nu, penalty weight * (L/mu)^2.

    The optimal value is known for weight 1e-6 only; NaN otherwise.
    """
    x, y = indicator_signals(20, 256, 0.1)
    regularizer = SmoothedTV(1.0, 0.1, 0.1, axes=1, boundary="dirichlet")
    known = weight == 1e-6
    optimum = 2.826874151573 if known else float("nan")
    minimizer = [-0.410913, -7.0, -2.512098] if known else [float("nan")] * 3
    return _problem(regularizer, x, y, ConditionNumber(weight), [0.0, -1.0, -1.0], optimum, minimizer)


def _problem(
    regularizer: SmoothedTV,
    x: Tensor,
    y: Tensor,
    penalty: Penalty | None,
    start: list[float],
    optimum: float,
    minimizer: list[float],
) -> KnownProblem:
    energy = VariationalEnergy(LeastSquares(), regularizer)
    objective = ReducedObjective(energy, y, x, SquaredError(), penalty, reduction="sum")
    return KnownProblem(
        objective,
        torch.tensor(start, dtype=torch.float64),
        optimum,
        torch.tensor(minimizer, dtype=torch.float64),
    )
