"""Sampling masks that learned ones are compared with, as a list of rows to loop over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from bilearn.mri.masks.equispaced import equispaced
from bilearn.mri.masks.lattice import Lattice, Unit
from bilearn.mri.masks.low_pass import low_pass
from bilearn.mri.masks.poisson_disc import poisson_disc
from bilearn.mri.masks.radial import radial
from bilearn.mri.masks.spiral import spiral
from bilearn.mri.masks.training_spectrum import largest_coefficients, spectral_density
from bilearn.mri.masks.uniform_random import uniform_random
from bilearn.mri.masks.variable_density import gaussian_density, polynomial_density

#: What a row computes: (shape, count, seed, training images, unit, center) -> mask.
Rule = Callable[[tuple[int, int], int, int, Tensor, Unit, int], Tensor]


class MaskBaseline(Protocol):
    """A way to choose a mask at a number of samples."""

    @property
    def name(self) -> str:
        """Short name for tables and figures."""
        ...

    @property
    def units(self) -> tuple[Unit, ...]:
        """What it can sample together."""
        ...

    def draw(
        self, shape: tuple[int, int], count: int, seed: int, training_images: Tensor, unit: Unit = "points"
    ) -> Tensor:
        """Boolean (H, W), without shift, with exactly ``count`` samples.

        Args:
            shape: height and width of k-space.
            count: samples of the mask; see :func:`bilearn.mri.masks.sample_count`.
            seed: of random choices.
            training_images: (N, 2, H, W) complex images in two channels, or (N, 1, H, W) real ones.
            unit: points, rows or columns.

        Raises:
            ValueError: a unit that is not in ``units``, or an impossible count.
        """
        ...


@dataclass(frozen=True)
class RuleBaseline:
    """A baseline given by a formula.

    Attributes:
        name: short name for tables and figures.
        rule: the formula.
        units: what it can sample together.
        center_share: share of the samples that the fully sampled center may have, from which its side is computed.
    """

    name: str
    rule: Rule
    units: tuple[Unit, ...] = ("points", "rows", "columns")
    center_share: float = 0.0

    def center(self, shape: tuple[int, int], count: int, unit: Unit) -> int:
        """Side of the center in points, or number of central lines."""
        allowed = self.center_share * Lattice(shape, unit).cell_count(count)
        return min(max(shape), math.isqrt(math.floor(allowed)) if unit == "points" else math.floor(allowed))

    def draw(
        self, shape: tuple[int, int], count: int, seed: int, training_images: Tensor, unit: Unit = "points"
    ) -> Tensor:
        """See :class:`MaskBaseline`."""
        if unit not in self.units:
            raise ValueError(f"unit: found {unit!r}, expected one of {self.units} for the baseline {self.name!r}")
        return self.rule(shape, count, seed, training_images, unit, self.center(shape, count, unit))


#: The baselines that need no reconstructions; those with a center give it a tenth of the samples, equispaced lines a third.
BASELINES: tuple[MaskBaseline, ...] = (
    RuleBaseline("uniform random", lambda s, n, seed, x, u, c: uniform_random(s, n, seed=seed, unit=u, center=c)),
    RuleBaseline("low-pass", lambda s, n, seed, x, u, c: low_pass(s, n, unit=u)),
    RuleBaseline(
        "equispaced",
        lambda s, n, seed, x, u, c: equispaced(s, n, seed=seed, unit=u, center=c),
        ("rows", "columns"),
        1 / 3,
    ),
    RuleBaseline("radial", lambda s, n, seed, x, u, c: radial(s, n, seed=seed), ("points",)),
    RuleBaseline("spiral", lambda s, n, seed, x, u, c: spiral(s, n, seed=seed), ("points",)),
    RuleBaseline(
        "variable density, polynomial",
        lambda s, n, seed, x, u, c: polynomial_density(s, n, seed=seed, unit=u, center=c),
        center_share=0.1,
    ),
    RuleBaseline(
        "variable density, Gaussian",
        lambda s, n, seed, x, u, c: gaussian_density(s, n, seed=seed, unit=u, center=c),
        center_share=0.1,
    ),
    RuleBaseline(
        "Poisson disc",
        lambda s, n, seed, x, u, c: poisson_disc(s, n, seed=seed, unit=u, center=c),
        center_share=0.1,
    ),
    RuleBaseline("largest coefficients", lambda s, n, seed, x, u, c: largest_coefficients(s, n, x, unit=u, center=c)),
    RuleBaseline(
        "spectral density", lambda s, n, seed, x, u, c: spectral_density(s, n, x, seed=seed, unit=u, center=c)
    ),
)
