"""Solvers, hypergradient estimators and upper-level methods of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bilearn.experiment.optimizer_schema import (
    AdaptiveSchedule,
    AutoConfig,
    BayesianConfig,
    DynamicDFOConfig,
    FixedAccuracyConfig,
    FixedSchedule,
    GaussNewtonConfig,
    GeometricSchedule,
    GridConfig,
    HOAGConfig,
    InexactSGDConfig,
    LBFGSBConfig,
    MAIDConfig,
    OptimizerConfig,
    PolynomialSchedule,
    ProjectedGradientConfig,
    RandomConfig,
    ScheduledGradientConfig,
)
from bilearn.experiment.run_schema import HypergradientConfig, SolverConfig
from bilearn.hypergradient import (
    BalancedHypergradient,
    HypergradientEstimator,
    ImplicitHypergradient,
    Neumann,
    OneStep,
    Unrolled,
    ValueFunctionPenalty,
    ZerothOrder,
)
from bilearn.losses import SquaredError, UpperLoss
from bilearn.lower import (
    LBFGS,
    AcceleratedDescent,
    ClosedForm,
    GradientDescent,
    LowerSolver,
    MixedPrecision,
    NesterovGradient,
    NewtonCG,
)
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.upper import (
    HOAG,
    LBFGSB,
    MAID,
    AdaBelief,
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
    Schedule,
    ScheduledGradient,
    TorchOptimizer,
    UpperOptimizer,
    default_optimizer,
)

_SOLVERS: dict[str, Callable[[], Any]] = {
    "newton-cg": NewtonCG,
    "nesterov": NesterovGradient,
    "accelerated-descent": AcceleratedDescent,
    "lbfgs": LBFGS,
    "gradient-descent": GradientDescent,
    "closed-form": ClosedForm,
}


def build_solver(config: SolverConfig) -> LowerSolver | None:
    """The lower-level method; None lets the energy decide."""
    solver = None
    if config.kind != "auto":
        solver = _SOLVERS[config.kind]()
        solver = solver if config.max_steps is None else replace(solver, max_steps=config.max_steps)
    return MixedPrecision(solver) if config.precision == "mixed" else solver


def build_estimator(config: HypergradientConfig, seed: int = 0) -> HypergradientEstimator:
    """The estimator of the hypergradient; ``seed`` drives the random one."""
    if config.kind == "unrolled":
        return Unrolled(steps=config.steps, truncate=config.truncate)
    if config.kind == "neumann":
        return Neumann(terms=config.terms)
    if config.kind == "value-function-penalty":
        return ValueFunctionPenalty(penalty=config.penalty, two_sided=config.two_sided)
    if config.kind == "zeroth-order":
        return ZerothOrder(directions=config.directions, seed=seed)
    if config.kind == "one-step":
        return OneStep()
    return BalancedHypergradient() if config.error == "observed" else ImplicitHypergradient(error=config.error)


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
    if isinstance(config, MAIDConfig):
        return MAID(config.initial_length, config.initial_accuracy, gradient_tolerance=config.tolerance)
    if isinstance(config, HOAGConfig):
        return HOAG(build_schedule(config.accuracy), config.initial_length, gradient_tolerance=config.tolerance)
    if isinstance(config, ScheduledGradientConfig):
        lengths, accuracies = build_schedule(config.step_length), build_schedule(config.accuracy)
        return ScheduledGradient(lengths, accuracies, config.tolerance)
    if isinstance(config, InexactSGDConfig):
        return InexactSGD(
            config.initial_length,
            config.initial_accuracy,
            config.length_power,
            config.accuracy_power,
            config.minibatch,
            seed,
            config.epochs_between_values,
        )
    if isinstance(config, DynamicDFOConfig):
        return DynamicDFO(
            initial_radius=config.initial_radius,
            final_radius=config.final_radius,
            points=config.points,
            decrease_tolerance=config.tolerance,
            max_evaluations=config.max_evaluations,
        )
    if isinstance(config, GridConfig):
        return GridSearch(points_per_axis=config.points)
    if isinstance(config, RandomConfig):
        return RandomSearch(count=config.points, seed=seed)
    if isinstance(config, BayesianConfig):
        return BayesianSearch(count=config.points, seed=seed)
    method = AdaBelief if config.method == "AdaBelief" else getattr(torch.optim, config.method)
    return TorchOptimizer(lambda parameters: method(parameters, lr=config.lr), gradient_tolerance=config.tolerance)


def build_schedule(config: FixedSchedule | PolynomialSchedule | GeometricSchedule | AdaptiveSchedule) -> Schedule:
    """A number for each iteration."""
    if isinstance(config, FixedSchedule):
        return Fixed(config.value)
    if isinstance(config, PolynomialSchedule):
        return Polynomial(config.initial, config.power)
    if isinstance(config, GeometricSchedule):
        return Geometric(config.initial, config.factor, config.floor)
    return Adaptive(config.relative, config.initial)


def at_fixed_accuracy(objective: ReducedObjective, config: FixedAccuracyConfig | None) -> ReducedObjective:
    """The objective as the method sees it: itself, or at a fixed accuracy."""
    if config is None:
        return objective
    return FixedAccuracy(objective, config.distance, config.steps, config.residual, config.trusted)
