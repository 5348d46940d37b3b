"""``check_solver``: certificates, independence of samples and calls, special starts, of a lower-level method."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.solution import Solution, Tolerance
from bilearn.status import Status
from bilearn.testing._expect import at_most, close, holds, unchanged
from bilearn.testing.reference import newton_minimizer


def check_solver(
    solver: LowerSolver,
    energy: Energy,
    y: Tensor,
    accuracies: tuple[float, ...] = (1e-1, 1e-3, 1e-6),
    atol: float = 1e-7,
) -> None:
    """Check a lower-level method of your own on an energy with a few dozen pixels.

    Call it in your tests, once per method and kind of energy::

        check_solver(MySolver(), VariationalEnergy(LeastSquares(), SmoothedTV()), torch.rand(3, 1, 7, 6, dtype=torch.float64))

    The truth is a Newton iteration with dense matrices to machine precision, which shares no code with the solvers.

    1. At every accuracy (distances where the energy declares strong convexity, gradient norms elsewhere) the method
       converges, the numbers of the solution are those of the returned point, and the distance to the truth is at most
       ``error``, which is at most what was asked for.
    2. A sample gives the same answer alone and in the batch; a second call gives the same answer as the first.
    3. From the solution as its start it converges at once (at most one look at the gradient).
    4. y, x0 and the parameters are unchanged, no ``.grad`` is written, and the answer needs no gradient.
    5. Zero data give a finite, certified answer.

    Args:
        solver: the method.
        energy: an energy in float64 with a unique minimizer that the method can run on.
        y: (B, ...) float64 data, B >= 2.
        accuracies: tolerances to ask for.
        atol: allowed difference between a sample's answers alone and in the batch, relative to its norm (rounding follows
            other paths there).

    Raises:
        AssertionError: something does not hold; the message names it and by how much.
        ValueError: from the method, where it cannot run on this energy; fewer than two samples or another dtype.
    """
    if _batch.size(y) < 2 or y.dtype != torch.float64:
        raise ValueError(f"y: found {_batch.size(y)} samples of {y.dtype}, expected at least 2 of float64")
    truth = newton_minimizer(energy, y)
    kept = y.clone(), {n: p.detach().clone() for n, p in energy.named_parameters()}
    loose, tight = max(accuracies), min(accuracies)
    for accuracy in accuracies:
        _check_certificate(solve(solver, energy, y, accuracy), energy, y, truth, accuracy, solver.name)
    _check_independence(solver, energy, y, tight, atol)
    _check_start(solver, energy, y, truth, loose)
    zero = torch.zeros_like(y)
    _check_certificate(
        solve(solver, energy, zero, tight), energy, zero, newton_minimizer(energy, zero), tight, "zero data"
    )
    unchanged("y", y, kept[0])
    for name, parameter in energy.named_parameters():
        unchanged(f"parameter {name}", parameter, kept[1][name])
        holds(f"parameter {name}: .grad was written", parameter.grad is None)


def solve(solver: LowerSolver | None, energy: Energy, y: Tensor, accuracy: float, x0: Tensor | None = None) -> Solution:
    """Minimize to a distance where strong convexity is known, to a gradient norm elsewhere; raises where it fails."""
    mu = energy.curvature(y).strong_convexity
    distance = mu.known and bool((torch.as_tensor(mu.value) > 0).all())
    tolerance = Tolerance(distance=accuracy) if distance else Tolerance(gradient=accuracy)
    return minimize(energy, y, solver, x0, tolerance)


def _check_certificate(
    solution: Solution, energy: Energy, y: Tensor, truth: Tensor, accuracy: float, name: str
) -> None:
    with torch.no_grad():
        gradient = _batch.norm(energy.grad(solution.x, y))
        mu = energy.curvature(y).strong_convexity.per_sample(truth).clamp(min=0.0)
        floor = 1e-13 * (1 + _batch.norm(truth))
    at = f"{name} at accuracy {accuracy:g}"
    holds(f"{at}: status {solution.describe()}", bool((solution.status == Status.CONVERGED).all()))
    holds(f"{at}: the returned x requires a gradient", not solution.x.requires_grad)
    close(f"{at}: recorded gradient norm against that of the returned x", solution.gradient_norm, gradient, 1e-6, 1e-12)
    certain = mu > 0
    error = torch.where(certain, (solution.gradient_norm + solution.rounding) / mu, torch.inf)
    holds(
        f"{at}: error is not (gradient_norm + rounding) / mu",
        bool(torch.isclose(solution.error, error, rtol=1e-9).all()),
    )
    at_most(
        f"{at}: distance to the minimizer against the certificate",
        _batch.norm(solution.x - truth),
        solution.error + floor,
    )
    reached = torch.where(certain, solution.error, solution.gradient_norm + solution.rounding)
    at_most(f"{at}: what was reached against what was asked for", reached, torch.full_like(reached, accuracy))


def _check_independence(solver: LowerSolver, energy: Energy, y: Tensor, accuracy: float, atol: float) -> None:
    first, again = solve(solver, energy, y, accuracy), solve(solver, energy, y, accuracy)
    unchanged(f"{solver.name}: the answer of a second identical call", again.x, first.x)
    for i in range(_batch.size(y)):
        one = torch.tensor([i], device=y.device)
        alone = solve(solver, energy, _batch.select(y, one), accuracy).x
        together = first.x[one]
        close(f"{solver.name}: sample {i} alone against in the batch", alone, together, atol, atol)


def _check_start(solver: LowerSolver, energy: Energy, y: Tensor, truth: Tensor, accuracy: float) -> None:
    start = truth.clone()
    solution = solve(solver, energy, y, accuracy, start)
    unchanged("x0", start, truth)
    steps = int(solution.steps.max())
    holds(
        f"{solver.name}: took {steps} steps from an optimal start, expected at most {solver.check_every}",
        steps <= solver.check_every,
    )
    close(
        f"{solver.name}: answer from an optimal start against the optimum",
        solution.x,
        truth,
        0.0,
        accuracy * len(truth) ** 0.5,
    )
