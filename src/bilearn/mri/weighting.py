"""How much a sample that is taken to the degree s counts: the weight b(s) of its squared residual."""

from __future__ import annotations

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
