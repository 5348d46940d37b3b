"""Anderson acceleration: fixed points and gradient fields, from residuals only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.lower.solver import LowerSolver, check_positive, require_smoothness
from bilearn.problem import LowerProblem


@dataclass(frozen=True)
class AndersonState:
    """Point and residual there; step (B,); the last moves and changes of the residual (B, M, n), newest first."""

    x: Tensor
    gradient: Tensor
    length: Tensor
    moves: Tensor
    changes: Tensor


@dataclass(frozen=True)
class Anderson(LowerSolver):
    """Anderson acceleration (type II) of x <- x - s F(x), F = grad h, or x - T(x) for a fixed-point map.

    1. g = argmin |F(x) - sum_j g_j c_j| over the last M changes c_j of F, with moves d_j of x (normalized columns, with a
       ridge at the rounding level).
    2. x+ = x - s F(x) - sum_j g_j (d_j - s c_j).
    3. If |F(x+)| exceeds |F(x)|, stay at x and forget the history, so that the next step is the plain one.

    Conditions: if the plain step contracts the residual (s = 1 for a contraction T; s = 2 / (L + mu) for a symmetric
    positive definite constant F'), the residual falls at least as fast as every second plain step. On linear F it is
    essentially GMRES(M). One residual per step.

    Args:
        memory: M.
        step_size: s; 2 / (L + mu) if None, which is 1 for a contraction of known factor.
        check_every: steps between two looks at the norm.
        max_steps: step limit.

    Raises:
        ValueError: if a number is not positive; from :meth:`check`, if no L is declared and ``step_size`` is None.

    References:
        Anderson, "Iterative procedures for nonlinear integral equations", J. ACM 1965.
        Walker, Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 2011.
    """

    memory: int = 6
    step_size: float | None = None
    check_every: int = 2
    max_steps: int = 5_000

    def __post_init__(self) -> None:
        check_positive(self, memory=self.memory, check_every=self.check_every, step_size=self.step_size or 1.0)

    def check(self, problem: LowerProblem) -> None:
        """L must be known, or a step size given."""
        if self.step_size is None and problem.energy.has_potential:
            require_smoothness(self, problem)

    def init(self, problem: LowerProblem, x0: Tensor) -> AndersonState:
        """One residual at x0."""
        length = step_length(self.step_size, problem, x0)
        gradient = problem.grad(x0)
        history = rows(x0).new_zeros(_batch.size(x0), self.memory, rows(x0).shape[1])
        return AndersonState(x0, gradient, length, history, history)

    def step(self, problem: LowerProblem, state: AndersonState) -> AndersonState:
        """One accelerated step and one residual."""
        f, s = rows(state.gradient), state.length[:, None]
        weights = _least_squares(state.changes, f)
        combined = state.moves - s[..., None] * state.changes
        move = -s * f - (weights[:, None, :] @ combined).squeeze(1)
        x = state.x + unrows(move, state.x)
        gradient = problem.grad(x)
        change = rows(gradient) - f
        fresh = torch.linalg.vector_norm(state.changes[:, 0], dim=1) == 0
        keep = fresh | (_batch.norm(gradient) <= _batch.norm(state.gradient))
        return AndersonState(
            _batch.where(keep, x, state.x),
            _batch.where(keep, gradient, state.gradient),
            state.length,
            pushed(state.moves, move, keep),
            pushed(state.changes, change, keep),
        )


def step_length(given: float | None, problem: LowerProblem, like: Tensor) -> Tensor:
    """(B,) the given step, or 2 / (L + mu), or 1 for a fixed-point map of unknown factor."""
    mu, smoothness = problem.mu(like), problem.smoothness(like)
    if given is not None:
        return torch.full_like(mu, given)
    return torch.where(torch.isfinite(smoothness), 2 / (smoothness + mu), 1.0)


def rows(x: Tensor) -> Tensor:
    """(B, n) the entries of each sample as real numbers."""
    return (torch.view_as_real(x) if x.is_complex() else x).reshape(_batch.size(x), -1)


def unrows(flat: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`rows`."""
    if like.is_complex():
        return torch.view_as_complex(flat.reshape(*like.shape, 2))
    return flat.reshape(like.shape)


def pushed(history: Tensor, newest: Tensor, keep: Tensor) -> Tensor:
    """History (B, M, n) with ``newest`` (B, n) in front; empty for samples that do not ``keep`` theirs."""
    longer = torch.cat((newest[:, None], history[:, :-1]), 1)
    return torch.where(keep[:, None, None], longer, 0.0)


def _least_squares(columns: Tensor, f: Tensor) -> Tensor:
    """(B, M) minimizers of |f - sum_j g_j c_j| with a ridge at the rounding level; zero for empty columns."""
    size = torch.linalg.vector_norm(columns, dim=2)
    inverse = torch.where(size > 0, 1 / size, 0.0)
    unit = columns * inverse[..., None]
    gram = unit @ unit.transpose(1, 2)
    ridge = 10 * columns.shape[1] * torch.finfo(f.dtype).eps
    diagonal = torch.where(size > 0, ridge, 1.0)
    weights, _ = torch.linalg.solve_ex(gram + torch.diag_embed(diagonal), (unit @ f[..., None]).squeeze(2))
    return weights * inverse
