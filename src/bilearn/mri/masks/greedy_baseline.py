"""Greedy search as one of the baselines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bilearn.mri.masks.greedy import MaskScore, greedy_mask
from bilearn.mri.masks.lattice import Lattice, Unit
from bilearn.mri.masks.low_pass import low_pass


@dataclass(frozen=True)
class GreedyBaseline:
    """A :class:`bilearn.mri.masks.MaskBaseline` that searches with :func:`greedy_mask`, starting with low frequencies.

    Attributes:
        name: short name for tables and figures.
        score: training images (N, C, H, W) -> score of masks on them, with the reconstructor inside.
        units: what it can sample together.
        start_share: share of the samples that the search starts with.
        batch, image_batch, per_step, chunk: see :func:`greedy_mask`; the first two make the search stochastic.
    """

    name: str
    score: Callable[[Tensor], MaskScore]
    units: tuple[Unit, ...] = ("points", "rows", "columns")
    start_share: float = 0.1
    batch: int | None = None
    image_batch: int | None = None
    per_step: int = 1
    chunk: int = 32

    def draw(
        self, shape: tuple[int, int], count: int, seed: int, training_images: Tensor, unit: Unit = "points"
    ) -> Tensor:
        """See :class:`bilearn.mri.masks.MaskBaseline`."""
        if unit not in self.units:
            raise ValueError(f"unit: found {unit!r}, expected one of {self.units} for the baseline {self.name!r}")
        lattice = Lattice(shape, unit)
        first = math.floor(self.start_share * lattice.cell_count(count)) * lattice.samples_per_cell
        run = greedy_mask(
            self.score(training_images),
            low_pass(shape, first, unit=unit),
            count,
            unit=unit,
            images=training_images.shape[0],
            batch=self.batch,
            image_batch=self.image_batch,
            per_step=self.per_step,
            chunk=self.chunk,
            seed=seed,
        )
        return run.mask()
