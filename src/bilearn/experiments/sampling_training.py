"""``sampling-training``: how many training images does a pattern need?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bilearn.experiments.contents import Content, Figure, Panel, Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results, column, numbers
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment, checked_rates
from bilearn.report.charts import Band, Chart, Curve, axis_for
from bilearn.sampling_study.comparison import METRICS, learned_record, mean_of
from bilearn.sampling_study.comparison_pages import mask_tiles, picture_tiles, quality_table


@dataclass(frozen=True)
class SamplingTraining(SamplingExperiment):
    """Patterns learned from 1 to 30 images, on training and on held-out images.

    Args:
        counts: numbers of training images; each set is spread evenly over all.
        rate: part of k-space.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-training"
    purpose = "MRI sampling: patterns learned from 1 to 30 training images, judged on held-out ones."

    counts: tuple[int, ...] = (1, 3, 5, 10, 20, 30)
    rate: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_rates((self.rate,))
        if not self.counts or min(self.counts) < 1 or len(set(self.counts)) < len(self.counts):
            raise ValueError(f"counts: found {self.counts}, expected numbers of images, each once")

    @classmethod
    def quick(cls, **options: Any) -> SamplingTraining:
        """One and two tiny images."""
        return cls(**{**QUICK, "counts": (1, 2), **options})

    def parts(self) -> Sequence[Part]:
        """One learned pattern for each number."""
        return [Part(f"count/{n}", f"{n} training images", partial(self._learned, n)) for n in self.counts]

    def _learned(self, count: int, done: Mapping[str, Any]) -> dict[str, Any]:
        setup = self.setup(count=count)
        title = f"{count} image" + ("s" if count > 1 else "")
        record = learned_record(setup, self.goal(self.rate), setup.pairs(), self.held_out(), title)
        return {**record, "count": count}

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Quality against the number of images, masks, reconstructions."""
        records = results.below("count")
        contents: list[Content] = []
        if records:
            contents = [_figure(list(records.values())), quality_table(records, None)]
        return [
            Section(
                "training", "Number of training images",
                "Training images flatter a pattern that was learned from few: the noise is learned too.", contents,
            ),
            Section("masks", "Masks", "What was learned.", [mask_tiles(records, "masks")] if records else []),
            Section(
                "images", "Reconstructions", "A held-out image.",
                [picture_tiles(records, "reconstructions")] if records else [],
            ),
        ]  # fmt: skip


def _figure(rows: Sequence[Mapping[str, Any]]) -> Content:
    counts = column(rows, "count")
    panels = []
    for metric, (title, unit, _) in METRICS.items():
        if not all(metric in row["quality"] for row in rows):
            continue
        test = np.asarray([mean_of(row, metric) for row in rows])
        spread = np.asarray([numbers(row["quality"][metric]).std() for row in rows])
        train = np.asarray([numbers(row["learning"]["quality"][metric]).mean() for row in rows])
        bands = [Band(counts, test - spread, test + spread, "run-1", "± standard deviation over images")]
        curves = [
            Curve(counts, test, "run-1", "held-out images", dots=True),
            Curve(counts, train, "run-2", "training images", dots=True, hollow=True),
        ]
        y = np.concatenate([test - spread, test + spread, train])
        label = f"{title} ({unit})" if unit else title
        axes = axis_for(counts, log=True), axis_for(y)
        panels.append(Panel(title, Chart(*axes, "training images", label, bands, curves=curves)))
    return Figure("quality-against-images", panels)
