"""Regularizers R(x)."""

from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.differences import FiniteDifferences
from bilearn.regularizers.directional import DirectionalDifferences, DirectionalTV
from bilearn.regularizers.potential_regularizer import PotentialRegularizer
from bilearn.regularizers.potentials import CubicAbsolute, Potential, Quadratic, SmoothedAbsolute
from bilearn.regularizers.regularizer import Regularizer, Sum, TermHessian
from bilearn.regularizers.smoothed_analysis import SmoothedAnalysis
from bilearn.regularizers.tikhonov import Tikhonov
from bilearn.regularizers.total_variation import SmoothedTV, SquaredH1
from bilearn.regularizers.wavelets import PeriodicWavelets, WaveletSparsity

__all__ = [
    "AnalysisOperator",
    "CubicAbsolute",
    "DirectionalDifferences",
    "DirectionalTV",
    "FiniteDifferences",
    "PeriodicWavelets",
    "Potential",
    "PotentialRegularizer",
    "Quadratic",
    "Regularizer",
    "SmoothedAbsolute",
    "SmoothedAnalysis",
    "SmoothedTV",
    "SquaredH1",
    "Sum",
    "TermHessian",
    "Tikhonov",
    "WaveletSparsity",
]
