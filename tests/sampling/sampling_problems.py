"""Small problems of pattern learning."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri import FreePattern, Weighting, sampling_energy
from bilearn.regularizers import Regularizer, SmoothedTV
from bilearn.variational import VariationalEnergy


def square_image(n: int, pairs: int = 1, noise: float = 0.03) -> tuple[Tensor, Tensor]:
    """True images (a white square, shifted from pair to pair) and full noisy k-space, in two channels."""
    x = torch.zeros(pairs, 2, n, n, dtype=torch.float64)
    for i in range(pairs):
        x[i, 0, n // 4 + i : 3 * n // 4, n // 4 : 3 * n // 4 + i] = 1
    generator = torch.Generator().manual_seed(0)
    clean = torch.fft.fft2(x[:, 0], norm="ortho")
    y = torch.stack((clean.real, clean.imag), 1)
    return x, y + noise * torch.randn(y.shape, generator=generator, dtype=torch.float64)


def free_energy(n: int, degree: float = 0.5, weighting: Weighting | None = None) -> VariationalEnergy:
    """Points, complex total variation, learned alpha."""
    pattern = FreePattern(torch.full((n, n), degree, dtype=torch.float64))
    return sampling_energy(pattern, total_variation(), weighting)


def total_variation(learn: tuple[str, ...] = ("alpha",)) -> Regularizer:
    """alpha = 0.02, ridge 1e-2."""
    return SmoothedTV(0.02, 1e-2, 2e-2, learn=learn, coupled=True, bounds={"alpha": (1e-5, 10.0)})
