"""``sampling-regularizers``: the best pattern depends on the regularizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bilearn.experiments.contents import Content, Section, Table
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results, unpacked
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.sampling_study.comparison import METRICS, learned_record, mean_of, paired, used_with
from bilearn.sampling_study.comparison_pages import densities, mask_tiles, picture_tiles, rounding_table
from bilearn.sampling_study.reconstruction import DATA_RANGE
from bilearn.sampling_study.setup import REGULARIZER_TITLES, REGULARIZERS, RegularizerName


@dataclass(frozen=True)
class SamplingRegularizers(SamplingExperiment):
    """A pattern learned for every regularizer at one rate, and each of them used with every other regularizer.

    Args:
        rate: part of k-space.
        regularizers: out of none, h1, wavelet, tv.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-regularizers"
    purpose = "MRI sampling: a pattern for every regularizer, and each pattern used with every other regularizer."

    rate: float = 0.2
    regularizers: tuple[RegularizerName, ...] = ("none", "h1", "wavelet", "tv")

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_rates((self.rate,))
        if not self.regularizers or not set(self.regularizers) <= set(REGULARIZERS):
            raise ValueError(
                f"regularizers: found {self.regularizers}, expected names out of {', '.join(REGULARIZERS)}"
            )
        for name in self.regularizers:
            self.setup(regularizer=name)

    @classmethod
    def quick(cls, **options: Any) -> SamplingRegularizers:
        """Two regularizers and tiny images."""
        return cls(**{**QUICK, "regularizers": ("h1", "tv"), **options})

    def parts(self) -> Sequence[Part]:
        """The patterns first, then their use with the other regularizers."""
        titles = REGULARIZER_TITLES
        learned = [
            Part(f"learned/{r}", f"learned for {titles[r]}", partial(self._learned, r)) for r in self.regularizers
        ]
        crossed = [
            Part(f"cross/{r}/{s}", f"learned for {titles[r]}, used with {titles[s]}", partial(self._crossed, r, s))
            for r in self.regularizers
            for s in self.regularizers
            if r != s
        ]
        return [*learned, *crossed]

    def _learned(self, regularizer: RegularizerName, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup(regularizer=regularizer)
        title = REGULARIZER_TITLES[regularizer]
        return learned_record(setup, self.goal(self.rate), setup.pairs(), self.held_out(), title)

    def _crossed(self, learned: str, used: RegularizerName, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup(regularizer=used)
        mask = torch.from_numpy(unpacked(done[f"learned/{learned}"]["mask"])).bool()
        return used_with(mask, setup, setup.pairs(), self.held_out(), f"{learned} with {used}")

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Patterns and the cross tables."""
        learned, crossed = results.below("learned"), results.below("cross")
        tables = [_table(learned, crossed, metric) for metric in METRICS] if learned else []
        return [
            Section(
                "patterns", "A pattern for every regularizer", "Equal numbers of samples; only the regularizer differs.",
                [mask_tiles(learned, "masks"), densities(learned, "density")] if learned else [],
            ),
            Section(
                "cross", "Patterns with other regularizers",
                "Rows: the regularizer that the pattern was learned for. Columns: the one it is used with.",
                [table for table in tables if table is not None],
            ),
            Section(
                "images", "Reconstructions", "One held-out image, each pattern with its own regularizer.",
                [picture_tiles(learned, "reconstructions"), rounding_table(learned)] if learned else [],
            ),
        ]  # fmt: skip


def _table(learned: Mapping[str, Any], crossed: Mapping[str, Any], metric: str) -> Content | None:
    """Mean quality of every pattern with every regularizer, and the difference to the pattern learned for it."""
    if not all(metric in record["quality"] for record in learned.values()):
        return None
    name, unit, decimals = METRICS[metric]
    rows = []
    for row in learned:
        cells = [REGULARIZER_TITLES[row]]
        for use in learned:
            record = learned[row] if row == use else crossed.get(f"{row}/{use}")
            if record is None:
                cells.append("")
                continue
            text = f"{mean_of(record, metric):.{decimals}f}"
            change = "" if row == use else f" ({paired(record, learned[use], metric).mean:+.{decimals}f})"
            cells.append(text + change)
        rows.append(cells)
    head = ["pattern learned for", *(f"used with {REGULARIZER_TITLES[r]}" for r in learned)]
    note = f"Means over held-out images; in brackets the difference to the pattern learned for that use. {DATA_RANGE}"
    return Table(f"{name} ({unit})" if unit else name, head, rows, note)
