"""Sampling masks at an exact number of samples: the classical ones, and greedy search and exchanges with the
reconstructor in the loop.

Masks are boolean tensors (H, W) without shift: the zero frequency is [0, 0]; ``torch.fft.fftshift(mask)`` shows it in the
middle.
"""

from bilearn.mri.masks.baseline import BASELINES, MaskBaseline, RuleBaseline
from bilearn.mri.masks.equispaced import equispaced
from bilearn.mri.masks.exchange import ExchangeRun, exchange_mask
from bilearn.mri.masks.greedy import GreedyRun, MaskScore, greedy_mask, one_by_one
from bilearn.mri.masks.greedy_baseline import GreedyBaseline
from bilearn.mri.masks.lattice import Lattice, Unit, sample_count
from bilearn.mri.masks.low_pass import low_pass
from bilearn.mri.masks.poisson_disc import poisson_disc
from bilearn.mri.masks.radial import radial
from bilearn.mri.masks.spiral import spiral
from bilearn.mri.masks.training_spectrum import largest_coefficients, mean_energy, spectral_density
from bilearn.mri.masks.uniform_random import uniform_random
from bilearn.mri.masks.variable_density import gaussian_density, polynomial_density

__all__ = [
    "BASELINES",
    "ExchangeRun",
    "GreedyBaseline",
    "GreedyRun",
    "Lattice",
    "MaskBaseline",
    "MaskScore",
    "RuleBaseline",
    "Unit",
    "equispaced",
    "exchange_mask",
    "gaussian_density",
    "greedy_mask",
    "largest_coefficients",
    "low_pass",
    "mean_energy",
    "one_by_one",
    "poisson_disc",
    "polynomial_density",
    "radial",
    "sample_count",
    "spectral_density",
    "spiral",
    "uniform_random",
]
