"""``sampling-sparsity``: larger prices, fewer samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bilearn.experiments.contents import Figure, Panel, Section
from bilearn.experiments.experiment import Part
from bilearn.experiments.records import Results, column
from bilearn.experiments.sampling_common import QUICK, SamplingExperiment
from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.sampling_study.comparison import learned_record, mean_of, rate_of
from bilearn.sampling_study.comparison_pages import densities, mask_tiles, picture_tiles, quality_table, rounding_table


@dataclass(frozen=True)
class SamplingSparsity(SamplingExperiment):
    """Patterns learned with the penalty beta mean(s) + beta mean(s (1 - s)) for growing beta.

    Args:
        betas: prices.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "sampling-sparsity"
    purpose = "MRI sampling: patterns learned with growing prices of samples, and what they cost in quality."

    betas: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    count: int = 7
    starts: tuple[str, ...] = ("0.5",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.betas or min(self.betas) <= 0 or len(set(self.betas)) < len(self.betas):
            raise ValueError(f"betas: found {self.betas}, expected positive prices, each once")

    @classmethod
    def quick(cls, **options: Any) -> SamplingSparsity:
        """Two prices for tiny images."""
        return cls(**{**QUICK, "betas": (1e-3, 1e-2), **options})

    def parts(self) -> Sequence[Part]:
        """One learned pattern for each price."""
        return [Part(f"beta/{beta:g}", f"beta {beta:g}", partial(self._learned, beta)) for beta in self.betas]

    def _learned(self, beta: float, done: Mapping[str, Any]) -> dict[str, Any]:
        setup, goal = self.setup(), self.goal(penalty=(beta, beta))
        record = learned_record(setup, goal, setup.pairs(), self.held_out(), f"beta {beta:g}")
        return {**record, "beta": beta}

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Patterns, rates and quality against the price."""
        records = results.below("beta")
        if not records:
            return [Section("sparsity", "Increasing sparsity", "Patterns for growing prices.", [])]
        rows = list(records.values())
        betas = column(rows, "beta")
        panels = []
        for title, values in (
            ("samples (% of k-space)", [100 * rate_of(r) for r in rows]),
            ("PSNR (dB), held-out images", [mean_of(r, "psnr") for r in rows]),
        ):
            curve = Curve(betas, np.asarray(values), "run-1", dots=True)
            panels.append(
                Panel(title, Chart(axis_for(betas, log=True), axis_for(values), "beta", title, curves=[curve]))
            )
        return [
            Section(
                "sparsity", "Increasing sparsity", "Masks after rounding; larger prices, fewer samples.",
                [
                    mask_tiles(records, "masks"), Figure("sparsity", panels), quality_table(records, None),
                    rounding_table(records),
                ],
            ),
            Section(
                "images", "Reconstructions and densities", "One held-out image.",
                [picture_tiles(records, "reconstructions"), densities(records, "density")],
            ),
        ]  # fmt: skip
