"""Regularizers R(x)."""

from bilearn.regularizers.differences import FiniteDifferences
from bilearn.regularizers.potential_regularizer import PotentialRegularizer
from bilearn.regularizers.regularizer import Regularizer, Sum, TermHessian
from bilearn.regularizers.tikhonov import Tikhonov
from bilearn.regularizers.total_variation import SmoothedTV, SquaredH1

__all__ = [
    "FiniteDifferences",
    "PotentialRegularizer",
    "Regularizer",
    "SmoothedTV",
    "SquaredH1",
    "Sum",
    "TermHessian",
    "Tikhonov",
]
