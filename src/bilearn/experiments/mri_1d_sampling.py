"""``mri-1d-sampling``: which Fourier coefficients of 1-D signals are worth measuring?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from bilearn.experiments.contents import Content, Figure, Panel, Section, Table
from bilearn.experiments.experiment import Experiment, Part
from bilearn.experiments.records import Results, column, numbers
from bilearn.experiments.trace import Exact, trace
from bilearn.problems import mri_sampling_1d
from bilearn.report.charts import Band, Chart, Curve, Rule, axis_for
from bilearn.report.formatting import number, short_count
from bilearn.upper import DynamicDFO, UpperOptimizer
from bilearn.upper.default import default_optimizer

METHODS = {"default": "default method", "dynamic": "dynamic DFO"}
_STYLES = {"default": "run-3", "dynamic": "run-1"}
_SHOWN = 2
_GAPS = (0.05, 0.01, 0.001)
_FLOOR = 1e-10
"""Relative gaps below this are drawn there: the optimal value is known to about so many digits."""
_AT_BOUND = 1e-6


@dataclass(frozen=True)
class MRI1DSampling(Experiment):
    """64 sampling weights c, their learned pattern, and reconstructions: the default method and dynamic DFO.

    The problem is :func:`bilearn.problems.mri_sampling_1d`: ten signals, data term weighted by c/(1 - c), penalty 0.1 |c|_1.

    Args:
        seed: without effect, data and noise are the published ones.
        evaluations: upper-level evaluations of each method at most; derivative-free models need 65 to begin with.
        methods: what to run, out of ``METHODS``.

    Raises:
        ValueError: if an option is out of range.
    """

    name = "mri-1d-sampling"
    purpose = "1-D MRI: 64 learned sampling weights with a sparsity penalty, default method against dynamic DFO."

    evaluations: int = 300
    methods: tuple[str, ...] = tuple(METHODS)

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(f"evaluations: found {self.evaluations}, expected at least 1")
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown or not self.methods:
            raise ValueError(f"methods: found {unknown or 'none'}, expected names out of {sorted(METHODS)}")

    @classmethod
    def quick(cls, **options: Any) -> MRI1DSampling:
        """Few evaluations of the default method."""
        return cls(**{"evaluations": 4, "methods": ("default",), **options})

    def parts(self) -> Sequence[Part]:
        """One run of each method."""
        return [Part(f"run/{method}", METHODS[method], partial(self._run, method)) for method in self.methods]

    def _run(self, method: str, done: Mapping[str, Any]) -> dict[str, Any]:
        """One run from the published start, and reconstructions of the first signals before and after it."""
        known = mri_sampling_1d()
        optimizer: UpperOptimizer[Any] = DynamicDFO(max_evaluations=self.evaluations)
        if method == "default":
            optimizer = default_optimizer(known.objective.parameters, least_squares=True)
        exact = Exact(mri_sampling_1d().objective)
        record = trace(optimizer, known.objective, known.start, exact, 10_000, self.evaluations)
        pictures = {}
        for name, theta in (("start", known.start), ("learned", record["steps"][-1]["theta"])):
            fresh = mri_sampling_1d().objective
            found = fresh.value(theta)
            x = fresh.reconstructions
            assert x is not None
            assert found.residual_bounds is not None
            pictures[name] = {"real": x[:_SHOWN, 0], "radius": found.residual_bounds[:_SHOWN]}
        return record | {
            "optimum": known.optimum,
            "minimizer": known.minimizer,
            "lower": known.objective.parameters.lower,
            "frequency": torch.fft.fftfreq(len(known.start), 1.0 / len(known.start)),
            "truth": known.objective.target[:_SHOWN, 0],
            "pictures": pictures,
        }

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Pattern, reconstructions, objective against cost."""
        runs = results.below("run")
        return [
            Section(
                "pattern", "Learned sampling weights",
                "Weight c of every frequency; those at the lower bound 0.001 are not worth their price in the penalty.",
                _pattern(runs) if runs else [],
            ),
            Section(
                "reconstructions", "Reconstructions",
                "Real parts, with the weights at the start and with the learned ones. Bands are certified in every sample.",
                _reconstructions(runs) if runs else [],
            ),
            Section(
                "cost", "Objective against cost",
                "Exact objective at the best weights so far, relative to the best known value.",
                _cost(runs) if runs else [],
            ),
        ]  # fmt: skip


def _pattern(runs: Mapping[str, Mapping[str, Any]]) -> list[Content]:
    panels = []
    for method, record in runs.items():
        frequency = numbers(record["frequency"])
        order = np.argsort(frequency)
        learned = numbers(record["steps"][-1]["theta"])[order]
        x = frequency[order]
        best = numbers(record["minimizer"])[order]
        kept = int((learned > numbers(record["lower"])[order] + _AT_BOUND).sum())
        chart = Chart(
            axis_for(x), axis_for([0.0, *learned, *best], padding=0.03), "frequency", "weight c",
            curves=[
                Curve(x, best, "truth", "best known", line=False, dots=True, hollow=True),
                Curve(x, learned, _STYLES[method], f"learned, {METHODS[method]}", dots=True),
            ],
        )  # fmt: skip
        panels.append(Panel(f"{METHODS[method]}: {kept} of {x.size} frequencies above their lower bound", chart))
    return [Figure("pattern", panels)]


def _reconstructions(runs: Mapping[str, Mapping[str, Any]]) -> list[Content]:
    record = runs.get("default", next(iter(runs.values())))
    panels = []
    for k, truth in enumerate(numbers(record["truth"])):
        sample = np.arange(truth.size)
        curves, bands = [Curve(sample, truth, "truth", "truth")], []
        for name, style in (("start", "run-2"), ("learned", "run-3")):
            x = numbers(record["pictures"][name]["real"])[k]
            radius = float(record["pictures"][name]["radius"][k])
            bands.append(Band(sample, x - radius, x + radius, style, f"certified, radius {number(radius, 2)}"))
            curves.append(Curve(sample, x, style, name))
        y = np.concatenate([np.asarray(c.y) for c in curves])
        panels.append(
            Panel(f"Signal {k + 1}", Chart(axis_for(sample), axis_for(y), "sample", "real part", bands, (), curves))
        )
    return [Figure("reconstructions", panels)]


def _gaps(record: Mapping[str, Any]) -> np.ndarray:
    return np.maximum(column(record["steps"], "exact") / float(record["optimum"]) - 1.0, _FLOOR)


def _cost(runs: Mapping[str, Mapping[str, Any]]) -> list[Content]:
    panels = []
    for key, text in (("evaluations", "evaluations"), ("work", "lower-level gradients")):
        curves = [
            Curve(column(r["steps"], key), _gaps(r), _STYLES[m], METHODS[m], dots=len(r["steps"]) < 3)
            for m, r in runs.items()
        ]
        x, y = (
            np.concatenate([np.asarray(v) for v in axis]) for axis in zip(*((c.x, c.y) for c in curves), strict=True)
        )
        axes = axis_for(x, log=True), axis_for(np.maximum(y, 1e-5), log=True)
        rules = [Rule(1e-3, "warn", "0.1 %")]
        panels.append(Panel(f"Against {text}", Chart(*axes, text, "exact F / best known - 1", (), rules, curves)))
    rows = []
    for method, record in runs.items():
        steps, gaps, last = record["steps"], _gaps(record), record["steps"][-1]
        first = [next((s for s, g in zip(steps, gaps, strict=True) if g <= goal), None) for goal in _GAPS]
        reached = ["never" if s is None else f"{s['evaluations']} / {short_count(s['work'])}" for s in first]
        rows.append(
            [
                METHODS[method], *reached, str(len(record["evaluations"])), short_count(last["work"]), f"{last['seconds']:.1f}",
                f"{last['exact']:.9g}", number(max(last["exact"] / record["optimum"] - 1.0, 0.0), 2, plain=True),
                record["status"],
            ]
        )  # fmt: skip
    head = [
        "method", *(f"evaluations / gradients to {100 * g:g} %" for g in _GAPS), "evaluations", "gradients", "CPU s", "exact F",
        "above best", "ended because",
    ]  # fmt: skip
    note = f"Best known value {next(iter(runs.values()))['optimum']:.10g}. Gradients are summed over the ten signals."
    return [Figure("cost", panels), Table("Work to reach the best known value", head, rows, note)]
