"""Masks against each other at equal numbers of samples: records of single masks, and paired differences of two."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bilearn.experiments.records import numbers, packed
from bilearn.sampling import SamplingResult
from bilearn.sampling_study.learning import LearningGoal, learned, learning_record, magnitude
from bilearn.sampling_study.reconstruction import TunedMask, judged, tuned_mask
from bilearn.sampling_study.setup import Pairs, StudySetup

METRICS: dict[str, tuple[str, str, int]] = {"psnr": ("PSNR", "dB", 2), "ssim": ("SSIM", "", 4)}
"""Title, unit and decimals of what is compared."""


def mask_record(tuned: TunedMask, test: Pairs, title: str, shown: int = 0) -> dict[str, Any]:
    """What is known of a tuned mask: samples, alpha, training loss with its interval, quality of every test image.

    Args:
        tuned: the mask.
        test: held-out pairs.
        title: name in tables and figures.
        shown: which test image is recorded as a picture.
    """
    one = tuned.reconstruct(test.kspace[shown : shown + 1])
    return {
        "title": title,
        "samples": tuned.samples,
        "points": tuned.mask.numel(),
        "alpha": tuned.weight,
        "loss": tuned.loss.value,
        "lower": tuned.loss.lower,
        "upper": tuned.loss.upper,
        "certified": tuned.loss.certified,
        "mask": packed(tuned.mask.double()),
        "quality": judged(tuned, test),
        "picture": {"number": shown, "truth": magnitude(test.truth[shown]), "image": magnitude(one[0])},
    }


def learned_record(
    setup: StudySetup, goal: LearningGoal, training: Pairs, test: Pairs, title: str = "learned"
) -> dict[str, Any]:
    """Learn a pattern and judge its mask as all others are: alpha tuned for it on the training pairs.

    Raises:
        ValueError: if the goal cannot be met.
    """
    result = learned(setup, goal, training)
    return learned_mask_record(setup, result, training, test, title)


def learned_mask_record(
    setup: StudySetup, result: SamplingResult, training: Pairs, test: Pairs, title: str = "learned"
) -> dict[str, Any]:
    """The record of a learned mask; ``learning`` holds how it was learned."""
    tuned = tuned_mask(result.mask, setup, training)
    return {**mask_record(tuned, test, title), "learning": learning_record(result)}


def used_with(mask: Tensor, setup: StudySetup, training: Pairs, test: Pairs, title: str) -> dict[str, Any]:
    """The record of a mask in a reconstruction model, perhaps another than it was learned for."""
    return mask_record(tuned_mask(mask, setup, training), test, title)


@dataclass(frozen=True)
class Paired:
    """Differences of two masks, image by image.

    Attributes:
        mean: of the differences.
        spread: their standard deviation.
        better: images on which the first is better.
        images: number of images.
    """

    mean: float
    spread: float
    better: int
    images: int

    def text(self, decimals: int) -> str:
        """Mean, standard deviation, and on how many images the first is better."""
        return f"{self.mean:+.{decimals}f} ± {self.spread:.{decimals}f} ({self.better}/{self.images})"


def paired(first: Mapping[str, Any], second: Mapping[str, Any], metric: str) -> Paired:
    """First minus second, image by image.

    Args:
        first, second: records with ``quality`` on the same images.
        metric: "psnr" or "ssim".
    """
    differences = (numbers(first["quality"][metric]) - numbers(second["quality"][metric])).tolist()
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return Paired(statistics.fmean(differences), spread, sum(d > 0 for d in differences), len(differences))


def mean_of(record: Mapping[str, Any], metric: str) -> float:
    """Mean over the test images."""
    return float(numbers(record["quality"][metric]).mean())


def rate_of(record: Mapping[str, Any]) -> float:
    """Part of k-space that is sampled."""
    return float(record["samples"]) / float(record["points"])


def before_and_after(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Last moment before rounding and last moment of the best start of a learned mask."""
    learning = record["learning"]
    moments = next(a for a in learning["attempts"] if a["name"] == learning["best"])["snapshots"]
    before = [m for m in moments if m["name"] in ("relaxed", "returned", "binary")]
    return before[-1], moments[-1]
