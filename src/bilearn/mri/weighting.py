"""How much a sample that is taken to the degree s counts: the weight b(s) of its squared residual."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class Weighting(ABC):
    """A nondecreasing map from a degree of sampling s to a weight b >= 0, elementwise and differentiable."""

    @abstractmethod
    def __call__(self, s: Tensor) -> Tensor:
        """b(s)."""

    @abstractmethod
    def slope(self, s: Tensor) -> Tensor:
        """b'(s) >= 0."""

    def steeper(self, q: float) -> Weighting:
        """A weighting with the same values at 0 and 1 in which a part of a sample counts less, the less the larger q is.

        Returns:
            This weighting, unless it belongs to such a family.
        """
        return self


@dataclass(frozen=True)
class Square(Weighting):
    """b = s^2 (Sherry et al., Learning the sampling pattern for MRI, IEEE TMI 39, 2020): S acts on the residual.

    The slope is zero at s = 0: a gradient method that has put a sample there gets no signal from the data to take it
    back.
    """

    def __call__(self, s: Tensor) -> Tensor:
        return s.square()

    def slope(self, s: Tensor) -> Tensor:
        """2 s."""
        return 2 * s.clamp(min=0.0)

    def steeper(self, q: float) -> Weighting:
        """:class:`Share`."""
        return Share(q)


@dataclass(frozen=True)
class Linear(Weighting):
    """b = s: the same models as :class:`Square`, in a coordinate whose slope does not vanish at s = 0."""

    def __call__(self, s: Tensor) -> Tensor:
        return s

    def slope(self, s: Tensor) -> Tensor:
        """1."""
        return s.new_ones(()).expand_as(s)


@dataclass(frozen=True)
class Odds(Weighting):
    """b = s / (1 - s) for s < 1 (Ehrhardt and Roberts, JMIV 63, 2021): from 0 to infinity."""

    def __call__(self, s: Tensor) -> Tensor:
        return s / (1 - s)

    def slope(self, s: Tensor) -> Tensor:
        """1 / (1 - s)^2."""
        return (1 - s).square().reciprocal()


@dataclass(frozen=True)
class Share(Weighting):
    """b = u / (1 + q (1 - u)) with u = s^2: a part of a sample counts no more than its part.

    A sample of weight b moves the minimizer of a quadratic energy by t(b) = b / (1 + b h) times a vector that does not depend
    on b, with h = f' H^-1 f <= 1/mu for its Fourier vector f and the Hessian H >= mu of all the rest. Since h is large where
    little is known, t saturates: with :class:`Square` and mu = 0.01 a degree of 0.3 has 9/10 of the effect of a whole
    sample. Here t(b(s)) / t(1) <= s^2 for every h <= q. So with q = 1/mu, mu the ridge, degrees cannot be used to take many
    samples at a small part of their price, and solutions with a budget are nearly masks before they are rounded.

    Args:
        q: steepness; 0 gives :class:`Square`.

    Raises:
        ValueError: if q is negative or not finite.
    """

    q: float = 100.0

    def __post_init__(self) -> None:
        if not 0 <= self.q < math.inf:
            raise ValueError(f"q: found {self.q}, expected a finite number >= 0, such as the inverse of the ridge")

    def __call__(self, s: Tensor) -> Tensor:
        u = s.square()
        return u / (1 + self.q * (1 - u))

    def slope(self, s: Tensor) -> Tensor:
        """2 s (1 + q) / (1 + q (1 - s^2))^2."""
        return 2 * s.clamp(min=0.0) * (1 + self.q) / (1 + self.q * (1 - s.square())).square()

    def steeper(self, q: float) -> Weighting:
        """Another member of the family."""
        return Share(q)
