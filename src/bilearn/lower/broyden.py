"""Broyden's method: fixed points and gradient fields, from residuals only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.anderson import pushed, rows, step_length, unrows
from bilearn.lower.solver import LowerSolver, check_positive, require_smoothness
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class BroydenState:
    """Point and residual there; step (B,); factors of H = s I + sum_i u_i v_i' (B, M, n); number of pairs (B,)."""

    x: Tensor
    gradient: Tensor
    length: Tensor
    left: Tensor
    right: Tensor
    count: Tensor


@dataclass(frozen=True)
class Broyden(LowerSolver):
    """Broyden's good method in limited memory for F(x) = 0, F = grad h, or x - T(x) for a fixed-point map.

    H approximates the inverse of F', starting from s I.

    1. x+ = x - H F(x); d = x+ - x, c = F(x+) - F(x).
    2. If |F(x+)| exceeds |F(x)| and H is not s I, stay at x and put H = s I.
    3. H <- H + (d - H c) (H' d)' / (d' H c); after M such updates H = s I again.

    Conditions: as :class:`Anderson`; locally superlinear while the memory lasts. One residual per step.

    Args:
        memory: M.
        step_size: s; 2 / (L + mu) if None, which is 1 for a contraction of known factor.
        check_every: steps between two looks at the norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is not positive; from :meth:`check`, if no L is declared and ``step_size`` is None.

    Reference: Bai, Kolter, Koltun, "Deep equilibrium models", NeurIPS 2019 (limited memory); Nocedal, Wright, Numerical
    Optimization, chapter 11.
    """

    memory: int = 30
    step_size: float | None = None
    check_every: int = 2
    max_steps: int = 5_000

    def __post_init__(self) -> None:
        check_positive(self, memory=self.memory, check_every=self.check_every, step_size=self.step_size or 1.0)

    def check(self, problem: LowerProblem) -> None:
        """L must be known, or a step size given."""
        if self.step_size is None and problem.energy.has_potential:
            require_smoothness(self, problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> BroydenState:
        """One residual at x0."""
        length = step_length(self.step_size, problem, x0)
        gradient = problem.grad(x0)
        history = rows(x0).new_zeros(_batch.size(x0), self.memory, rows(x0).shape[1])
        return BroydenState(x0, gradient, length, history, history, torch.zeros_like(length))

    def step(self, problem: LowerProblem, state: BroydenState) -> BroydenState:
        """One quasi-Newton step and one residual."""
        f, s = rows(state.gradient), state.length[:, None]
        move = -_apply(state.left, state.right, s, f)
        x = state.x + unrows(move, state.x)
        gradient = problem.grad(x)
        keep = (state.count == 0) | (_batch.norm(gradient) <= _batch.norm(state.gradient))
        hc = _apply(state.left, state.right, s, rows(gradient) - f)
        denominator = (move * hc).sum(1, keepdim=True)
        size = torch.finfo(f.dtype).eps * (move.norm(dim=1) * hc.norm(dim=1))[:, None]
        u = torch.where(denominator.abs() > size, (move - hc) / denominator, 0.0)
        v = _apply(state.right, state.left, s, move)
        remember = keep & (state.count < self.memory)
        return BroydenState(
            _batch.where(keep, x, state.x),
            _batch.where(keep, gradient, state.gradient),
            state.length,
            pushed(state.left, u, remember),
            pushed(state.right, v, remember),
            torch.where(remember, state.count + 1, 0.0),
        )


def _apply(left: Tensor, right: Tensor, scale: Tensor, v: Tensor) -> Tensor:
    """(scale I + sum_i left_i right_i') v, all (B, ...)."""
    inner = (right @ v[..., None]).squeeze(2)
    return scale * v + (inner[:, None, :] @ left).squeeze(1)
