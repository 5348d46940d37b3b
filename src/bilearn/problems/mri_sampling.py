"""The 1-D MRI sampling problem of Ehrhardt and Roberts (JMIV 63, 2021): 64 weights, with its known optimal value."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bilearn.losses import SquaredError
from bilearn.mri import FreePattern, Odds, sampling_energy
from bilearn.penalties import L1
from bilearn.problems.signals import KnownProblem, random_indicators
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV

OPTIMUM = 0.47827512226
"""Reached from ten starts by L-BFGS-B within 1e-9, and polished until the projected gradient was 2.5e-7."""

# fmt: off
MINIMIZER = (
    0.026402, 0.077853, 0.065769, 0.087068, 0.060330, 0.059900, 0.045097, 0.048473,
    0.001000, 0.001000, 0.097107, 0.090126, 0.122896, 0.046520, 0.001000, 0.001000,
    0.024427, 0.001000, 0.001000, 0.001000, 0.001000, 0.015005, 0.001000, 0.032982,
    0.001000, 0.001000, 0.001000, 0.017903, 0.001000, 0.014788, 0.001000, 0.001000,
    0.001000, 0.001000, 0.001000, 0.001000, 0.001000, 0.001000, 0.001000, 0.001000,
    0.001000, 0.001000, 0.001000, 0.001000, 0.023945, 0.001000, 0.045269, 0.036255,
    0.001000, 0.001000, 0.075958, 0.001000, 0.005118, 0.001000, 0.044754, 0.013014,
    0.026216, 0.026950, 0.134144, 0.062961, 0.085664, 0.048281, 0.054810, 0.078782,
)
# fmt: on


def indicator_kspace(count: int, pixels: int, sigma: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random indicator signals and their noisy Fourier coefficients, as published.

    The signals are those of :func:`bilearn.problems.indicator_signals`; then, signal by signal, y is the orthonormal
    Fourier transform plus complex normal noise of standard deviation ``sigma``.

    Returns:
        x, y: float64 tensors (count, 2, pixels), real and imaginary part in two channels.
    """
    generator = np.random.RandomState(seed)
    signals = random_indicators(generator, count, pixels)
    noise = np.stack([generator.randn(2, pixels) for _ in range(count)]) / np.sqrt(2.0)
    truth = np.stack((signals, np.zeros_like(signals)), 1)
    clean = np.fft.fft(signals, norm="ortho")
    kspace = np.stack((clean.real, clean.imag), 1) + sigma * noise
    return torch.from_numpy(truth), torch.from_numpy(kspace)


def mri_sampling_1d() -> KnownProblem:
    """``mri-1d-sampling``: 10 complex signals of 64 pixels, sigma 0.05, weights b = c/(1-c), c in [0.001, 0.99]^64.

    TV with alpha = 1e-2, nu = 1e-2 and a ridge xi = 1e-4, all fixed; penalty 0.1 |c|_1; start c = 0.5.
    """
    x, y = indicator_kspace(10, 64, 0.05)
    pattern = FreePattern(torch.full((64,), 0.5), (0.001, 0.99))
    regularizer = SmoothedTV(1e-2, 1e-4, 1e-2, learn=(), axes=1, coupled=True, boundary="dirichlet")
    energy = sampling_energy(pattern, regularizer, Odds())
    objective = ReducedObjective(energy, y, x, SquaredError(), L1(0.1), reduction="sum")
    start = torch.full((64,), 0.5, dtype=torch.float64)
    return KnownProblem(objective, start, OPTIMUM, torch.tensor(MINIMIZER, dtype=torch.float64))
