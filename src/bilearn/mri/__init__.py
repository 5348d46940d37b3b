"""Learning which k-space samples to take: Fourier transform, sampling patterns, and the data term they weight."""

from bilearn.mri.energy import sampling_energy
from bilearn.mri.fidelity import KSpaceFidelity
from bilearn.mri.fourier import FourierTransform
from bilearn.mri.pattern import FreePattern, GroupedPattern, Pattern, mirrored
from bilearn.mri.weighting import Linear, Odds, Square, Weighting

__all__ = [
    "FourierTransform",
    "FreePattern",
    "GroupedPattern",
    "KSpaceFidelity",
    "Linear",
    "Odds",
    "Pattern",
    "Square",
    "Weighting",
    "mirrored",
    "sampling_energy",
]
