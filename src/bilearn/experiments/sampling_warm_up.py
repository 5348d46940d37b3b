"""``sampling-warm-up``: a smooth bump, a learned pattern against the largest Fourier coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.mri.io import simulate_kspace
from bilearn.mri.masks import largest_coefficients, low_pass, sample_count
from bilearn.sampling_study.comparison import learned_record, used_with
from bilearn.sampling_study.comparison_pages import (
    LEARNED_KEY,
    mask_tiles,
    picture_tiles,
    quality_table,
    rounding_table,
)
from bilearn.sampling_study.setup import Pairs

_SIMPLE = {"largest-coefficients": "largest coefficients", "low-pass": "low-pass"}


@dataclass(frozen=True)
class SamplingWarmUp(SamplingExperiment):
    """One discrete bump exp(1 - 1 / (1 - r^2)), real, with noise; the same image with other noise is the test.

    Args:
        rate: part of k-space, 2.76 % on the slide.
        repeats: noise draws to learn from, and as many to judge.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-warm-up"
    purpose = "MRI sampling, warm-up: a pattern learned for one smooth bump against its largest Fourier coefficients."

    rate: float = 0.0276
    repeats: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_rates((self.rate,))
        if self.repeats < 1:
            raise ValueError(f"repeats: found {self.repeats}, expected at least 1")

    @classmethod
    def quick(cls, **options: Any) -> SamplingWarmUp:
        """A tiny bump."""
        return cls(**{**QUICK, "rate": 0.1, "repeats": 2, **options})

    def check(self) -> None:
        """Nothing is needed from outside."""
        return

    def parts(self) -> Sequence[Part]:
        """The learned mask and two simple ones."""
        return [
            Part(f"mask/{LEARNED_KEY}", "learned", self._learned),
            *(Part(f"mask/{name}", title, partial(self._simple, name)) for name, title in _SIMPLE.items()),
        ]

    def _pairs(self, seed: int) -> Pairs:
        truth = bump(self.size).expand(self.repeats, -1, -1, -1).clone()
        return Pairs(truth, simulate_kspace(truth, self.noise, self.seed + seed))

    def _learned(self, done: Mapping[str, Any]) -> dict[str, Any]:
        return learned_record(self.setup(), self.goal(self.rate), self._pairs(0), self._pairs(1))

    def _simple(self, name: str, done: Mapping[str, Any]) -> dict[str, Any]:
        setup, training = self.setup(), self._pairs(0)
        count = sample_count(setup.shape, self.rate)
        mask = low_pass(setup.shape, count)
        if name == "largest-coefficients":
            mask = largest_coefficients(setup.shape, count, training.truth)
        return used_with(mask, setup, training, self._pairs(1), _SIMPLE[name])

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Masks, reconstructions, quality."""
        masks = results.below("mask")
        contents = (
            [mask_tiles(masks, "masks"), picture_tiles(masks, "reconstructions"), quality_table(masks)] if masks else []
        )
        if LEARNED_KEY in masks:
            contents.append(rounding_table({LEARNED_KEY: masks[LEARNED_KEY]}))
        text = "Magnitude alone is not the best rule, even for one known image: neighbors in k-space share information."
        return [Section("masks", "A bump", text, contents)]


def bump(size: int) -> Tensor:
    """(1, 2, size, size): exp(1 - 1 / (1 - r^2)) for r < 1, else 0, r = 1 at 0.35 of the side from the middle."""
    axis = (torch.arange(size, dtype=torch.float64) - size // 2) / (0.35 * size)
    square = axis[:, None].square() + axis.square()
    inside = (1 - square).clamp(min=1e-3)
    image = torch.where(square < 1, torch.exp(1 - 1 / inside), 0.0)
    return torch.stack((image, torch.zeros_like(image)))[None]
