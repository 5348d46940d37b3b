"""The published 1-D denoising problems, cut down to a size at which whole runs can be checked by dense linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.fidelities import LeastSquares
from bilearn.losses import SquaredError
from bilearn.lower import LowerSolver
from bilearn.penalties import ConditionNumber
from bilearn.problems import indicator_signals
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.testing.reference import dense_hessian, newton_minimizer
from bilearn.upper import (
    HOAG,
    LBFGSB,
    MAID,
    BayesianSearch,
    DynamicDFO,
    Fixed,
    GaussNewton,
    GridSearch,
    InexactSGD,
    Polynomial,
    ProjectedGradient,
    RandomSearch,
    ScheduledGradient,
    TorchOptimizer,
    UpperOptimizer,
)
from bilearn.variational import VariationalEnergy


def momentum(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.2)


METHODS: list[UpperOptimizer] = [
    DynamicDFO(),
    MAID(),
    HOAG(),
    InexactSGD(0.05, 0.05, batch_size=2),
    ScheduledGradient(Fixed(0.03)),
    ScheduledGradient(Fixed(0.03), Polynomial(1.0, 0.6)),
    LBFGSB(),
    GaussNewton(),
    ProjectedGradient(),
    TorchOptimizer(adam),
    TorchOptimizer(momentum),
    GridSearch(2),
    RandomSearch(6),
    BayesianSearch(6),
]


@dataclass
class SmallProblem:
    """A problem whose evaluations are kept, with the exact answer to each of them.

    Attributes:
        seen: every evaluation, in order.
    """

    learn: tuple[str, ...] = ("alpha", "xi", "nu")
    bounds: dict[str, tuple[float, float]] | None = None
    penalized: bool = True
    signals: int = 3
    pixels: int = 16
    solver: LowerSolver | None = None
    reduction: Literal["mean", "sum"] = "sum"
    seen: list[Evaluation] = field(default_factory=list)

    def __post_init__(self) -> None:
        x, y = indicator_signals(self.signals, self.pixels, 0.1)
        regularizer = SmoothedTV(1.0, 0.1, 0.1, learn=self.learn, bounds=self.bounds, axes=1, boundary="dirichlet")
        self.objective = ReducedObjective(
            VariationalEnergy(LeastSquares(), regularizer),
            y,
            x,
            SquaredError(),
            ConditionNumber(1e-6) if self.penalized else None,
            reduction=self.reduction,
            solver=self.solver,
            observer=self._keep,
        )
        self._points: list[Tensor | None] = []

    def _keep(self, evaluation: Evaluation) -> None:
        self.seen.append(evaluation)
        found = self.objective.reconstructions
        self._points.append(None if found is None else found.clone())

    @property
    def start(self) -> Tensor:
        """alpha = 1, xi = nu = 0.1."""
        return self.objective.parameters.get()

    def exact(self) -> Callable[[Evaluation], tuple[float, Tensor]]:
        """F and its gradient of what an evaluation evaluated, by Newton's method to machine precision and dense solves."""
        known: dict[tuple[float, ...], tuple[Tensor, Tensor, float, Tensor]] = {}

        def answer(evaluation: Evaluation) -> tuple[float, Tensor]:
            key = tuple(evaluation.theta.tolist())
            if key not in known:
                position = next(i for i, e in enumerate(self.seen) if e is evaluation)
                known[key] = self._solve(evaluation.theta, self._points[position])
            losses, gradients, penalty, slope = known[key]
            rows = slice(None) if evaluation.minibatch is None else evaluation.minibatch
            weight = len(losses) / len(losses[rows])
            return weight * float(losses[rows].sum()) + penalty, weight * gradients[rows].sum(0) + slope

        return answer

    def _solve(self, theta: Tensor, near: Tensor | None) -> tuple[Tensor, Tensor, float, Tensor]:
        """(N,) losses, (N, P) gradients of each, value and gradient of the penalty."""
        objective = self.objective
        energy, y, target = objective.energy, objective.y, objective.target
        penalty = objective.penalty_terms(theta)
        x = newton_minimizer(energy, y, near)
        with torch.no_grad():
            matrix = dense_hessian(energy.hessian(x, y), x)
        adjoint = torch.linalg.solve(matrix, 2 * (x - target).flatten(1)).reshape(x.shape)
        gradients = []
        for i in range(len(x)):
            products = energy.cross_vjp(x[i : i + 1], y[i : i + 1], adjoint[i : i + 1], objective.parameters.parameters)
            gradients.append(-objective.parameters.flatten(products))
        return (x - target).square().flatten(1).sum(1), torch.stack(gradients), penalty.value, penalty.gradient
