"""Where :class:`bilearn.upper.dynamic_dfo.DynamicDFO` starts: away from where one gradient says little about F."""

from __future__ import annotations

import math

import torch

from bilearn.upper.accuracy import MAX_REQUESTS
from bilearn.upper.dynamic_dfo_points import Points, doubt


def settle(points: Points, accuracy: float) -> None:
    """Refine the current value until its bound is at most ``accuracy`` times the value, or the oracle fails to."""
    for _ in range(MAX_REQUESTS):
        goal = accuracy * abs(points.current.value)
        if doubt(points.current) <= goal or not points.refine(0, max(goal, 0.03 * doubt(points.current))):
            break


def screen(points: Points, factor: float) -> None:
    """Move the start while a point one unit away has a certified upper end that is ``factor`` times smaller.

    Nothing happens where the upper end is within ``factor`` times the value. Each point is looked at for one gradient.
    """
    size = len(points.unit)
    moved = True
    while moved and points.current.upper > factor * abs(points.current.value):
        moved = False
        for axis, sign in ((i, s) for i in range(size) for s in (-1.0, 1.0)):
            while _probe(points, axis, sign, factor):
                moved = True


def _probe(points: Points, axis: int, sign: float, factor: float) -> bool:
    lower, upper = points.box(1.0)
    move = torch.zeros_like(lower)
    move[axis] = lower[axis] if sign < 0 else upper[axis]
    if not bool(move.any()):
        return False
    index = points.add(points.at(move), math.inf)
    better = points.evaluations[index].upper * factor < points.current.upper
    points.drop(0 if better else index)
    return better
