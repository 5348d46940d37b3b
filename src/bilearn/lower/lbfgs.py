"""Limited-memory BFGS, one independent run per sample; needs no constants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.solver import LowerSolver, check_positive
from bilearn.problem import LowerProblem

_MAX_REJECTIONS = 30


@dataclass(frozen=True)
class LBFGSState:
    """Point, gradient and value; the direction and step length to try next; pairs (s, y, 1/s'y), oldest first."""

    x: Tensor
    gradient: Tensor
    value: Tensor
    direction: Tensor
    slope: Tensor
    length: Tensor
    scale: Tensor
    rejections: Tensor
    pairs: tuple[tuple[Tensor, Tensor, Tensor], ...]


@dataclass(frozen=True)
class LBFGS(LowerSolver):
    """Limited-memory BFGS with a backtracking line search per sample.

    Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5. One step is one trial point:

    1. Evaluate h and its gradient at x + t d.
    2. Accept if h decreases by the Armijo rule; or, where h cannot resolve the decrease any more, if the directional
       derivative has not grown (approximate Wolfe rule of Hager and Zhang, 2005).
    3. Accepted: store the pair (s, y) if s'y > 0, compute d = -H grad h by the two-loop recursion, t = 1.
       Rejected: shrink t by quadratic interpolation, between a tenth and a half.

    It differs from the textbook in that samples of one batch accept and reject independently, without a nested loop.
    A sample is stalled after 30 rejections in a row.

    Args:
        memory: number of pairs.
        armijo: fraction of the linear decrease that is asked for, in (0, 1/2).
        check_every: steps between two looks at the gradient norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is out of range.
    """

    memory: int = 10
    armijo: float = 1e-4
    check_every: int = 5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        check_positive(self, memory=self.memory, armijo=self.armijo, check_every=self.check_every)
        if self.armijo >= 0.5:
            raise ValueError(f"LBFGS: armijo: found {self.armijo}, expected a number in (0, 0.5)")

    def init(self, problem: LowerProblem, x0: Tensor) -> LBFGSState:
        """Value and gradient at x0; the first step has length 1/L, or moves by |x| = 1 where L is unknown."""
        value, gradient = problem.value_and_grad(x0)
        norm = _batch.norm(gradient)
        smoothness = problem.smoothness(x0)
        scale = torch.where(torch.isfinite(smoothness), 1 / smoothness, 1 / torch.where(norm > 0, norm, 1.0))
        return LBFGSState(
            x=x0,
            gradient=gradient,
            value=value,
            direction=-gradient,
            slope=-norm.square(),
            length=scale,
            scale=scale,
            rejections=torch.zeros_like(norm, dtype=torch.int64),
            pairs=(),
        )

    def step(self, problem: LowerProblem, state: LBFGSState) -> LBFGSState:
        """One value and one gradient."""
        s = _batch.expand(state.length, state.x) * state.direction
        trial = state.x + s
        value, gradient = problem.value_and_grad(trial)
        slope = _batch.dot(gradient, state.direction)
        predicted = state.length * state.slope
        noise = torch.finfo(value.dtype).eps ** (2 / 3) * state.value.abs()
        decreased = value <= state.value + self.armijo * predicted
        level = (value <= state.value + noise) & (slope <= (2 * self.armijo - 1) * state.slope)
        accept = decreased | level

        y = gradient - state.gradient
        sy = _batch.dot(s, y)
        useful = accept & (sy > 0) & torch.isfinite(sy)
        scale = torch.where(useful, sy / _batch.dot(y, y), state.scale)
        # zeroed, so that a non-finite trial leaves no trace
        pair = (s, _batch.where(useful, y, torch.zeros_like(y)), torch.where(useful, 1 / sy, 0.0))
        pairs = (*state.pairs, pair)[-self.memory :]

        new_gradient = _batch.where(accept, gradient, state.gradient)
        direction = _two_loops(new_gradient, pairs, scale)
        new_slope = _batch.dot(new_gradient, direction)
        downhill = new_slope < 0
        steepest = -_batch.expand(scale, new_gradient) * new_gradient
        direction = _batch.where(downhill, direction, steepest)
        new_slope = torch.where(downhill, new_slope, -scale * _batch.dot(new_gradient, new_gradient))
        # minimizer of the parabola through h(x), its slope and the trial value
        fraction = (-0.5 * predicted / (value - state.value - predicted)).nan_to_num(0.1).clamp(0.1, 0.5)
        return LBFGSState(
            x=_batch.where(accept, trial, state.x),
            gradient=new_gradient,
            value=torch.where(accept, value, state.value),
            direction=_batch.where(accept, direction, state.direction),
            slope=torch.where(accept, new_slope, state.slope),
            length=torch.where(accept, 1.0, fraction * state.length),
            scale=scale,
            rejections=torch.where(accept, 0, state.rejections + 1),
            pairs=pairs,
        )

    def stalled(self, state: LBFGSState) -> Tensor:
        """Samples whose last 30 trial points were rejected."""
        return state.rejections >= _MAX_REJECTIONS


def _two_loops(gradient: Tensor, pairs: tuple[tuple[Tensor, Tensor, Tensor], ...], scale: Tensor) -> Tensor:
    """-H gradient, with scale * I as the initial matrix; pairs with 1/s'y = 0 have no effect."""
    q = gradient
    weights: list[Tensor] = []
    for s, y, inverse in reversed(pairs):
        weight = inverse * _batch.dot(s, q)
        q = torch.addcmul(q, _batch.expand(weight, q), y, value=-1)
        weights.append(weight)
    r = _batch.expand(scale, q) * q
    for (s, y, inverse), weight in zip(pairs, reversed(weights), strict=True):
        r = torch.addcmul(r, _batch.expand(weight - inverse * _batch.dot(y, r), r), s)
    return -r
