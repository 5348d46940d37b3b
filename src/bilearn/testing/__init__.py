"""Checks for components of your own: they raise AssertionError and say what failed and by how much."""

from bilearn.testing.energy import check_energy
from bilearn.testing.hypergradient import check_hypergradient, reference_hypergradient
from bilearn.testing.optimizer import WatchedOracle, check_optimizer
from bilearn.testing.reference import newton_minimizer
from bilearn.testing.solver import check_solver

__all__ = [
    "WatchedOracle",
    "check_energy",
    "check_hypergradient",
    "check_optimizer",
    "check_solver",
    "newton_minimizer",
    "reference_hypergradient",
]
