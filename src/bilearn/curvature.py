"""Curvature constants of an energy and where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor


class Source(IntEnum):
    """Where a constant comes from, ordered from proved to absent."""

    DECLARED = 0
    ESTIMATED = 1
    UNKNOWN = 2


@dataclass(frozen=True)
class Constant:
    """A curvature constant: a number, or one per sample (B,), and its source."""

    value: float | Tensor
    source: Source = Source.DECLARED

    def per_sample(self, like: Tensor) -> Tensor:
        """The constant as a tensor (B,) with the real dtype and device of ``like`` (B, ...)."""
        dtype = like.real.dtype if like.is_complex() else like.dtype
        value = torch.as_tensor(self.value, dtype=dtype, device=like.device)
        return value.expand(like.shape[0])

    @property
    def declared(self) -> bool:
        """Whether the constant is proved."""
        return self.source is Source.DECLARED

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return self.source is not Source.UNKNOWN

    def __add__(self, other: Constant) -> Constant:
        for part in (self, other):
            if not part.known:
                return part
        return Constant(self.value + other.value, max(self.source, other.source))

    def __mul__(self, factor: float | Tensor) -> Constant:
        return Constant(self.value * factor, self.source)

    def times(self, other: Constant) -> Constant:
        """Product of two constants; the weaker source wins."""
        return Constant(self.value * other.value, max(self.source, other.source))


UNKNOWN_LOWER = Constant(0.0, Source.UNKNOWN)
UNKNOWN_UPPER = Constant(math.inf, Source.UNKNOWN)


@dataclass(frozen=True)
class Curvature:
    """What is known of h in x.

    Attributes:
        strong_convexity: mu with  mu I <= Hessian everywhere. May be negative (weakly convex, declared); unknown counts as 0.
        smoothness: L, a Lipschitz constant of grad h.
        hessian_lipschitz: Lipschitz constant of the Hessian in the spectral norm.
        cross_lipschitz: Lipschitz constant in x of the cross derivative d(grad h)/d(theta) (coordinates), spectral norm.
    """

    strong_convexity: Constant = field(default=UNKNOWN_LOWER)
    smoothness: Constant = field(default=UNKNOWN_UPPER)
    hessian_lipschitz: Constant = field(default=UNKNOWN_UPPER)
    cross_lipschitz: Constant = field(default=UNKNOWN_UPPER)

    def __add__(self, other: Curvature) -> Curvature:
        return Curvature(
            self.strong_convexity + other.strong_convexity,
            self.smoothness + other.smoothness,
            self.hessian_lipschitz + other.hessian_lipschitz,
            self.cross_lipschitz + other.cross_lipschitz,
        )
