"""Gradient descent with the largest step that is safe for every smooth convex energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.solver import LowerSolver, check_positive, require_smoothness
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class GradientDescentState:
    """The point, the gradient there, and the step length of each sample."""

    x: Tensor
    gradient: Tensor
    length: Tensor


@dataclass(frozen=True)
class GradientDescent(LowerSolver):
    """x <- x - s grad h(x) with s = 2/(L + mu), or 1/L where mu is unknown or zero.

    For mu-strongly convex, L-smooth h: |x_k - xhat| <= ((L - mu)/(L + mu))^k |x_0 - xhat| (Nesterov, Introductory Lectures
    on Convex Optimization, theorem 2.1.15). One gradient per step.

    Args:
        relaxation: factor of the step, in (0, 1] to keep the rate above.
        check_every: steps between two looks at the gradient norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is not positive; from :meth:`check`, if the energy declares no L.
    """

    relaxation: float = 1.0
    check_every: int = 10
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        check_positive(self, relaxation=self.relaxation, check_every=self.check_every)

    def check(self, problem: LowerProblem) -> None:
        """L must be known."""
        require_smoothness(self, problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> GradientDescentState:
        """One gradient at x0."""
        mu, smoothness = problem.mu(x0), problem.smoothness(x0)
        length = self.relaxation * torch.where(mu > 0, 2 / (smoothness + mu), 1 / smoothness)
        return GradientDescentState(x0, problem.grad(x0), _batch.expand(length, x0))

    def step(self, problem: LowerProblem, state: GradientDescentState) -> GradientDescentState:
        """One step and one gradient."""
        x = torch.addcmul(state.x, state.length, state.gradient, value=-1)
        return GradientDescentState(x, problem.grad(x), state.length)
