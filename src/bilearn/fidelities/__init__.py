"""Data fidelities D(A x, y)."""

from bilearn.fidelities.fidelity import Fidelity
from bilearn.fidelities.least_squares import LeastSquares

__all__ = ["Fidelity", "LeastSquares"]
