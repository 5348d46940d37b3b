"""The lower-level loop: stops per sample, certifies the returned points, counts work, survives NaN."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.energy import Energy
from bilearn.lower.default import default_solver
from bilearn.lower.solver import LowerSolver
from bilearn.problem import LowerProblem
from bilearn.solution import Cost, Solution, Tolerance
from bilearn.status import Status

# entries of one chunk of samples on the CPU: a few tensors of this size stay in the cache of one core
_CHUNK_ENTRIES = 2**18
# looks between two evaluations of the rounding bound, which moves slowly, away from the tolerance
_ROUNDING_EVERY = 8
# steps without a gradient norm 1 % below the smallest one so far, after which a first-order method has stalled
_PATIENCE = 20_000
_PATIENCE_AT_FLOOR = 500
# without progress, gradients of this many rounding bounds are what the rounding of the iteration leaves
_FLOOR_ROUNDINGS = 100


def minimize(
    energy: Energy,
    y: Tensor,
    solver: LowerSolver | None = None,
    x0: Tensor | None = None,
    tolerance: Tolerance | None = None,
    max_steps: int | None = None,
    throw: bool = True,
    curvature: Curvature | None = None,
) -> Solution:
    """Minimize h(x; theta, y) over x for every sample, each to its own certificate.

    1. Start from ``x0`` (or ``energy.start(y)``).
    2. Take steps; every few of them compare |grad h| + rounding with the tolerance, sample by sample.
    3. Record a sample when it meets the tolerance, when its gradient is nothing but rounding (floor), when it stalls or
       turns non-finite, and drop it from the batch, so that its answer does not depend on its neighbors and it costs no
       further work.
    4. Return x with the gradient norm and error bound evaluated at that x.

    On the CPU, large samples are solved a few at a time, so that their tensors stay in the cache.

    Args:
        energy: the energy at its current theta.
        y: (B, ...) data, floating point or complex.
        solver: the method; ``default_solver(energy, y)`` if None.
        x0: (B, ...) start; not changed.
        tolerance: requested accuracy; None asks for a distance of 1e-3 * sqrt(pixels) where strong convexity is known
            and for the same number as a gradient norm elsewhere.
        max_steps: step limit; the solver's own if None.
        throw: raise :class:`SolveError` if a sample does not converge; False returns the solution with its status.
        curvature: ``energy.curvature(y)`` where the caller has it already.

    Returns:
        Solution with per-sample fields. A sample without strong convexity constant for which a distance was asked has
        status NOT_CERTIFIABLE; the number was taken as a gradient norm there.

    Raises:
        SolveError: a sample did not converge and ``throw`` is set; the error carries the solution.
        ValueError: shapes or dtypes do not fit, data or start are not finite, or the solver cannot run on this energy.
    """
    with torch.no_grad():
        _check_numbers("y", y)
        start = energy.start(y) if x0 is None else x0.detach()
        _check_numbers("x0", start)
        if start.shape[0] != y.shape[0]:
            raise ValueError(
                f"x0: found {start.shape[0]} samples for data y with {y.shape[0]}, expected the same number of samples"
            )
        curvature = energy.curvature(y) if curvature is None else curvature
        problem = LowerProblem(energy, y.detach(), curvature, Cost())
        method = default_solver(energy, y, curvature) if solver is None else solver
        method.check(problem)
        limit = method.max_steps if max_steps is None else max_steps
        if limit < 0:
            raise ValueError(f"max_steps: found {limit}, expected a number that is not negative")
        mu = problem.mu(start)
        if tolerance is None:
            size = 1e-3 * _batch.samples(start) ** 0.5 if start.numel() else 1.0
            tolerance = Tolerance(distance=size) if bool((mu > 0).all()) else Tolerance(gradient=size)
        plan = method.prepare(problem, start, tolerance, limit)
        parts = [_loop(plan.method, part, first, tolerance, plan.max_steps) for part, first in _chunks(problem, plan.x)]
        solution = parts[0] if len(parts) == 1 else _joined(parts)
        if plan.steps is not None:
            solution = replace(solution, steps=solution.steps + plan.steps)
    return solution.raise_for_status() if throw else solution


def _check_numbers(name: str, value: Tensor) -> None:
    if value.ndim == 0 or not (value.is_floating_point() or value.is_complex()):
        raise ValueError(
            f"{name}: found shape {tuple(value.shape)} of {value.dtype}, expected floating point numbers whose first "
            "axis counts samples; use value[None].to(torch.float64)"
        )
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: found NaN or infinity, expected finite numbers; clean the data first")


def _chunks(problem: LowerProblem, start: Tensor) -> list[tuple[LowerProblem, Tensor]]:
    batch = start.shape[0]
    size = max(1, _CHUNK_ENTRIES // max(1, _batch.samples(start))) if start.device.type == "cpu" else batch
    if batch <= size:
        return [(problem, start)]
    rows = torch.arange(batch).split(-(-batch // -(-batch // size)))
    return [(problem.select(index), start[index]) for index in rows]


def _joined(parts: list[Solution]) -> Solution:
    columns = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("x", "gradient_norm", "rounding", "error", "status", "steps")
    }
    return replace(parts[0], **columns)


def _loop(method: LowerSolver, full: LowerProblem, start: Tensor, tolerance: Tolerance, max_steps: int) -> Solution:
    mu = full.mu(start)
    wanted = tolerance.gradient_norm(mu)
    if tolerance.distance is not None:
        wanted = torch.where(mu > 0, wanted, tolerance.distance)
    answers = _Answers(start, full.energy.rounding(start, full.y), mu)
    state = method.init(full, start) if _batch.size(start) else None
    problem, goal, allowance = full, wanted, answers.rounding
    open_ = torch.ones_like(mu, dtype=torch.bool)
    earlier: tuple[Tensor, Tensor, Tensor] | None = None
    lowest, idle = torch.full_like(mu, torch.inf), torch.zeros_like(mu)
    taken = looks = 0
    while state is not None:
        norm = _batch.norm(state.gradient)
        stalled = method.stalled(state)
        if stalled is None:
            idle = torch.where(norm < 0.99 * lowest, 0.0, idle + method.check_every)
            lowest = torch.minimum(norm, lowest)
            stalled = (idle >= _PATIENCE) | ((idle >= _PATIENCE_AT_FLOOR) & (norm <= _FLOOR_ROUNDINGS * allowance))
        # negated, so that NaN needs attention too
        near = ~(norm > torch.maximum(goal, 4 * allowance))
        attention = open_ & (near | stalled)
        regular = looks % _ROUNDING_EVERY == 0 or taken >= max_steps
        if regular or bool(attention.any()):
            fresh = allowance if looks == 0 else full.energy.rounding(state.x, problem.y)
            allowance = fresh if regular else torch.where(attention, fresh, allowance)
            code = _codes(norm, fresh, goal, stalled)
            ended = open_ if taken >= max_steps else open_ & (code != Status.MAX_STEPS)
            broken = ended & (code == Status.NON_FINITE)
            answers.store(ended & ~broken, state.x, norm, fresh, code, taken)
            if earlier is not None:
                answers.store(broken, *earlier, code, taken)
            else:
                answers.store(broken, start, torch.full_like(norm, torch.inf), allowance, code, taken)
            open_ = open_ & ~ended
            remaining, spoiled = torch.stack((open_.sum(), broken.sum())).tolist()
            if remaining == 0:
                break
            if spoiled or remaining <= 0.75 * open_.numel():
                index = open_.nonzero().squeeze(1)
                problem = problem.select(index)
                state, goal, allowance, norm, open_ = _batch.select((state, goal, allowance, norm, open_), index)
                lowest, idle = _batch.select((lowest, idle), index)
                answers.narrow(index)
        earlier = (state.x, norm, allowance)
        for _ in range(min(method.check_every, max_steps - taken)):
            state = method.step(problem, state)
            taken += 1
        looks += 1
    return answers.solution(tolerance, full, method.name)


def _codes(norm: Tensor, rounding: Tensor, goal: Tensor, stalled: Tensor) -> Tensor:
    """Status codes (B,) of gradient norms; MAX_STEPS where a sample may go on.

    A gradient norm of at most its rounding bound says nothing more: from there on the certificate can improve by less
    than a factor of two, whatever the method does.
    """
    code = torch.full(norm.shape, int(Status.MAX_STEPS), dtype=torch.int64, device=norm.device)
    code = torch.where(stalled, int(Status.STALLED), code)
    code = torch.where((norm <= rounding) | (stalled & (norm <= _FLOOR_ROUNDINGS * rounding)), int(Status.FLOOR), code)
    code = torch.where(norm + rounding <= goal, int(Status.CONVERGED), code)
    return torch.where(norm < torch.inf, code, int(Status.NON_FINITE))


class _Answers:
    """What is returned, filled in as samples end."""

    def __init__(self, start: Tensor, rounding: Tensor, mu: Tensor) -> None:
        self.x = start.clone()
        self.mu, self.rounding = mu, rounding.clone()
        self.norm = torch.full_like(mu, torch.inf)
        self.status = torch.full(mu.shape, int(Status.MAX_STEPS), dtype=torch.int64, device=mu.device)
        self.steps = torch.zeros_like(self.status)
        self._rows = torch.arange(mu.shape[0], device=mu.device)

    def store(self, mask: Tensor, x: Tensor, norm: Tensor, rounding: Tensor, code: Tensor, taken: int) -> None:
        """Record the samples ``mask`` of those still in the batch."""
        chosen = mask.nonzero().squeeze(1)
        if chosen.numel() == 0:
            return
        rows = self._rows[chosen]
        self.x[rows], self.norm[rows], self.rounding[rows] = x[chosen], norm[chosen], rounding[chosen]
        self.status[rows], self.steps[rows] = code[chosen], taken

    def narrow(self, index: Tensor) -> None:
        """Keep only the samples ``index`` of those still in the batch."""
        self._rows = self._rows[index]

    def solution(self, tolerance: Tolerance, problem: LowerProblem, method: str) -> Solution:
        """The frozen result."""
        certain = self.mu > 0
        status = self.status
        if tolerance.distance is not None:
            met = status == Status.CONVERGED
            status = torch.where(met & ~certain, int(Status.NOT_CERTIFIABLE), status)
        error = torch.where(certain, (self.norm + self.rounding) / self.mu, torch.inf)
        declared = problem.curvature.strong_convexity.declared and bool(certain.all())
        return Solution(self.x, self.norm, self.rounding, error, declared, status, self.steps, problem.cost, method)
