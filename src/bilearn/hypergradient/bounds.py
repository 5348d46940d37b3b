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

**Estimate.** Both bounds take suprema over the whole ball and need Lipschitz constants. The estimate replaces them by what
happens at one point of its boundary, x' = x - e grad h(x)/|grad h(x)|, where the minimizer is expected:

    |sum_i (B(x'_i) - B_i)' q_i| + sum_i |B_i| / mu_i * ( |(A(x'_i) - A_i) q_i| + |r_i| + |g(x'_i) - g_i| ).

It proves nothing; on smoothed TV it is some hundred times smaller than the bound and several times larger than the error.
"""

from __future__ import annotations

import math
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
    return BoundParts(float(lower.sum()), float((outer * residual).sum()), _rounding(point, q))


def adjoint_estimate(point: Point, q: Tensor, residual: Tensor, radius: Tensor) -> BoundParts:
    """Estimate of the error of -B'q summed over the batch (module docstring, estimate); arguments as :func:`adjoint_bound`.

    Costs a gradient, two Hessian products and a cross derivative per sample. Unknown where no distance is certified.
    """
    if not _certifiable(point, radius):
        return UNKNOWN_BOUND
    energy, x, y = point.stage.energy, point.x, point.stage.y
    downhill = -energy.grad(x, y)
    size = _batch.norm(downhill)
    unit = _batch.expand(torch.where(size > 0, 1 / size, torch.zeros_like(size)), x) * downhill
    moved = x + _batch.expand(radius, x) * unit
    turned = _batch.norm(energy.hessian(moved, y)(q) - point.hessian(q))
    slope = _batch.norm(point.loss.grad(moved, point.target) - point.slope)
    outer = point.cross.norm / point.stage.mu
    direct = torch.linalg.vector_norm(
        point.vector.flatten(energy.cross_vjp(moved, y, q, point.vector.parameters))
        - point.vector.flatten(energy.cross_vjp(x, y, q, point.vector.parameters))
    )
    return BoundParts(
        float(direct) + float((outer * (turned + slope)).sum()), float((outer * residual).sum()), _rounding(point, q)
    )


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


def _rounding(point: Point, q: Tensor) -> float:
    unit = torch.finfo(point.x.dtype).eps
    allowance = point.stage.energy.rounding(point.x, point.stage.y) + 16 * unit * point.cross.norm
    return float((_batch.norm(q) * allowance).sum())


def _certifiable(point: Point, radius: Tensor) -> bool:
    return point.stage.convex and bool(torch.isfinite(radius).all())


def largest_radius(part: Callable[[float], float], radius: float, goal: float, rounds: int = 12) -> float:
    """A radius up to ``radius`` at which the increasing function ``part`` is at most ``goal``, up to ``rounds`` trials.

    1. Shrink until it is, each time as if ``part`` were linear, which goes too far where it grows faster.
    2. Then go back halfway, on a logarithmic scale, while less than half of ``goal`` is used.
    """
    fits, above = 0.0, 0.0
    for _ in range(rounds):
        value = part(radius)
        if value <= goal:
            fits = radius
            if above == 0.0 or 2 * value >= goal:
                break
        else:
            above = radius
        if fits > 0.0:
            radius = math.sqrt(fits * above)
        else:
            radius *= min(0.5, max(0.9 * goal / value, 1e-4)) if value < math.inf else 0.1
    return fits if fits > 0.0 else radius
