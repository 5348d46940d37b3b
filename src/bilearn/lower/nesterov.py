"""Nesterov's accelerated gradient method (FISTA for smooth energies)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.solver import LowerSolver, check_positive, require_smoothness
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class NesterovState:
    """Extrapolated point, gradient there, the last point before extrapolation, and the scalars of each sample.

    ``watched`` says whether any sample may restart.
    """

    x: Tensor
    gradient: Tensor
    main: Tensor
    t: Tensor
    length: Tensor
    q: Tensor
    watched: bool


@dataclass(frozen=True)
class NesterovGradient(LowerSolver):
    """Accelerated gradients for smooth energies, strongly convex or only convex.

    With q = mu/L, z_0 = x_0, t_1 = 1 (Chambolle and Pock, An introduction to continuous optimization for imaging, 2016,
    algorithm 5):

    1. x_{k+1} = z_k - grad h(z_k)/L.
    2. t_{k+2} = (1 - q t_{k+1}^2 + sqrt((1 - q t_{k+1}^2)^2 + 4 t_{k+1}^2))/2.
    3. z_{k+1} = x_{k+1} + (t_{k+1} - 1)/t_{k+2} * (1 - q t_{k+2})/(1 - q) * (x_{k+1} - x_k).

    It differs from the textbook in what it returns: the extrapolated point z_k, where the gradient is known anyway, so
    that certificates cost no second gradient. For mu > 0 the squared distance decreases like (1 - sqrt(q))^k. For mu = 0
    the momentum of a sample restarts, t = 1, when grad h(z_k)'(x_{k+1} - x_k) > 0 (O'Donoghue and Candes, 2015).

    Args:
        restart: restart strongly convex samples too; pays where h is more curved around its minimizer than mu says.
        steady: start strongly convex samples with t_1 = 1/sqrt(q), the value that t tends to; saves steps from a warm
            start (a quarter to a third of them on 1-D total variation).
        check_every: steps between two looks at the gradient norm.
        max_steps: step limit.

    Raises:
        ValueError: from :meth:`check`, if the energy declares no L.
    """

    restart: bool = False
    steady: bool = False
    check_every: int = 10
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        check_positive(self, check_every=self.check_every)

    def check(self, problem: LowerProblem) -> None:
        """L must be known."""
        require_smoothness(self, problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> NesterovState:
        """One gradient at x0."""
        smoothness = problem.smoothness(x0)
        q = (problem.mu(x0) / smoothness).clamp(max=1.0)
        t = torch.where(q > 0, q.rsqrt(), 1.0) if self.steady else torch.ones_like(q)
        watched = self.restart or bool((q == 0).any())
        return NesterovState(x0, problem.grad(x0), x0, t, _batch.expand(1 / smoothness, x0), q, watched)

    def step(self, problem: LowerProblem, state: NesterovState) -> NesterovState:
        """One step and one gradient."""
        q = state.q
        main = torch.addcmul(state.x, state.length, state.gradient, value=-1)
        move = main - state.main
        t = state.t
        if state.watched:
            uphill = _batch.dot(state.gradient, move) > 0
            t = torch.where(uphill if self.restart else uphill & (q == 0), 1.0, t)
        rest = 1 - q * t * t
        t_next = (rest + torch.sqrt(rest * rest + 4 * t * t)) / 2
        momentum = torch.where(q < 1, (t - 1) / t_next * (1 - q * t_next) / (1 - q), 0.0)
        x = torch.addcmul(main, _batch.expand(momentum, main), move)
        return NesterovState(x, problem.grad(x), main, t_next, state.length, q, state.watched)
