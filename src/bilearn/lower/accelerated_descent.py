"""Accelerated gradients for energies that need not be convex: local curvature, restarts, a nonmonotone safeguard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.solver import LowerSolver, check_positive
from bilearn.problem import LowerProblem

_MAX_REJECTIONS = 40


@dataclass(frozen=True)
class AcceleratedState:
    """Point, gradient and value; what the next momentum needs; scalars of each sample.

    Attributes:
        x, gradient, value: the last accepted point.
        main: x before its momentum was added.
        t: Nesterov's sequence.
        curvature: estimate of the Lipschitz constant of the gradient along the path.
        reference, weight: the average of past values that a new one is compared with, and its weight.
        plain: samples whose next trial is a gradient step without momentum.
        rejections: trials refused in a row.
    """

    x: Tensor
    gradient: Tensor
    value: Tensor
    main: Tensor
    t: Tensor
    curvature: Tensor
    reference: Tensor
    weight: Tensor
    plain: Tensor
    rejections: Tensor


@dataclass(frozen=True)
class AcceleratedDescent(LowerSolver):
    """Nesterov's method with the curvature met on the way, for smooth energies, convex or not; needs no constants.

    In the spirit of Li and Lin, "Accelerated proximal gradient methods for nonconvex programming", NeurIPS 2015 (nmAPG), with
    the nonmonotone reference of Zhang and Hager, SIAM J. Optim. 14, 2004. One step is one trial, one value and one gradient:

    1. z = x - grad h(x)/L;  trial = z + (t - 1)/t' (z - z_old), t' = (1 + sqrt(1 + 4 t^2))/2; without momentum where the
       last trial was refused.
    2. Accept if h(trial) <= c - d/(2 L) |grad h(x)|^2, c an average of past values with weights ``memory``^k; where such a
       decrease is lost in the rounding of h, if the gradient norm has not grown.
    3. Accepted: L <- max(``relax`` L, |grad h(trial) - grad h(x)|/|trial - x|); restart, t = 1, if
       <grad h(x), trial - x> > 0, where momentum leads uphill.
       Refused: t = 1, no momentum; if there was none already, L <- 2 L.

    It differs from nmAPG in that it never evaluates the gradient at a second point: the safeguard is the gradient step from
    the last accepted point, where the gradient is known.

    If h is bounded below and its gradient Lipschitz, a step without momentum is accepted as soon as L is at least the
    Lipschitz constant; every accepted step lowers c by a multiple of |grad h|^2/L, so that grad h(x_k) tends to 0: every limit
    is a stationary point. Which one, and how far away, no such method knows; where mu is declared, the distance is certified.

    Args:
        memory: weight of the past in c, in [0, 1); 0 makes h decrease in every step.
        decrease: d, fraction of the decrease of a safe gradient step that is asked for, in (0, 1).
        relax: factor of L after an accepted step, in (0, 1].
        check_every: steps between two looks at the gradient norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is out of range.
    """

    memory: float = 0.8
    decrease: float = 0.1
    relax: float = 0.95
    check_every: int = 5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        check_positive(self, decrease=self.decrease, relax=self.relax, check_every=self.check_every)
        if not 0 <= self.memory < 1 or self.decrease >= 1 or self.relax > 1:
            raise ValueError(
                f"AcceleratedDescent: found memory {self.memory}, decrease {self.decrease}, relax {self.relax}, expected "
                "0 <= memory < 1, decrease < 1 and relax <= 1"
            )

    def init(self, problem: LowerProblem, x0: Tensor) -> AcceleratedState:
        """Value and gradient at x0, and a second gradient a little downhill, for the curvature there."""
        value, gradient = problem.value_and_grad(x0)
        norm = _batch.norm(gradient)
        size = 1e-3 * _batch.norm(x0).clamp(min=1e-3) / torch.where(norm > 0, norm, 1.0)
        step = _batch.expand(size, x0) * gradient
        change = _batch.norm(problem.grad(x0 - step) - gradient)
        moved = _batch.norm(step)
        curvature = torch.where((moved > 0) & (change > 0), change / moved, 1.0)
        ones, no = torch.ones_like(norm), torch.zeros_like(norm, dtype=torch.bool)
        count = torch.zeros_like(norm, dtype=torch.int64)
        return AcceleratedState(x0, gradient, value, x0, ones, curvature, value, ones, no, count)

    def step(self, problem: LowerProblem, state: AcceleratedState) -> AcceleratedState:
        """One trial."""
        inverse = _batch.expand(1 / state.curvature, state.x)
        main = torch.addcmul(state.x, inverse, state.gradient, value=-1)
        ahead = (1 + torch.sqrt(1 + 4 * state.t.square())) / 2
        factor = torch.where(state.plain, 0.0, (state.t - 1) / ahead)
        trial = torch.addcmul(main, _batch.expand(factor, main), main - state.main)
        value, gradient = problem.value_and_grad(trial)
        move, norm = trial - state.x, _batch.norm(state.gradient)
        asked = self.decrease / 2 * norm.square() / state.curvature
        noise = 10 * torch.finfo(value.dtype).eps * state.value.abs()
        grown = _batch.norm(gradient) > norm
        level = (asked <= noise) & (value <= state.reference + noise) & ~grown
        accept = (value <= state.reference - asked) | level

        length = _batch.norm(move)
        met = _batch.norm(gradient - state.gradient) / torch.where(length > 0, length, 1.0)
        followed = torch.maximum(self.relax * state.curvature, torch.where(length > 0, met, 0.0))
        raised = torch.where(state.plain | (factor == 0), 2 * state.curvature, state.curvature)
        uphill = _batch.dot(state.gradient, move) > 0
        weight = self.memory * state.weight + 1
        reference = (self.memory * state.weight * state.reference + value) / weight
        return AcceleratedState(
            x=_batch.where(accept, trial, state.x),
            gradient=_batch.where(accept, gradient, state.gradient),
            value=torch.where(accept, value, state.value),
            main=_batch.where(accept, main, state.main),
            t=torch.where(accept & ~uphill, ahead, 1.0),
            curvature=torch.where(accept, followed, raised),
            reference=torch.where(accept, reference, state.reference),
            weight=torch.where(accept, weight, state.weight),
            plain=~accept,
            rejections=torch.where(accept, 0, state.rejections + 1),
        )

    def stalled(self, state: AcceleratedState) -> Tensor:
        """Samples whose last 40 trials were refused."""
        return state.rejections >= _MAX_REJECTIONS
