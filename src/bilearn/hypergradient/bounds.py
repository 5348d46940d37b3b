r"""Error bounds of hypergradients, from quantities at the returned point.

Notation: x the returned point, xh the exact minimizer, |x - xh| <= e; A, B the Hessian and the cross derivative
d(grad h)/d(theta) at x, Ah, Bh those at xh; g, gh the loss gradients; Ah >= mu I. The exact gradient of one sample is
-Bh' Ah^-1 gh.

**Adjoint form.** Any q gives z = -B' q. With r = A q - g,

    z + Bh' Ah^-1 gh = -(B - Bh)' q - Bh' Ah^-1 (Ah q - gh),     Ah q - gh = (Ah - A) q + r + (g - gh),

    |error| <= |(B - Bh)' q| + (|B| + |B - Bh|) / mu * ( |(Ah - A) q| + |r| + |g - gh| ).

|(Ah - A) q| is ``energy.hessian_variation``, |(B - Bh)' q| ``energy.cross_variation``, |B - Bh| ``energy.column_variation``
and |g - gh| ``loss.grad_variation``, all over the ball of radius e. q need not solve anything: a one-step method puts its
bias into r.

**Tangent form.** Columns t_p of T with residuals r_p = A t_p + B_p give z = T' g. The exact columns solve Ah th_p = -Bh_p, so

    Ah (t_p - th_p) = (Ah - A) t_p + r_p + (Bh - B)_p,
    d_p = |t_p - th_p| <= ( |(Ah - A) t_p| + |r_p| + |B - Bh| ) / mu,
    |t_p' g - th_p' gh| <= |t_p| |g - gh| + d_p (|g| + |g - gh|).

The errors of a batch add up, component by component for tangents.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, BoundParts
from bilearn.hypergradient.point import Point


def adjoint_bound(point: Point, q: Tensor, residual: Tensor, radius: Tensor) -> BoundParts:
    """Bound on the error of -B'q summed over the batch (module docstring, adjoint form).

    Args:
        point: the returned points and what was evaluated there.
        q: (B, ...) computed adjoint.
        residual: (B,) |A q - g|, its rounding included.
        radius: (B,) bound on |x - xh|.
    """
    if not _certifiable(point, radius):
        return UNKNOWN_BOUND
    energy, x, y, mu = point.stage.energy, point.x, point.stage.y, point.stage.mu
    outer = (point.cross.norm + energy.column_variation(x, y, radius)) / mu
    moved = energy.hessian_variation(x, y, q, radius) + point.loss.grad_variation(x, point.target, radius)
    lower = energy.cross_variation(x, y, q, radius) + outer * moved
    unit = torch.finfo(x.dtype).eps
    rounding = _batch.norm(q) * (energy.rounding(x, y) + 16 * unit * point.cross.norm)
    return BoundParts(float(lower.sum()), float((outer * residual).sum()), float(rounding.sum()))


def tangent_bound(point: Point, tangents: Tensor, residual: Tensor, radius: Tensor) -> BoundParts:
    """Bound on the error of T'g summed over the batch (module docstring, tangent form).

    Args:
        point: the returned points and what was evaluated there.
        tangents: (P, B, ...) computed columns of T.
        residual: (P, B) |A t_p + B_p|, rounding included.
        radius: (B,) bound on |x - xh|.
    """
    if not _certifiable(point, radius):
        return UNKNOWN_BOUND
    energy, x, y, mu = point.stage.energy, point.x, point.stage.y, point.stage.mu
    turn = point.loss.grad_variation(x, point.target, radius)
    size, slope = _batch.norm(tangents, lead=2), _batch.norm(point.slope)
    drift = (energy.hessian_variation(x, y, tangents, radius) + energy.column_variation(x, y, radius)) / mu
    lower = (size * turn + drift * (slope + turn)).sum(1)
    adjoint = (residual / mu * (slope + turn)).sum(1)
    unit = torch.finfo(x.dtype).eps
    rounding = ((energy.rounding(x, y) / mu + 16 * unit * size) * slope).sum(1)
    return BoundParts(*(float(torch.linalg.vector_norm(v)) for v in (lower, adjoint, rounding)))


def _certifiable(point: Point, radius: Tensor) -> bool:
    return point.stage.convex and bool(torch.isfinite(radius).all())


def largest_radius(part: Callable[[float], float], radius: float, goal: float, rounds: int = 12) -> float:
    """A radius below ``radius`` at which the increasing function ``part`` is at most ``goal``, up to ``rounds`` trials."""
    for _ in range(rounds):
        value = part(radius)
        if value <= goal:
            break
        radius *= min(0.5, max(0.9 * goal / value, 1e-4)) if value < float("inf") else 0.1
    return radius
