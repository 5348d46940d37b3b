"""Solvers, hypergradient estimators and upper-level methods of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bilearn.experiment.run_schema import (
    AutoConfig,
    BayesianConfig,
    GaussNewtonConfig,
    GridConfig,
    HypergradientConfig,
    LBFGSBConfig,
    OptimizerConfig,
    ProjectedGradientConfig,
    RandomConfig,
    SolverConfig,
)
from bilearn.hypergradient import HypergradientEstimator, ImplicitHypergradient, OneStep, Unrolled
from bilearn.losses import SquaredError, UpperLoss
from bilearn.lower import LBFGS, ClosedForm, GradientDescent, LowerSolver, NesterovGradient, NewtonCG
from bilearn.parameters import ParameterVector
from bilearn.upper import (
    LBFGSB,
    BayesianSearch,
    GaussNewton,
    GridSearch,
    ProjectedGradient,
    RandomSearch,
    TorchOptimizer,
    UpperOptimizer,
    default_optimizer,
)

_SOLVERS: dict[str, Callable[[], Any]] = {
    "newton-cg": NewtonCG,
    "nesterov": NesterovGradient,
    "lbfgs": LBFGS,
    "gradient-descent": GradientDescent,
    "closed-form": ClosedForm,
}


def build_solver(config: SolverConfig) -> LowerSolver | None:
    """The lower-level method; None lets the energy decide."""
    if config.kind == "auto":
        return None
    solver = _SOLVERS[config.kind]()
    return solver if config.max_steps is None else replace(solver, max_steps=config.max_steps)


def build_estimator(config: HypergradientConfig) -> HypergradientEstimator:
    """The estimator of the hypergradient."""
    if config.kind == "unrolled":
        return Unrolled(steps=config.steps, truncate=config.truncate)
    return OneStep() if config.kind == "one-step" else ImplicitHypergradient()


def build_optimizer(
    config: OptimizerConfig, seed: int, parameters: ParameterVector, loss: UpperLoss
) -> UpperOptimizer[Any]:
    """The upper-level method; ``seed`` drives the random ones, parameters and loss decide what 'auto' picks."""
    if isinstance(config, AutoConfig):
        chosen = default_optimizer(parameters, isinstance(loss, SquaredError))
        return replace(chosen, gradient_tolerance=config.tolerance)
    if isinstance(config, GaussNewtonConfig):
        return GaussNewton(initial_radius=config.initial_radius, gradient_tolerance=config.tolerance)
    if isinstance(config, LBFGSBConfig):
        return LBFGSB(gradient_tolerance=config.tolerance)
    if isinstance(config, ProjectedGradientConfig):
        return ProjectedGradient(gradient_tolerance=config.tolerance)
    if isinstance(config, GridConfig):
        return GridSearch(points_per_axis=config.points)
    if isinstance(config, RandomConfig):
        return RandomSearch(count=config.points, seed=seed)
    if isinstance(config, BayesianConfig):
        return BayesianSearch(count=config.points, seed=seed)
    method = getattr(torch.optim, config.method)
    return TorchOptimizer(lambda parameters: method(parameters, lr=config.lr), gradient_tolerance=config.tolerance)
