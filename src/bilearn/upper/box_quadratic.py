"""Exact minimization of a convex quadratic in a box, for few variables."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_convex(matrix: Tensor, ridge: float = 1e-13) -> Tensor:
    """Nearest symmetric matrix whose eigenvalues are at least ``ridge`` times the largest absolute one.

    A direction of negative curvature becomes nearly flat, so that a step along it runs to the bound of its box.
    """
    eigenvalues, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.mT))
    floor = max(ridge * float(eigenvalues.abs().max()), torch.finfo(matrix.dtype).tiny)
    return (vectors * eigenvalues.clamp(min=floor)) @ vectors.mT


def minimize_in_box(matrix: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Minimize g's + s'Hs/2 over lower <= s <= upper for positive definite H by a primal active-set method.

    1. Start at s = 0, which must lie in the box, with the bounds active that the gradient pushes against.
    2. Newton step on the free variables; where it leaves the box go to the first bound met and make that one active.
    3. Where the free variables are optimal, release the bound with the most wrong sign of its multiplier; stop if none.

    Each visited optimum of a face is lower than the one before, so the method ends (Nocedal and Wright, Numerical
    Optimization, 2nd ed., Algorithm 16.3, specialized to bounds).

    Args:
        matrix: (P, P) symmetric positive definite H, float64.
        gradient: (P,) g.
        lower: (P,) nonpositive.
        upper: (P,) nonnegative.

    Returns:
        (P,) the minimizer, exactly on the bounds that are active.
    """
    step = torch.zeros_like(gradient)
    free = ~(((gradient < 0) & (upper <= 0)) | ((gradient > 0) & (lower >= 0)))
    for _ in range(64 * gradient.numel()):
        slope = gradient + matrix @ step
        index = free.nonzero().squeeze(1)
        direction = torch.zeros_like(step)
        if index.numel():
            direction[index] = -torch.linalg.solve(matrix[index][:, index], slope[index])
        room = torch.where(direction < 0, lower - step, upper - step)
        ratio = torch.where(free & (direction != 0), room / direction, torch.inf)
        blocking = int(ratio.argmin())
        if ratio[blocking] < 1.0:
            step = step + ratio[blocking] * direction
            step[blocking] = lower[blocking] if direction[blocking] < 0 else upper[blocking]
            free[blocking] = False
            continue
        step = step + direction
        slope = gradient + matrix @ step
        wrong = torch.where(step <= lower, -slope, slope)
        wrong = torch.where(free | (lower == upper), 0.0, wrong)
        worst = int(wrong.argmax())
        if not wrong[worst] > 1e-12 * gradient.abs().max():
            break
        free[worst] = True
    return torch.minimum(torch.maximum(step, lower), upper)
