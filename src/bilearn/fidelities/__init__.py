"""Data fidelities D(A x, y)."""

from bilearn.fidelities.fidelity import Fidelity
from bilearn.fidelities.kullback_leibler import KullbackLeibler
from bilearn.fidelities.least_squares import LeastSquares
from bilearn.fidelities.poisson_gaussian import PoissonGaussian
from bilearn.fidelities.robust import Huber, PseudoHuber, ResidualFidelity, StudentT

__all__ = [
    "Fidelity",
    "Huber",
    "KullbackLeibler",
    "LeastSquares",
    "PoissonGaussian",
    "PseudoHuber",
    "ResidualFidelity",
    "StudentT",
]
