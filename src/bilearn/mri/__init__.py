"""Learning which k-space samples to take: Fourier transform, sampling patterns, and the data term they weight."""

from bilearn.mri.coils import CoilFourierTransform, birdcage_maps
from bilearn.mri.energy import sampling_energy
from bilearn.mri.fidelity import KSpaceFidelity
from bilearn.mri.fourier import FourierTransform
from bilearn.mri.masked import masked_data, masked_energy
from bilearn.mri.non_cartesian import NonCartesian, nonuniform_adjoint, nonuniform_fourier
from bilearn.mri.non_cartesian_energy import NonCartesianEnergy
from bilearn.mri.pattern import FreePattern, GroupedPattern, Pattern, mirrored
from bilearn.mri.weighting import Linear, Odds, Share, Square, Weighting

__all__ = [
    "CoilFourierTransform",
    "FourierTransform",
    "FreePattern",
    "GroupedPattern",
    "KSpaceFidelity",
    "Linear",
    "NonCartesian",
    "NonCartesianEnergy",
    "Odds",
    "Pattern",
    "Share",
    "Square",
    "Weighting",
    "birdcage_maps",
    "masked_data",
    "masked_energy",
    "mirrored",
    "nonuniform_adjoint",
    "nonuniform_fourier",
    "sampling_energy",
]
