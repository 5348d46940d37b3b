"""``sampling-patterns``: free points against Cartesian lines against spokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.mri.masks import Unit, sample_count
from bilearn.sampling_study.comparison import learned_record, mask_record
from bilearn.sampling_study.comparison_pages import (
    densities,
    mask_tiles,
    picture_tiles,
    quality_table,
    rounding_table,
    spread_tiles,
)
from bilearn.sampling_study.methods import best_of

_LEARNED: dict[str, tuple[str, Unit]] = {
    "points": ("learned points", "points"),
    "rows": ("learned rows", "rows"),
    "columns": ("learned columns", "columns"),
}
_RULES: dict[str, tuple[str, Unit]] = {
    "radial": ("radial", "points"),
    "spiral": ("spiral", "points"),
    "equispaced": ("equispaced columns", "columns"),
}


@dataclass(frozen=True)
class SamplingPatterns(SamplingExperiment):
    """Learned points, rows and columns against radial, spiral and equispaced rules at one number of samples.

    Args:
        rate: part of k-space; the nearest number of lines is taken for all.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-patterns"
    purpose = "MRI sampling: learned points against learned lines against radial, spiral and equispaced rules."

    rate: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_rates((self.rate,))

    @classmethod
    def quick(cls, **options: Any) -> SamplingPatterns:
        """Tiny images."""
        return cls(**{**QUICK, **options})

    def parts(self) -> Sequence[Part]:
        """Learned patterns, then rules."""
        return [
            *(
                Part(f"mask/{key}", title, partial(self._learned, title, unit))
                for key, (title, unit) in _LEARNED.items()
            ),
            *(
                Part(f"mask/{key}", title, partial(self._rule, key, title, unit))
                for key, (title, unit) in _RULES.items()
            ),
        ]

    def _count(self) -> int:
        return sample_count(self.setup().shape, self.rate, "columns")

    def _learned(self, title: str, unit: Unit, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup(pattern=unit)
        goal = self.goal(self._count() / setup.size**2)
        return learned_record(setup, goal, setup.pairs(), self.held_out(), title)

    def _rule(self, key: str, title: str, unit: Unit, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup(pattern=unit)
        tuned = best_of(key, setup, setup.pairs(), self._count(), 1)
        return mask_record(tuned, self.held_out(), title)

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Masks, quality, reconstructions."""
        masks = results.below("mask")
        learned = {key: record for key, record in masks.items() if "learning" in record}
        return [
            Section(
                "masks", "Points, lines, spokes", "Equal numbers of samples; alpha tuned for each.",
                [mask_tiles(masks, "masks"), quality_table(masks, "points")] if masks else [],
            ),
            Section(
                "sampling", "Density and point spread", "How they sample.",
                [densities(masks, "density"), spread_tiles(masks, "spread")] if masks else [],
            ),
            Section(
                "images", "Reconstructions", "One held-out image.",
                [picture_tiles(masks, "reconstructions")] + ([rounding_table(learned)] if learned else []) if masks else [],
            ),
        ]  # fmt: skip
