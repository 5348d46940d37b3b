"""bilearn: certified bilevel learning for imaging inverse problems."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilearn.api import Fit, learn, load
    from bilearn.energy import Energy
    from bilearn.fidelities import Huber, KullbackLeibler, LeastSquares, PseudoHuber, StudentT
    from bilearn.hypergradient import ImplicitHypergradient, OneStep, TangentHypergradient, Unrolled, argmin_layer
    from bilearn.learner import Learner
    from bilearn.losses import NegativePSNR, SmoothedL1, SquaredError, SSIMLoss
    from bilearn.lower import minimize
    from bilearn.model import LearnedModel
    from bilearn.parameters import Log10, Logit, ParameterVector, learnable
    from bilearn.reduced_objective import ReducedObjective
    from bilearn.regularizers import SmoothedTV, SquaredH1, Sum, Tikhonov
    from bilearn.solution import Solution, Tolerance
    from bilearn.status import SolveError, Status
    from bilearn.upper import (
        HOAG,
        LBFGSB,
        MAID,
        Adaptive,
        BayesianSearch,
        DynamicDFO,
        Fixed,
        FixedAccuracy,
        GaussNewton,
        Geometric,
        GridSearch,
        InexactSGD,
        Polynomial,
        ProjectedGradient,
        RandomSearch,
        ScheduledGradient,
        TorchOptimizer,
    )
    from bilearn.variational import VariationalEnergy

__version__ = "0.1.0"

_HOMES = {
    "api": ("Fit", "learn", "load"),
    "energy": ("Energy",),
    "fidelities": ("Huber", "KullbackLeibler", "LeastSquares", "PseudoHuber", "StudentT"),
    "hypergradient": ("ImplicitHypergradient", "OneStep", "TangentHypergradient", "Unrolled", "argmin_layer"),
    "learner": ("Learner",),
    "losses": ("NegativePSNR", "SSIMLoss", "SmoothedL1", "SquaredError"),
    "lower": ("minimize",),
    "model": ("LearnedModel",),
    "parameters": ("Log10", "Logit", "ParameterVector", "learnable"),
    "reduced_objective": ("ReducedObjective",),
    "regularizers": ("SmoothedTV", "SquaredH1", "Sum", "Tikhonov"),
    "solution": ("Solution", "Tolerance"),
    "status": ("SolveError", "Status"),
    "upper": (
        "HOAG",
        "LBFGSB",
        "MAID",
        "Adaptive",
        "BayesianSearch",
        "DynamicDFO",
        "Fixed",
        "FixedAccuracy",
        "GaussNewton",
        "Geometric",
        "GridSearch",
        "InexactSGD",
        "Polynomial",
        "ProjectedGradient",
        "RandomSearch",
        "ScheduledGradient",
        "TorchOptimizer",
    ),
    "variational": ("VariationalEnergy",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "HOAG",
    "LBFGSB",
    "MAID",
    "Adaptive",
    "BayesianSearch",
    "DynamicDFO",
    "Energy",
    "Fit",
    "Fixed",
    "FixedAccuracy",
    "GaussNewton",
    "Geometric",
    "GridSearch",
    "Huber",
    "ImplicitHypergradient",
    "InexactSGD",
    "KullbackLeibler",
    "LearnedModel",
    "Learner",
    "LeastSquares",
    "Log10",
    "Logit",
    "NegativePSNR",
    "OneStep",
    "ParameterVector",
    "Polynomial",
    "ProjectedGradient",
    "PseudoHuber",
    "RandomSearch",
    "ReducedObjective",
    "SSIMLoss",
    "ScheduledGradient",
    "SmoothedL1",
    "SmoothedTV",
    "Solution",
    "SolveError",
    "SquaredError",
    "SquaredH1",
    "Status",
    "StudentT",
    "Sum",
    "TangentHypergradient",
    "Tikhonov",
    "Tolerance",
    "TorchOptimizer",
    "Unrolled",
    "VariationalEnergy",
    "argmin_layer",
    "learn",
    "learnable",
    "load",
    "minimize",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use, so that ``import bilearn`` costs nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bilearn' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"bilearn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
