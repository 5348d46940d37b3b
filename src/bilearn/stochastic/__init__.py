"""Stochastic bilevel methods for one lower-level variable shared by all samples: hyperparameters, data cleaning."""

from bilearn.stochastic.data import classification_data, hyper_cleaning, ridge_logistic
from bilearn.stochastic.double_loop import AmIGO, StocBiO
from bilearn.stochastic.exact import Exact, SharedEnergy, SharedLoss, exact
from bilearn.stochastic.finite_sum import FiniteSum, LowerParts, OracleCount, UpperParts
from bilearn.stochastic.method import StochasticMethod, StochasticState
from bilearn.stochastic.problems import HyperCleaning, QuadraticSum, RidgeLogistic, simulated_quadratic
from bilearn.stochastic.run import StochasticRecord, StochasticResult, run_stochastic
from bilearn.stochastic.saba import SABA
from bilearn.stochastic.sampler import Batch, BatchSampler
from bilearn.stochastic.soba import MASOBA, SOBA
from bilearn.stochastic.tables import GradientTable
from bilearn.stochastic.variance_reduced import VarianceReduced

__all__ = [
    "MASOBA",
    "SABA",
    "SOBA",
    "AmIGO",
    "Batch",
    "BatchSampler",
    "Exact",
    "FiniteSum",
    "GradientTable",
    "HyperCleaning",
    "LowerParts",
    "OracleCount",
    "QuadraticSum",
    "RidgeLogistic",
    "SharedEnergy",
    "SharedLoss",
    "StocBiO",
    "StochasticMethod",
    "StochasticRecord",
    "StochasticResult",
    "StochasticState",
    "UpperParts",
    "VarianceReduced",
    "classification_data",
    "exact",
    "hyper_cleaning",
    "ridge_logistic",
    "run_stochastic",
    "simulated_quadratic",
]
