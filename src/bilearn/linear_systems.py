"""Linear systems H q = g with the Hessian of an energy: adjoint and tangent systems, and Newton directions.

The residual of H q = g is the gradient of q'Hq/2 - g'q, so the result is the same :class:`Solution` as of a lower-level
solve. Scalars per system have shape (B,), or (K, B) for K right-hand sides per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Hessian
from bilearn.solution import Cost, Solution
from bilearn.status import Status


@dataclass(frozen=True)
class Correction:
    """What a method returns for H e = r.

    Attributes:
        x: the correction e, same shape as r; finite only where the method stayed finite.
        steps: (B,) or (K, B) steps taken.
        indefinite: (B,) or (K, B) whether a direction of non-positive curvature ended the solve.
        cost: work done.
    """

    x: Tensor
    steps: Tensor
    indefinite: Tensor
    cost: Cost


class LinearMethod(ABC):
    """A method for H e = r from e = 0: frozen hyperparameters and one function."""

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        """Reduce |r - H e| per system to ``target``.

        Args:
            hessian: the map H.
            residual: r, shape (B, ...) or (K, B, ...); its scale is near 1.
            target: (B,) or (K, B), the residual norm asked for; its number of axes tells the two shapes apart.
            max_steps: step limit.
        """


class Direct(LinearMethod):
    """``hessian.direct()``: banded, diagonal or Fourier solves; exact up to rounding.

    Raises:
        ValueError: from :meth:`correct`, if the Hessian offers no direct solve.
    """

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        solve = hessian.direct()
        if solve is None:
            raise ValueError(
                f"Direct: {type(hessian).__name__}.direct() returned None, expected a direct solver; "
                "use ConjugateGradient() or Minres() for this energy"
            )
        x = solve(residual)
        return Correction(
            x, torch.ones_like(target, dtype=torch.int64), _false(target), Cost(direct_solves=target.numel())
        )


@dataclass(frozen=True)
class ConjugateGradient(LinearMethod):
    """Preconditioned conjugate gradients, for positive definite H; all systems at once.

    Hestenes and Stiefel (1952), in the preconditioned form of Saad, Iterative Methods for Sparse Linear Systems,
    algorithm 9.1. It differs from the textbook in that every system has its own scalars, a system that has met its target
    is frozen on the spot, and samples whose systems are all finished leave the batch.

    1. r = given, z = M r, p = z.
    2. a = r'z / p'Hp;  e += a p;  r -= a Hp;  stop where |r| <= target; stop where p'Hp <= 0 (indefinite).
    3. z = M r;  p = z + (new r'z / old r'z) p;  go to 2.

    Args:
        preconditioned: use ``hessian.preconditioner()`` where it exists.
        check_every: steps between two looks at the residuals (a look synchronizes with the device).
    """

    preconditioned: bool = True
    check_every: int = 4

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        lead = target.ndim
        result, cost = _Result(residual, target), Cost()
        solve = hessian.preconditioner() if self.preconditioned else None
        r, e, bound = residual, torch.zeros_like(residual), target
        z = r if solve is None else solve(r)
        p, rz = z, _batch.dot(r, z, lead)
        open_ = _batch.norm(r, lead) > bound
        indefinite, steps = _false(bound), torch.zeros_like(bound, dtype=torch.int64)
        for step in range(max_steps):
            if step % self.check_every == 0 or step < 2:
                rows = _open_rows(open_)
                if rows.numel() == 0:
                    break
                if 2 * rows.numel() <= open_.shape[-1]:
                    result.store(e, steps, indefinite)
                    result.narrow(rows)
                    hessian = hessian.select(rows)
                    solve = hessian.preconditioner() if self.preconditioned else None
                    r, e, p = (t.index_select(lead - 1, rows) for t in (r, e, p))
                    rz, open_, bound, indefinite, steps = (
                        t.index_select(-1, rows) for t in (rz, open_, bound, indefinite, steps)
                    )
            hp = hessian(p)
            cost.hessian_products += rz.numel()
            curvature = _batch.dot(p, hp, lead)
            go = open_ & (curvature > 0)
            indefinite = indefinite | (open_ & (curvature <= 0))
            length = _batch.expand(torch.where(go, rz / curvature, 0.0), p)
            e = torch.addcmul(e, length, p)
            r = torch.addcmul(r, length, hp, value=-1)
            steps = steps + go
            open_ = go & (_batch.norm(r, lead) > bound)
            z = r if solve is None else solve(r)
            rz_next = _batch.dot(r, z, lead)
            p = torch.addcmul(z, _batch.expand(torch.where(open_, rz_next / rz, 0.0), p), p)
            rz = torch.where(open_, rz_next, rz)
        result.store(e, steps, indefinite)
        return Correction(result.x, result.steps, result.indefinite, cost)


@dataclass(frozen=True)
class Minres(LinearMethod):
    """Minimal residuals, for symmetric H, definite or not; all systems at once, without preconditioner.

    Paige and Saunders (1975), in the three-term form of Elman, Silvester and Wathen, Finite Elements and Fast Iterative
    Solvers, algorithm 2.4 (Lanczos vectors v, search directions w, Givens rotations c, s). It differs from the textbook
    as :class:`ConjugateGradient` does.

    Args:
        check_every: steps between two looks at the residuals (a look synchronizes with the device).
    """

    check_every: int = 4

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        lead = target.ndim
        result, cost = _Result(residual, target), Cost()
        bound, e = target, torch.zeros_like(residual)
        gamma = _batch.norm(residual, lead)
        eta, open_ = gamma, gamma > bound
        v = residual / _batch.expand(torch.where(gamma > 0, gamma, 1.0), residual)
        v_old, w, w_old = e, e, e
        s = s_old = torch.zeros_like(gamma)
        c = c_old = torch.ones_like(gamma)
        indefinite, steps = _false(bound), torch.zeros_like(bound, dtype=torch.int64)
        for step in range(max_steps):
            if step % self.check_every == 0 or step < 2:
                rows = _open_rows(open_)
                if rows.numel() == 0:
                    break
                if 2 * rows.numel() <= open_.shape[-1]:
                    result.store(e, steps, indefinite)
                    result.narrow(rows)
                    hessian = hessian.select(rows)
                    e, v, v_old, w, w_old = (t.index_select(lead - 1, rows) for t in (e, v, v_old, w, w_old))
                    gamma, eta, open_, bound, s, s_old, c, c_old, indefinite, steps = (
                        t.index_select(-1, rows)
                        for t in (gamma, eta, open_, bound, s, s_old, c, c_old, indefinite, steps)
                    )
            hv = hessian(v)
            cost.hessian_products += gamma.numel()
            delta = _batch.dot(v, hv, lead)
            v_next = (
                hv - _batch.expand(delta, v) * v - _batch.expand(torch.where(v_started(steps), gamma, 0.0), v) * v_old
            )
            gamma_next = _batch.norm(v_next, lead)
            previous = torch.where(v_started(steps), gamma, 0.0)
            a0 = c * delta - c_old * s * previous
            a1 = torch.hypot(a0, gamma_next)
            a2 = s * delta + c_old * c * previous
            a3 = s_old * previous
            go = open_ & (a1 > 0)
            inverse = torch.where(go, 1 / a1, 0.0)
            w_next = (v - _batch.expand(a3, v) * w_old - _batch.expand(a2, v) * w) * _batch.expand(inverse, v)
            c_old, c, s_old, s = c, a0 * inverse, s, gamma_next * inverse
            e = torch.addcmul(e, _batch.expand(torch.where(go, c * eta, 0.0), v), w_next)
            eta = torch.where(go, -s * eta, eta)
            steps = steps + go
            open_ = go & (eta.abs() > bound)
            v_old, w_old, w = v, w, w_next
            v = v_next / _batch.expand(torch.where(gamma_next > 0, gamma_next, 1.0), v)
            gamma = gamma_next
        result.store(e, steps, indefinite)
        return Correction(result.x, result.steps, result.indefinite, cost)
