"""Linear systems H q = g with the Hessian of an energy: adjoint and tangent systems, and Newton directions.

The residual of H q = g is the gradient of q'Hq/2 - g'q, so the result is the same :class:`Solution` as of a lower-level
solve. Scalars per system have shape (B,), or (K, B) for K right-hand sides per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

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


_SINGLE = 1e-4
"""Smallest relative residual that single precision is asked for."""


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


@dataclass(frozen=True)
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
    is frozen on the spot, samples whose systems are all finished leave the batch, and the vectors live in reused memory.

    1. r = given, z = M r, p = z.
    2. a = r'z / p'Hp;  e += a p;  r -= a Hp;  stop where |r| <= target; stop where p'Hp <= 0 (indefinite).
    3. z = M r;  p = z + (new r'z / old r'z) p;  go to 2.

    Where the Hessian offers a basis in which this is cheaper (``hessian.rotated``), it runs there, in single precision down
    to a residual of 1e-4. Residuals and norms that are reported are always computed again in the image, in its precision
    (:func:`solve_linear`). A system that turns out indefinite there is tried once more in the image.

    Args:
        preconditioned: use ``hessian.preconditioner()`` where it exists.
        check_every: steps between two looks at the residuals (a look synchronizes with the device).
        single: use single precision inside where the Hessian offers it.
    """

    preconditioned: bool = True
    check_every: int = 4
    single: bool = True

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        rotated = hessian.rotated(self.single) if self.preconditioned else None
        if rotated is None:
            return self._iterate(hessian, residual, target, max_steps)
        start, bound = rotated.enter(residual), target.clamp(min=_SINGLE if rotated.single else 0.0)
        found = self._iterate(rotated.hessian, start, bound.to(start.dtype), max_steps)
        if bool(found.indefinite.any()):
            again = self._iterate(hessian, residual, target, max_steps)
            again.cost.add(found.cost)
            return again
        return replace(found, x=rotated.leave(found.x))

    def _iterate(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        lead = target.ndim
        result, cost = _Result(residual, target), Cost()
        solve = hessian.preconditioner() if self.preconditioned else None
        r, e, bound, work = residual.clone(), torch.zeros_like(residual), target, torch.empty_like(residual)
        z = r if solve is None else solve(r)
        p, rz = z.clone(), _dot(r, z, lead, work)
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
                    r, e, p, work = (t.index_select(lead - 1, rows) for t in (r, e, p, work))
                    rz, open_, bound, indefinite, steps = (
                        t.index_select(-1, rows) for t in (rz, open_, bound, indefinite, steps)
                    )
            hp = hessian(p)
            cost.hessian_products += rz.numel()
            curvature = _dot(p, hp, lead, work)
            go = open_ & (curvature > 0)
            indefinite = indefinite | (open_ & (curvature <= 0))
            length = _batch.expand(torch.where(go, rz / curvature, 0.0), p)
            e.addcmul_(length, p)
            r.addcmul_(length, hp, value=-1)
            steps = steps + go
            open_ = go & (_batch.norm(r, lead) > bound)
            z = r if solve is None else solve(r)
            rz_next = _dot(r, z, lead, work)
            p.mul_(_batch.expand(torch.where(open_, rz_next / rz, 0.0), p)).add_(z)
            rz = torch.where(open_, rz_next, rz)
        result.store(e, steps, indefinite)
        return Correction(result.x, result.steps, result.indefinite, cost)


@dataclass(frozen=True)
class Minres(LinearMethod):
    """Minimal residuals, for symmetric H, definite or not; all systems at once, without preconditioner.

    Paige and Saunders (1975), in the three-term form of Elman, Silvester and Wathen, Finite Elements and Fast Iterative
    Solvers, algorithm 2.4 (Lanczos vectors v, search directions w, Givens rotations c, s). It differs from the textbook
    as :class:`ConjugateGradient` does, and stops where the projected matrix is singular to rounding.

    Args:
        check_every: steps between two looks at the residuals (a look synchronizes with the device).
    """

    check_every: int = 4

    def correct(self, hessian: Hessian, residual: Tensor, target: Tensor, max_steps: int) -> Correction:
        lead, unit = target.ndim, 4 * torch.finfo(target.dtype).eps
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
            v_next = hv - _batch.expand(delta, v) * v - _batch.expand(gamma, v) * v_old
            gamma_next = _batch.norm(v_next, lead)
            a0 = c * delta - c_old * s * gamma
            a1 = torch.hypot(a0, gamma_next)
            a2 = s * delta + c_old * c * gamma
            a3 = s_old * gamma
            go = open_ & (a1 > unit * (delta.abs() + gamma))
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


def default_method(hessian: Hessian) -> LinearMethod:
    """:class:`Direct` where the Hessian offers a direct solve, :class:`ConjugateGradient` elsewhere."""
    return ConjugateGradient() if hessian.direct() is None else Direct()


def solve_linear(
    hessian: Hessian,
    rhs: Tensor,
    mu: Tensor | float | None = None,
    method: LinearMethod | None = None,
    x0: Tensor | None = None,
    tolerance: Tensor | float | None = None,
    max_steps: int = 1000,
    throw: bool = True,
    stacked: bool | None = None,
    certified: bool = False,
) -> Solution:
    """Solve H q = g for every sample, and for every one of K right-hand sides, each to its own residual.

    1. r = g - H q.
    2. Reduce |r| with ``method``, as a correction e of q: H e = r. Everything is relative to |r|, so tiny right-hand
       sides do not underflow.
    3. Recompute r from its definition. A system is finished if |r| + rounding meets its tolerance, if |r| is within its
       rounding error, or if the last correction did not halve |r|. Repeat 2 for the others (iterative refinement).

    Args:
        hessian: the map H, symmetric.
        rhs: g, shape (B, ...), or (K, B, ...).
        mu: strong convexity constant(s), a number or (B,), for the error bound; unknown if None.
        method: the method; direct where the Hessian allows it and conjugate gradients elsewhere if None.
        x0: start, shape of rhs; zero if None.
        tolerance: residual norm asked for, a number or a tensor that broadcasts to (B,) or (K, B); the square root of
            the unit roundoff times |g| if None.
        max_steps: step limit per system.
        throw: raise :class:`SolveError` where a system fails; False returns the solution with its status.
        stacked: whether rhs is (K, B, ...); if None, whether ``tolerance`` has two axes.
        certified: whether ``mu`` is declared.

    Returns:
        Solution whose ``gradient_norm`` is the true residual norm of the returned q, whose ``rounding`` bounds the error
        in computing that residual from |g| and |H q|, and whose other numbers are per system, (B,) or (K, B).

    Raises:
        SolveError: a system did not meet its tolerance and ``throw`` is set.
        ValueError: the method cannot run on this Hessian, or shapes do not fit.
    """
    with torch.no_grad():
        if stacked is None:
            stacked = isinstance(tolerance, Tensor) and tolerance.ndim == 2
        if x0 is not None and x0.shape != rhs.shape:
            raise ValueError(f"x0: found shape {tuple(x0.shape)}, expected that of rhs, {tuple(rhs.shape)}")
        chosen = default_method(hessian) if method is None else method
        solution = _refine(hessian, rhs.detach(), x0, chosen, tolerance, max_steps, 2 if stacked else 1)
        if mu is not None:
            constant = torch.as_tensor(mu, dtype=solution.rounding.dtype, device=rhs.device)
            bound = torch.where(constant > 0, (solution.gradient_norm + solution.rounding) / constant, torch.inf)
            solution = replace(solution, error=bound, certified=certified)
    return solution.raise_for_status() if throw else solution


def _refine(
    hessian: Hessian,
    rhs: Tensor,
    x0: Tensor | None,
    method: LinearMethod,
    tolerance: Tensor | float | None,
    max_steps: int,
    lead: int,
) -> Solution:
    unit = torch.finfo(rhs.dtype).eps
    size = _batch.norm(rhs, lead)
    goal = unit**0.5 * size if tolerance is None else torch.as_tensor(tolerance, dtype=size.dtype, device=size.device)
    goal = goal.expand(size.shape)
    cost, systems = Cost(), size.numel()
    if x0 is None:
        q = torch.zeros_like(rhs)
        r, norm, rounding = rhs, size, torch.zeros_like(size)
    else:
        q = x0.detach().clone()
        cost.hessian_products += systems
        r, norm, rounding = _residual(hessian, q, rhs, size)
    status = torch.where(torch.isfinite(norm), int(Status.MAX_STEPS), int(Status.NON_FINITE))
    status = _met(status, norm, rounding, goal)
    steps = torch.zeros_like(status)
    while True:
        open_ = (status == Status.MAX_STEPS) & (steps < max_steps)
        left = int(torch.where(open_, max_steps - steps, 0).amax()) if systems else 0
        if left == 0:
            break
        scale = torch.where(open_, norm, 1.0)
        # no method gains more than the precision of the dtype in one correction
        target = (0.9 * (goal - rounding) / scale).clamp(min=2 * unit)
        target = torch.where(open_, target, torch.inf)
        fix = method.correct(hessian, r / _batch.expand(scale, r), target, left)
        candidate = torch.addcmul(q, _batch.expand(torch.where(open_, scale, 0.0), q), fix.x)
        cost.add(fix.cost)
        cost.hessian_products += systems
        r_new, norm_new, rounding_new = _residual(hessian, candidate, rhs, size)
        usable = torch.isfinite(norm_new)
        halved, better = norm_new <= 0.5 * norm, open_ & (norm_new < norm)
        q, r = _batch.where(better, candidate, q), _batch.where(better, r_new, r)
        norm, rounding = torch.where(better, norm_new, norm), torch.where(better, rounding_new, rounding)
        steps = torch.where(open_, steps + fix.steps, steps)
        # without progress, a residual of a few hundred roundings is what the conditioning of H leaves in this dtype
        verdict = torch.where(norm <= 500 * rounding_new, int(Status.FLOOR), int(Status.STALLED))
        verdict = torch.where(halved | (steps >= max_steps), int(Status.MAX_STEPS), verdict)
        verdict = torch.where(fix.indefinite, int(Status.INDEFINITE), verdict)
        verdict = torch.where(usable, verdict, int(Status.NON_FINITE))
        status = torch.where(open_, _met(verdict, norm, rounding, goal), status)
    norm = torch.where(torch.isfinite(norm), norm, torch.inf)
    return Solution(q, norm, rounding, torch.full_like(norm, torch.inf), False, status, steps, cost, method.name)


def _residual(hessian: Hessian, q: Tensor, rhs: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """g - H q, its norm, and a bound on the error of that norm."""
    hq = hessian(q)
    r = rhs - hq
    lead = size.ndim
    return r, _batch.norm(r, lead), 4 * torch.finfo(rhs.dtype).eps * (size + _batch.norm(hq, lead))


def _met(status: Tensor, norm: Tensor, rounding: Tensor, goal: Tensor) -> Tensor:
    """Statuses with those systems marked that meet their tolerance, or whose residual is nothing but rounding."""
    floor = torch.where(norm <= rounding, int(Status.FLOOR), status)
    return torch.where(norm + rounding <= goal, int(Status.CONVERGED), floor)


def _dot(a: Tensor, b: Tensor, lead: int, work: Tensor) -> Tensor:
    """``_batch.dot`` with the products in the memory of ``work``."""
    return _batch.dot(a, b, lead) if a.is_complex() else _batch.total(torch.mul(a, b, out=work), lead)


def _false(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.bool)


def _open_rows(open_: Tensor) -> Tensor:
    """Samples with an open system; synchronizes with the device."""
    return (open_.any(0) if open_.ndim == 2 else open_).nonzero().squeeze(1)


class _Result:
    """Collects the answers of samples that leave the batch."""

    def __init__(self, like: Tensor, target: Tensor) -> None:
        self._lead = target.ndim
        self._rows: Tensor | None = None
        self.x = torch.zeros_like(like)
        self.steps = torch.zeros_like(target, dtype=torch.int64)
        self.indefinite = _false(target)

    def store(self, x: Tensor, steps: Tensor, indefinite: Tensor) -> None:
        """Write the present answers of the samples still in the batch."""
        if self._rows is None:
            self.x, self.steps, self.indefinite = x, steps, indefinite
            return
        self.x = self.x.index_copy(self._lead - 1, self._rows, x)
        self.steps = self.steps.index_copy(-1, self._rows, steps)
        self.indefinite = self.indefinite.index_copy(-1, self._rows, indefinite)

    def narrow(self, rows: Tensor) -> None:
        """Keep only the samples ``rows`` of those still in the batch."""
        self._rows = rows if self._rows is None else self._rows[rows]
