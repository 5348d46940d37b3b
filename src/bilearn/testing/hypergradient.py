"""``check_hypergradient``: an estimator against central differences of machine-precision solves, and against its bound."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.hypergradient.estimator import Hypergradient, HypergradientEstimator
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.testing._expect import at_most, close, holds, unchanged
from bilearn.testing.reference import AtTheta, central_difference, newton_minimizer


def reference_hypergradient(
    energy: Energy, loss: UpperLoss, y: Tensor, target: Tensor, step: float = 1e-4
) -> tuple[Tensor, Tensor]:
    """Losses (B,) and d/dtheta of their sum (P,), by fourth-order central differences of dense Newton solves.

    Args:
        energy: float64, small enough for dense matrices; its parameters are moved during the call and put back.
        loss: the upper-level loss.
        y: (B, ...) data.
        target: (B, ...) true signals.
        step: of the differences, in coordinates.
    """
    vector = ParameterVector(energy)
    center = newton_minimizer(energy, y)
    at = AtTheta(energy, vector)

    def total() -> Tensor:
        return loss(newton_minimizer(energy, y, center), target).sum()

    unit = torch.eye(len(vector), dtype=vector.dtype, device=vector.device)
    gradient = torch.stack([central_difference(at(direction, total), step) for direction in unit])
    with torch.no_grad():
        return loss(center, target), gradient


def check_hypergradient(
    estimator: HypergradientEstimator,
    energy: Energy,
    loss: UpperLoss,
    y: Tensor,
    target: Tensor,
    solver: LowerSolver | None = None,
    rtol: float | None = 1e-6,
    accuracies: tuple[float, ...] = (1e-1, 1e-4),
    reference: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Check a hypergradient estimator of your own on an energy with a few dozen pixels and a few parameters.

    Call it in your tests, once per estimator and kind of energy::

        check_hypergradient(MyEstimator(), energy, SquaredError(), y, target)

    1. Asked for 1e-8 of the gradient's norm, the gradient agrees with central differences to ``rtol``.
    2. At every accuracy (relative to the gradient's norm) the true error is at most ``gradient_bound``, the bound is at
       most what was asked for or the message says that it is not, and the interval of each loss contains the true loss.
    3. A second identical call gives the same answer; y, target and the parameters are unchanged, no ``.grad`` is written.

    Args:
        estimator: the estimator.
        energy: a float64 energy with a unique minimizer.
        loss: the upper-level loss.
        y: (B, ...) data.
        target: (B, ...) true signals.
        solver: lower-level method; the default one for this energy if None.
        rtol: allowed relative difference from central differences; None for methods that are biased by design, whose
            bound alone is checked.
        accuracies: requested accuracies, relative to the gradient's norm.
        reference: result of :func:`reference_hypergradient`, where it is known already.

    Raises:
        AssertionError: something does not hold; the message names it and by how much.
        ValueError: from the estimator or the solver, where they cannot run on this energy.
    """
    losses, gradient = reference_hypergradient(energy, loss, y, target) if reference is None else reference
    size = float(torch.linalg.vector_norm(gradient))
    tensors = {"y": y, "target": target, **{f"parameter {n}": p for n, p in energy.named_parameters()}}
    before = {name: t.detach().clone() for name, t in tensors.items()}

    def estimate(relative: float) -> Hypergradient:
        return estimator.estimate(energy, loss, y, target, solver=solver, accuracy=relative * size)

    name = estimator.name
    tight = estimate(1e-8)
    if rtol is not None:
        close(f"{name} against central differences", tight.gradient, gradient, rtol, 1e-9 * float(losses.sum()))
    _check_result(f"{name} at relative accuracy 1e-8", tight, losses, gradient, 1e-8 * size)
    for relative in accuracies:
        result = estimate(relative)
        _check_result(f"{name} at relative accuracy {relative:g}", result, losses, gradient, relative * size)
        unchanged(f"{name}: the gradient of a second identical call", estimate(relative).gradient, result.gradient)
    for label, tensor in tensors.items():
        unchanged(label, tensor, before[label])
        holds(f"{label}: .grad was written", tensor.grad is None)


def _check_result(at: str, result: Hypergradient, losses: Tensor, gradient: Tensor, accuracy: float) -> None:
    noise = 1e-9 * float(torch.linalg.vector_norm(gradient)) + 1e-10 * float(losses.sum())
    error = torch.linalg.vector_norm(result.gradient - gradient)
    bound = result.gradient_bound
    at_most(
        f"{at}: true error of the gradient against its bound", error, torch.tensor(bound, dtype=error.dtype), atol=noise
    )
    said = bound <= accuracy * (1 + 1e-9) or result.message != ""
    holds(f"{at}: the bound {bound:.3g} exceeds the accuracy {accuracy:.3g} asked for, and no message says so", said)
    parts = result.bound
    holds(f"{at}: a part of the bound is negative: {parts}", min(parts.lower, parts.adjoint, parts.rounding) >= 0)
    floor = 1e-12 * losses.abs() + 1e-14
    at_most(f"{at}: lower end of the loss interval against the true loss", result.loss_lower, losses + floor)
    at_most(f"{at}: true loss against the upper end of its interval", losses, result.loss_upper + floor)
