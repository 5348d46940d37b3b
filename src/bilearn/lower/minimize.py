"""The lower-level loop: stops per sample, certifies the returned points, counts work, survives NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.lower.default import default_solver
from bilearn.lower.solver import LowerSolver
from bilearn.problem import LowerProblem
from bilearn.solution import Cost, Solution, Tolerance
from bilearn.status import Status


def minimize(
    energy: Energy,
    y: Tensor,
    solver: LowerSolver | None = None,
    x0: Tensor | None = None,
    tolerance: Tolerance | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """Minimize h(x; theta, y) over x for every sample, each to its own certificate.

    1. Start from ``x0`` (or ``energy.start(y)``).
    2. Take steps; every few of them compare |grad h| + rounding with the tolerance, sample by sample.
    3. Record a sample when it meets the tolerance, reaches its floor, stalls or turns non-finite, and drop it from the
       batch, so that its answer does not depend on its neighbours and it costs no further work.
    4. Return x with the gradient norm and error bound evaluated at that x.

    Args:
        energy: the energy at its current theta.
        y: (B, ...) data.
        solver: the method; ``default_solver(energy, y)`` if None.
        x0: (B, ...) start; not changed.
        tolerance: requested accuracy; None asks for a distance of 1e-3 * sqrt(pixels) where strong convexity is
            declared and for the same number as a gradient norm elsewhere.
        max_steps: step limit; the solver's own if None.
        throw: raise :class:`SolveError` if a sample does not converge; False returns the solution with its status.

    Returns:
        Solution with per-sample fields.

    Raises:
        SolveError: a sample did not converge and ``throw`` is set; the error carries the solution.
        ValueError: shapes do not fit, data or start are not finite, or the solver cannot run on this energy.
    """
    with torch.no_grad():
        start = energy.start(y) if x0 is None else x0.detach().clone()
        _check_input(y, start)
        curvature = energy.curvature(y)
        problem = LowerProblem(energy, y, curvature, Cost())
        method = default_solver(energy, y) if solver is None else solver
        method.check(problem)
        mu = problem.mu(start)
        if tolerance is None:
            size = 1e-3 * _batch.samples(start) ** 0.5
            tolerance = Tolerance(distance=size) if bool((mu > 0).all()) else Tolerance(gradient=size)
        solution = _loop(method, problem, start, tolerance, method.max_steps if max_steps is None else max_steps)
    return solution.raise_for_status() if throw else solution


def _check_input(y: Tensor, start: Tensor) -> None:
    if y.ndim == 0 or start.shape[:1] != y.shape[:1]:
        raise ValueError(
            f"x0: found {tuple(start.shape)} for data y of shape {tuple(y.shape)}, expected the same number of samples"
        )
    for name, value in (("y", y), ("x0", start)):
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name}: found NaN or infinity, expected finite numbers; clean the data first")


def _loop(method: LowerSolver, problem: LowerProblem, start: Tensor, tolerance: Tolerance, max_steps: int) -> Solution:
    full = problem
    batch = _batch.size(start)
    best = start.clone()
    mu = problem.mu(start)
    target = tolerance.gradient_norm(mu)
    norms = torch.full_like(mu, torch.inf)
    status = torch.full((batch,), int(Status.MAX_STEPS), dtype=torch.int64, device=start.device)
    steps = torch.zeros(batch, dtype=torch.int64, device=start.device)
    rounding = full.energy.rounding(start, full.y)

    active = torch.arange(batch, device=start.device)
    open_ = torch.ones(batch, dtype=torch.bool, device=start.device)
    state = method.init(problem, start) if batch else None
    taken = 0
    while batch:
        norm = _batch.norm(state.gradient)
        allowance = full.energy.rounding(state.x, problem.y)
        goal, kept = target[active], norms[active]
        finite = torch.isfinite(norm)
        converged = finite & (norm + allowance <= goal)
        floor = finite & ~converged & (norm <= 2 * allowance)
        stalled = method.stalled(state)
        stuck = torch.zeros_like(converged) if stalled is None else finite & stalled & ~converged & ~floor
        code = torch.where(converged, int(Status.CONVERGED), int(Status.MAX_STEPS))
        code = torch.where(floor, int(Status.FLOOR), code)
        code = torch.where(stuck, int(Status.STALLED), code)
        code = torch.where(~finite, int(Status.NON_FINITE), code)
        ended = open_ & (converged | floor | stuck | ~finite)
        improved = open_ & finite & ((norm < kept) | converged)
        rows = active[improved]
        best[rows] = state.x[improved]
        norms[rows] = norm[improved]
        rounding[rows] = allowance[improved]
        status[active[ended]] = code[ended]
        steps[active[open_]] = taken
        open_ = open_ & ~ended
        remaining = int(open_.sum())
        if remaining == 0 or taken >= max_steps:
            break
        if remaining <= 0.75 * active.numel():
            index = open_.nonzero().squeeze(1)
            problem, state = problem.select(index), _batch.select(state, index)
            active, open_ = active[index], open_[index]
        for _ in range(min(method.check_every, max_steps - taken)):
            state = method.step(problem, state)
            taken += 1

    if tolerance.distance is not None and not bool((mu > 0).all()):
        status = torch.where(mu > 0, status, int(Status.NOT_CERTIFIABLE))
    error = torch.where(mu > 0, (norms + rounding) / mu, torch.inf)
    certified = full.curvature.strong_convexity.declared
    return Solution(best, norms, rounding, error, certified, status, steps, full.cost, method.name)
