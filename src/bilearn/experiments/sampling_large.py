"""``sampling-large``: a pattern of a million points for one image of 1024 x 1024."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.mri.masks import sample_count
from bilearn.sampling_study.comparison import learned_record, mask_record
from bilearn.sampling_study.comparison_pages import (
    LEARNED_KEY,
    densities,
    mask_tiles,
    picture_tiles,
    quality_table,
    rounding_table,
)
from bilearn.sampling_study.methods import TITLES, best_of

_RULES = ("largest-coefficients", "low-pass", "variable-density-polynomial")


@dataclass(frozen=True)
class SamplingLarge(SamplingExperiment):
    """One high-resolution image, judged with other noise; slow, half an hour and more at 1024 x 1024.

    Args:
        rate: part of k-space.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-large"
    purpose = "MRI sampling: 1024 x 1024 points, one image of a shoulder, judged with other noise (slow)."

    images: tuple[str, ...] = ("shoulder",)
    test: tuple[str, ...] = ("shoulder",)
    size: int = 1024
    count: int = 1
    test_count: int = 1
    steps: int = 30
    exchanges: int = 3
    rate: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_rates((self.rate,))

    @classmethod
    def quick(cls, **options: Any) -> SamplingLarge:
        """The image averaged to 16 x 16."""
        return cls(**{**QUICK, "count": 1, "test_count": 1, **options})

    def parts(self) -> Sequence[Part]:
        """The learned mask and three rules."""
        return [
            Part(f"mask/{LEARNED_KEY}", "learned", self._learned),
            *(Part(f"mask/{name}", TITLES[name], partial(self._rule, name)) for name in _RULES),
        ]

    def _learned(self, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup()
        return learned_record(setup, self.goal(self.rate), setup.pairs(), self.held_out())

    def _rule(self, name: str, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup()
        count = sample_count(setup.shape, self.rate)
        return mask_record(best_of(name, setup, setup.pairs(), count, 1), self.held_out(), TITLES[name])

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Masks, quality, reconstructions."""
        masks = results.below("mask")
        contents = (
            [
                mask_tiles(masks, "masks"),
                quality_table(masks),
                picture_tiles(masks, "reconstructions"),
                densities(masks, "density"),
            ]
            if masks
            else []
        )
        if LEARNED_KEY in masks:
            contents.append(rounding_table({LEARNED_KEY: masks[LEARNED_KEY]}))
        return [Section("large", "High resolution", "The same image with other noise is judged.", contents)]
