"""Newton's method with direct or truncated conjugate-gradient solves, globalized per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Hessian
from bilearn.linear_systems import ConjugateGradient
from bilearn.lower.solver import LowerSolver, check_positive
from bilearn.problem import LowerProblem

_MAX_BACKTRACKS = 40
_NOISE = 100


@dataclass(frozen=True)
class NewtonState:
    """Point and gradient; gradient norm at the last point and smallest so far; the energy's memory; failed samples."""

    x: Tensor
    gradient: Tensor
    norm: Tensor
    smallest: Tensor
    forcing: Tensor
    memory: Any
    failed: Tensor


@dataclass(frozen=True)
class NewtonCG(LowerSolver):
    """x <- x + t d with H d = -grad h(x), where H is ``energy.newton_model(x, y, memory)``: the Hessian unless the energy
    knows a better linearization (smoothed TV: the primal-dual one of Chan, Golub and Mulet, SIAM J. Sci. Comput. 20, 1999).

    1. Solve H d = -g: directly where H offers it, else by preconditioned conjugate gradients to a residual of
       eta |g|, with eta = 0.9 (|g| / previous |g|)^2 kept within the limits below (Eisenstat and Walker, choice 2).
    2. Accept t = 1 if the gradient norm falls to 0.9 times the smallest seen.
    3. Otherwise backtrack until h decreases by the Armijo rule; where the predicted decrease is lost in the rounding of
       h, until the gradient norm decreases. A sample for which neither happens is stalled.

    Rule 2 needs no value of h and can apply only finitely often before convergence, so it does not endanger the
    monotone decrease that rule 3 gives. Directions that are not downhill (indefinite H) are replaced by -g.

    Args:
        largest_forcing: largest eta; early systems need not be solved better.
        smallest_forcing: smallest eta; the linear rate in the end.
        inner_steps: limit on conjugate-gradient steps per system.
        armijo: fraction of the linear decrease that is asked for, in (0, 1/2).
        check_every: steps between two looks at the gradient norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is out of range.
    """

    largest_forcing: float = 0.3
    smallest_forcing: float = 1e-2
    inner_steps: int = 500
    armijo: float = 1e-4
    check_every: int = 1
    max_steps: int = 300

    def __post_init__(self) -> None:
        check_positive(self, smallest_forcing=self.smallest_forcing, armijo=self.armijo, inner_steps=self.inner_steps)
        if not self.smallest_forcing <= self.largest_forcing < 1 or self.armijo >= 0.5:
            raise ValueError(
                f"NewtonCG: found forcing [{self.smallest_forcing}, {self.largest_forcing}] and armijo {self.armijo}, "
                "expected 0 < smallest_forcing <= largest_forcing < 1 and armijo < 0.5"
            )

    def init(self, problem: LowerProblem, x0: Tensor) -> NewtonState:
        """One gradient at x0."""
        gradient = problem.grad(x0)
        norm = _batch.norm(gradient)
        forcing = torch.full_like(norm, self.largest_forcing)
        failed = torch.zeros_like(norm, dtype=torch.bool)
        return NewtonState(x0, gradient, norm, norm, forcing, None, failed)

    def step(self, problem: LowerProblem, state: NewtonState) -> NewtonState:
        """One linear system and one gradient; values of h only where rule 2 fails."""
        hessian, advance = problem.energy.newton_model(state.x, problem.y, state.memory)
        direction = self._solve(problem, hessian, state)
        x = state.x + direction
        gradient = problem.grad(x)
        norm = _batch.norm(gradient)
        failed = torch.zeros_like(state.failed)
        doubtful = (~(norm <= 0.9 * state.smallest)).nonzero().squeeze(1)
        if doubtful.numel():
            points = (state.x, direction, state.gradient, state.norm, x, gradient, norm)
            found = self._line_search(problem.select(doubtful), *_batch.select(points, doubtful))
            x, direction, gradient, norm, failed = (
                whole.index_copy(0, doubtful, part)
                for whole, part in zip((x, direction, gradient, norm, failed), found, strict=True)
            )
        ratio = 0.9 * (norm / state.norm).square()
        forcing = ratio.clamp(self.smallest_forcing, self.largest_forcing)
        return NewtonState(x, gradient, norm, torch.minimum(norm, state.smallest), forcing, advance(direction), failed)

    def stalled(self, state: NewtonState) -> Tensor:
        """Samples whose last line search failed."""
        return state.failed

    def _solve(self, problem: LowerProblem, hessian: Hessian, state: NewtonState) -> Tensor:
        solve = hessian.direct()
        if solve is not None:
            problem.cost.direct_solves += _batch.size(state.x)
            return -solve(state.gradient)
        scale = torch.where(state.norm > 0, state.norm, 1.0)
        rhs = -state.gradient / _batch.expand(scale, state.x)
        correction = ConjugateGradient().correct(hessian, rhs, state.forcing, self.inner_steps)
        problem.cost.add(correction.cost)
        return _batch.expand(scale, state.x) * correction.x

    def _line_search(
        self,
        problem: LowerProblem,
        start: Tensor,
        direction: Tensor,
        old_gradient: Tensor,
        old_norm: Tensor,
        x: Tensor,
        gradient: Tensor,
        norm: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Rule 3 for a few samples: accepted points, directions, gradients, their norms, and which samples found none."""
        slope = _batch.dot(old_gradient, direction)
        downhill = slope < 0
        direction = _batch.where(downhill, direction, -old_gradient)
        slope = torch.where(downhill, slope, -old_norm.square())
        value, trial = problem.value(start), torch.where(downhill, problem.value(x), torch.inf)
        noise = _NOISE * torch.finfo(value.dtype).eps * value.abs()
        drowned = downhill & (-slope <= noise)
        by_norm, moved = bool(drowned.any()), False
        length = torch.ones_like(slope)
        accepted = torch.where(drowned, norm < old_norm, trial <= value + self.armijo * slope)
        for _ in range(_MAX_BACKTRACKS):
            if bool(accepted.all()):
                break
            predicted = length * slope
            fraction = (-0.5 * predicted / (trial - value - predicted)).nan_to_num(0.1).clamp(0.1, 0.5)
            length = torch.where(accepted, length, fraction * length)
            x = torch.addcmul(start, _batch.expand(length, start), direction)
            trial = problem.value(x)
            if by_norm:
                gradient = problem.grad(x)
                norm = _batch.norm(gradient)
            decreased = trial <= value + self.armijo * length * slope
            accepted = torch.where(drowned, norm < old_norm, decreased) | accepted
            moved = True
        if moved and not by_norm:
            gradient = problem.grad(x)
            norm = _batch.norm(gradient)
        failed = ~accepted
        return (
            _batch.where(failed, start, x),
            direction,
            _batch.where(failed, old_gradient, gradient),
            torch.where(failed, old_norm, norm),
            failed,
        )
