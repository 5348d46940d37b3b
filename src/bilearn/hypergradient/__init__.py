"""Hypergradients: the gradient of the upper-level loss in theta, with a bound on its error."""

from bilearn.hypergradient.adaptive import AdaptiveEstimator
from bilearn.hypergradient.argmin_layer import argmin_layer
from bilearn.hypergradient.balanced import BalancedHypergradient
from bilearn.hypergradient.equilibrium import EquilibriumHypergradient, Unsymmetric
from bilearn.hypergradient.estimator import BoundParts, Hypergradient, HypergradientEstimator, missed_accuracy
from bilearn.hypergradient.finite_differences import FiniteDifferences
from bilearn.hypergradient.implicit import ImplicitHypergradient
from bilearn.hypergradient.neumann import Neumann
from bilearn.hypergradient.one_step import OneStep
from bilearn.hypergradient.single_loop import SingleLoop
from bilearn.hypergradient.tangent import TangentHypergradient
from bilearn.hypergradient.unrolled import Unrolled
from bilearn.hypergradient.value_function_penalty import ValueFunctionPenalty
from bilearn.hypergradient.zeroth_order import ZerothOrder

__all__ = [
    "AdaptiveEstimator",
    "BalancedHypergradient",
    "BoundParts",
    "EquilibriumHypergradient",
    "FiniteDifferences",
    "Hypergradient",
    "HypergradientEstimator",
    "ImplicitHypergradient",
    "Neumann",
    "OneStep",
    "SingleLoop",
    "TangentHypergradient",
    "Unrolled",
    "Unsymmetric",
    "ValueFunctionPenalty",
    "ZerothOrder",
    "argmin_layer",
    "missed_accuracy",
]
