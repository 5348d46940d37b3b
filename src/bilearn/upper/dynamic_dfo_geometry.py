"""Geometry of :class:`bilearn.upper.dynamic_dfo.DynamicDFO`: points evaluated for the interpolation set alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.upper.accuracy import finite
from bilearn.upper.dynamic_dfo_model import InterpolationModel
from bilearn.upper.dynamic_dfo_points import Points, doubt
from bilearn.upper.interpolation_set import InterpolationSet

MANY = 16
"""With more parameters models are linear, and a rejected step renews a few points instead of all that are far."""
_RENEWED = 3
_FAR = 2.0
_REACH = 10.0


def choose(points: Points, radius: float, limit: int | None) -> InterpolationSet:
    """The interpolation set of the points.

    Args:
        points: evaluated points.
        radius: of the trust region.
        limit: most points of one model; None is 2n + 1, or n + 1 for more than :data:`MANY` parameters, where points
            count however far they are: a linear model from old points costs nothing and is renewed little by little.
    """
    size = len(points.unit)
    many = size > MANY
    most = limit if limit is not None else size + 1 if many else 2 * size + 1
    return InterpolationSet.choose(points.nodes(), radius, most, math.inf if many else _REACH)


def improve_set(points: Points, radius: float, limit: int | None, accuracy: float) -> bool:
    """Evaluate a point one radius away along the coordinate that the near points span least; whether that worked.

    It lies on the side with more room in the box, and becomes the current iterate if it is proved to be better.

    Args:
        points: evaluated points, whose near ones do not span all directions.
        radius: of the trust region.
        limit: see :func:`choose`.
        accuracy: bound asked for.
    """
    missing = choose(points, radius, limit).missing
    assert missing is not None
    lower, upper = points.box(radius)
    axis = int((missing * torch.maximum(-lower, upper)).argmax())
    move = torch.zeros_like(missing)
    low, high = points.box(math.inf)
    move[axis] = upper[axis] if float(high[axis]) >= -float(low[axis]) else lower[axis]
    return _insert(points, move, accuracy)


def renew_set(points: Points, radius: float, limit: int | None, accuracy: float) -> bool:
    """Replace at most three points of the model, farther than two radii away, by near ones; whether there were any.

    The farthest point gives way to one a radius away along the slope of its Lagrange function, the direction that the
    other points do not span, on the side where the model is lower if the box leaves room there. It becomes the current
    iterate if it is proved to be better.

    Args:
        points: evaluated points.
        radius: of the trust region.
        limit: see :func:`choose`.
        accuracy: bound asked for.

    Reference:
        Conn, Scheinberg, Vicente, Introduction to Derivative-Free Optimization (2009), algorithm 6.3, few steps at a time.
    """
    renewed = False
    for _ in range(_RENEWED):
        chosen = choose(points, radius, limit)
        if chosen.lagrange is None:
            return improve_set(points, radius, limit, accuracy) or renewed
        distance = chosen.lagrange.nodes.abs().amax(1)
        farthest = int(distance.argmax())
        if float(distance[farthest]) <= _FAR * radius:
            break
        model = InterpolationModel.of(points, chosen.chosen, chosen.lagrange)
        if not _insert(points, _replacement(points, model, farthest, radius), accuracy):
            break
        renewed = True
    return renewed


def _replacement(points: Points, model: InterpolationModel, index: int, radius: float) -> Tensor:
    slope = model.lagrange.slopes[index]
    aim = radius * slope / slope.norm()
    low, high = points.box(math.inf)
    sides = [torch.minimum(torch.maximum(sign * aim, low), high) for sign in (1.0, -1.0)]
    reached = [abs(float(slope @ side)) for side in sides]
    return max(zip(sides, reached, strict=True), key=lambda s: (s[1] > 0.5 * max(reached), -model.slope(s[0])))[0]


def _insert(points: Points, move: Tensor, accuracy: float) -> bool:
    current = points.current
    index = points.add(points.at(move), accuracy)
    found = points.evaluations[index]
    if not finite(found):
        points.drop(index)
        return False
    if found.value + doubt(found) < current.value - doubt(current):
        points.promote(index)
    return True
