"""``sampling-baselines``: learned masks against every baseline at equal numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.mri.masks import sample_count
from bilearn.sampling import ProbabilityLearning, SamplingResult
from bilearn.sampling_study.comparison import learned_mask_record, learned_record, mask_record
from bilearn.sampling_study.comparison_pages import (
    LEARNED_KEY,
    densities,
    mask_tiles,
    picture_tiles,
    quality_table,
    rate_figure,
    rounding_table,
    spread_tiles,
)
from bilearn.sampling_study.directory import load_learned
from bilearn.sampling_study.methods import GREEDY, TITLES, GreedyOptions, SearchOptions, best_of, chosen_names
from bilearn.sampling_study.setup import StudySetup


@dataclass(frozen=True)
class SamplingBaselines(SamplingExperiment):
    """Learned masks and every baseline over rates, alpha tuned for each mask on the training images.

    Args:
        rates: parts of k-space.
        baselines: short names, or "all".
        draws: random masks of a baseline; the one with the smallest training loss is taken.
        greedy_batch, greedy_images, greedy_steps: cost of the greedy search, see
            :class:`bilearn.sampling_study.methods.GreedyOptions`.
        probabilistic_steps: masks that are drawn while the probabilities of a random mask are learned.
        runs: directories of ``bilearn sample learn``; their masks, sample counts and training setup are used then,
            nothing is learned, and ``rates`` are additional ones for the baselines.

    Raises:
        ValueError: if an option is out of range, or runs do not fit together.
    """

    name = "sampling-baselines"
    purpose = "MRI sampling: learned masks against every baseline at equal numbers of samples, on held-out images."

    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    baselines: tuple[str, ...] = ("all",)
    draws: int = 3
    greedy_batch: int = 48
    greedy_images: int = 2
    greedy_steps: int = 48
    probabilistic_steps: int = 100
    runs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rates or not self.runs:
            checked_rates(self.rates)
        if self.draws < 1:
            raise ValueError(f"draws: found {self.draws}, expected at least 1")
        ProbabilityLearning(steps=self.probabilistic_steps)
        if not self.runs:
            chosen_names(self.baselines, self.setup().unit)

    @classmethod
    def quick(cls, **options: Any) -> SamplingBaselines:
        """One rate of tiny images and few baselines."""
        small = {"rates": (0.25,), "baselines": ("low-pass", "largest-coefficients", "poisson-disc"), "draws": 1}
        return cls(**{**QUICK, **small, "greedy_steps": 4, "greedy_batch": 8, "probabilistic_steps": 4, **options})

    def setup(self, **changes: Any) -> StudySetup:
        """Setup of the runs, where there are any."""
        if not self.runs or changes:
            return super().setup(**changes)
        return _runs(self.runs)[0][0]

    def check(self) -> None:
        """Read images and runs, and the names of baselines."""
        chosen_names(self.baselines, self.setup().unit)
        super().check()

    def parts(self) -> Sequence[Part]:
        """For every rate the learned mask, then the baselines."""
        setup = self.setup()
        results: dict[int, SamplingResult | None] = {
            sample_count(setup.shape, rate, setup.unit): None for rate in self.rates
        }
        if self.runs:
            results |= {result.samples: result for _, result in _runs(self.runs)}
        parts = []
        for count, result in sorted(results.items()):
            place = f"rate/{count}"
            label = f"{100 * count / setup.size**2:.1f} %"
            if result is not None or not self.runs:
                parts.append(Part(f"{place}/{LEARNED_KEY}", f"{label}, learned", partial(self._learned, count, result)))
            parts += [
                Part(f"{place}/{name}", f"{label}, {TITLES[name]}", partial(self._baseline, name, count))
                for name in chosen_names(self.baselines, setup.unit)
            ]
        return parts

    def _learned(self, count: int, result: SamplingResult | None, done: Mapping[str, Any]) -> dict[str, Any]:
        setup, test = self.setup(), self.held_out()
        training = setup.pairs()
        if result is not None:
            return learned_mask_record(setup, result, training, test)
        return learned_record(setup, self.goal(count / setup.size**2), training, test)

    def _baseline(self, name: str, count: int, done: Mapping[str, Any]) -> dict[str, Any]:
        setup, test = self.setup(), self.held_out()
        greedy = GreedyOptions(self.greedy_batch, self.greedy_images, self.greedy_steps)
        search = SearchOptions(greedy, ProbabilityLearning(steps=self.probabilistic_steps))
        tuned = best_of(name, setup, setup.pairs(), count, self.draws, search)
        title = TITLES[name] if name != GREEDY or self.greedy_batch else "greedy"
        return mask_record(tuned, test, title)

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Quality against rate, tables, masks, reconstructions."""
        by_rate: dict[str, dict[str, Any]] = {}
        for key, record in results.below("rate").items():
            count, _, name = key.partition("/")
            by_rate.setdefault(count, {})[name] = record
        ordered = [by_rate[count] for count in sorted(by_rate, key=int)]
        found = [(f"{100 * _rate(records):.1f} %", records) for records in ordered]
        learned = {rate: {**r[LEARNED_KEY], "title": rate} for rate, r in found if LEARNED_KEY in r}
        return [
            Section(
                "quality", "Quality against rate",
                "Held-out images; all masks of a rate have the same number of samples, and alpha is tuned for each.",
                [
                    *([rate_figure(ordered)] if ordered else []),
                    *(quality_table(r, title=f"{rate} of k-space") for rate, r in found),
                ],
            ),
            Section(
                "masks", "Masks", "What was compared.",
                [mask_tiles(r, f"masks-{k + 1}") for k, (_, r) in enumerate(found)],
            ),
            Section(
                "reconstructions", "Reconstructions", "The learned mask and the best others, rate by rate.",
                [picture_tiles(r, f"reconstructions-{k + 1}") for k, (_, r) in enumerate(found)],
            ),
            Section(
                "sampling", "Density and point spread", "How the masks of the lowest rate sample.",
                [densities(ordered[0], "density"), spread_tiles(ordered[0], "spread")] if ordered else [],
            ),
            Section(
                "rounding", "Rounding", "What the step from degrees to a mask costs.",
                [rounding_table(learned)] if learned else [],
            ),
        ]  # fmt: skip


def _rate(records: Mapping[str, Mapping[str, Any]]) -> float:
    first = next(iter(records.values()))
    return float(first["samples"]) / float(first["points"])


def _runs(names: Sequence[str]) -> list[tuple[StudySetup, SamplingResult]]:
    """Setups and results of runs with the same training setup and different numbers of samples.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if they do not fit together.
    """
    found = [load_learned(Path(name)) for name in names]
    for name, (setup, result) in zip(names[1:], found[1:], strict=True):
        if not _same(setup, found[0][0]):
            raise ValueError(
                f"{name}: found another training setup than {names[0]} (images, size, noise, regularizer, pattern, coils or "
                "seed), expected the same; compare such runs one by one"
            )
        if sum(result.samples == other.samples for _, other in found) > 1:
            raise ValueError(
                f"{name}: found {result.samples} samples like another run, expected one run for each number"
            )
    return found


def _same(first: StudySetup, second: StudySetup) -> bool:
    """Whether two setups are alike; copies of the same maps are."""
    maps = first.coil_maps(), second.coil_maps()
    alike = maps[0] is maps[1] or (maps[0] is not None and maps[1] is not None and torch.equal(maps[0], maps[1]))
    return replace(first, maps="") == replace(second, maps="") and alike
