"""Figures and tables of ``denoise-kodak``, from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bilearn.experiments.contents import Content, Figure, Panel, Pictures, Section, Table
from bilearn.experiments.records import Results, column, numbers, unpacked
from bilearn.report.charts import Band, Chart, Curve, Rule, axis_for
from bilearn.report.formatting import number, short_count
from bilearn.report.gallery import Column

_SETTLED = 0.1
"""alpha / sigma counts as settled where it differs by less than this part from one level to the next."""
_PICTURES = 3
_STYLES = {"alpha": "run-1", "nu": "run-3", "xi": "run-2"}

Level = Mapping[str, Any]


def sections(results: Results) -> Sequence[Section]:
    """Everything that the records allow."""
    by_start = _by_start(results)
    best = _best(by_start)
    return [
        Section(
            "parameters",
            "Learned parameters against noise",
            "Does alpha/sigma settle? The better of the two starts counts; rings show the other one.",
            _parameters(best, by_start) if best else [],
        ),
        Section(
            "noise",
            "What is left of the noise, and how well that is known",
            "The loss of the reconstructions relative to the loss of the data: 1 means that nothing was removed. Certified "
            "intervals say whether so small a difference is proved: the images have gray values about 1, so that rounding "
            "in float64 limits the relative accuracy of the loss at small noise.",
            _noise(best) if best else [],
        ),
        Section(
            "reconstructions",
            "Reconstructions",
            "The first image at the largest noise levels, with the parameters learned there.",
            _pictures(best) if best else [],
        ),
    ]


def _by_start(results: Results) -> dict[float, list[Level]]:
    """Results of every level, both starts, from large to small noise."""
    found: dict[float, list[Level]] = {}
    for record in results.below("level").values():
        found.setdefault(float(record["level"]), []).append(record)
    return dict(sorted(found.items(), reverse=True))


def _best(by_start: Mapping[float, Sequence[Level]]) -> list[Level]:
    return [min(records, key=lambda r: float(r["upper"])) for records in by_start.values()]


def settled(best: Sequence[Level]) -> list[Level]:
    """The smallest levels over which alpha / sigma changes by less than a tenth from one to the next."""
    ratio = [float(r["parameters"]["alpha"]) / float(r["level"]) for r in best]
    first = len(best) - 1
    while first > 0 and abs(ratio[first - 1] / ratio[first] - 1.0) < _SETTLED:
        first -= 1
    return list(best[first:]) if len(best) - first > 1 else []


def _parameters(best: Sequence[Level], by_start: Mapping[float, Sequence[Level]]) -> list[Content]:
    others = [r for records in by_start.values() for r in records if not any(r is b for b in best)]
    other = numbers([r["parameters"]["alpha"] for r in others])
    level = column(best, "level")
    values = {n: numbers([r["parameters"][n] for r in best]) for n in _STYLES}
    alpha = Chart(
        axis_for(level, log=True), axis_for([*values["alpha"], *level, *other], log=True), "noise level sigma", "learned alpha",
        curves=[
            Curve(level, level, "truth", "alpha = sigma"),
            Curve(column(others, "level"), other, "run-1", "other start",
                  line=False, dots=True, hollow=True),
            Curve(level, values["alpha"], "run-1", "alpha", dots=True),
        ],
    )  # fmt: skip
    ratios = {n: values[n] / level for n in ("alpha", "nu")}
    ratio = Chart(
        axis_for(level, log=True), axis_for(np.concatenate(list(ratios.values())), log=True), "noise level sigma",
        "parameter / sigma", curves=[Curve(level, ratios[n], _STYLES[n], f"{n} / sigma", dots=True) for n in ratios],
    )  # fmt: skip
    panels = [Panel("Learned alpha", alpha), Panel("Relative to the noise", ratio)]
    return [Figure("alpha-against-noise", panels, note=_verdict(best)), _parameter_table(best, by_start)]


def _verdict(best: Sequence[Level]) -> str:
    flat = settled(best)
    if not flat:
        return "Over these levels alpha/sigma does not settle."
    ratios = [float(r["parameters"]["alpha"]) / float(r["level"]) for r in flat]
    return (
        f"From sigma = {float(flat[0]['level']):g} down to {float(flat[-1]['level']):g} alpha/sigma stays within "
        f"[{min(ratios):.4g}, {max(ratios):.4g}]."
    )


def _parameter_table(best: Sequence[Level], by_start: Mapping[float, Sequence[Level]]) -> Table:
    rows = []
    for record in best:
        level, found = float(record["level"]), record["parameters"]
        others = [r for r in by_start[level] if r is not record]
        rows.append(
            [
                f"{level:g}", *(number(float(found[n]), 4, plain=True) for n in ("alpha", "xi", "nu")),
                number(found["alpha"] / level, 4, plain=True), number(found["nu"] / level, 3, plain=True),
                *(number(float(o["upper"]) / float(record["upper"]) - 1.0, 2, plain=True) for o in others),
                *(() if others else ("-",)),
                str(len(record["evaluations"])), short_count(record["steps"][-1]["work"]),
                f"{record['steps'][-1]['seconds']:.1f}", record["status"],
            ]
        )  # fmt: skip
    head = [
        "sigma", "alpha", "xi", "nu", "alpha/sigma", "nu/sigma", "other start is above by", "evaluations", "gradients", "CPU s",
        "ended because",
    ]  # fmt: skip
    return Table("Learned parameters", head, rows, _verdict(best))


def _share(record: Level, key: str) -> float:
    return float(record[key]) / float(record["data_loss"])


def _noise(best: Sequence[Level]) -> list[Content]:
    level = column(best, "level")
    value, lower, upper = (np.array([_share(r, key) for r in best]) for key in ("value", "lower", "upper"))
    removed = Chart(
        axis_for(level, log=True), axis_for(1.0 - value, log=True), "noise level sigma", "removed part of the noise energy",
        bands=[Band(level, np.maximum(1.0 - upper, 1e-12), np.maximum(1.0 - lower, 1e-12), "run-1", "certified")],
        curves=[Curve(level, 1.0 - value, "run-1", "1 - loss / loss of the data", dots=True)],
    )  # fmt: skip
    width = (upper - lower) / value
    accuracy = Chart(
        axis_for(level, log=True), axis_for([*width, *(1.0 - value)], log=True), "noise level sigma", "relative to the loss",
        rules=[Rule(1e-10, "warn", "accuracy asked for")],
        curves=[
            Curve(level, width, "run-2", "certified width of F", dots=True),
            Curve(level, 1.0 - value, "run-1", "removed part", dots=True),
        ],
    )  # fmt: skip
    rows = [
        [
            f"{float(r['level']):g}", number(float(r["data_loss"]), 5, plain=True), number(float(r["value"]), 9, plain=True),
            f"[{float(r['lower']):.9e}, {float(r['upper']):.9e}]", number(1.0 - _share(r, "value"), 3, plain=True),
            number(float(r["upper"]) / float(r["lower"]) - 1.0, 2, plain=True),
            "float64" if r["floor"] else "accuracy asked for", "yes" if r["certified"] else "no",
            number(float(r["radius"]), 2, plain=True),
        ]
        for r in best
    ]  # fmt: skip
    head = [
        "sigma",
        "loss of the data",
        "loss F",
        "interval",
        "removed part",
        "relative width",
        "limited by",
        "certified",
    ]
    note = (
        "The interval is asked for to 1e-10 of F; 'float64' means that rounding, which every certificate includes, ended the "
        "solves before. The radius bounds the 2-norm of the distance to the exact reconstruction."
    )
    panels = [Panel("Removed part of the noise", removed), Panel("Certified accuracy", accuracy)]
    return [
        Figure("noise-left", panels),
        Table("Loss and its certified interval, mean over the images", head, rows, note),
    ]


def _pictures(best: Sequence[Level]) -> list[Content]:
    rows = []
    for record in best[:_PICTURES]:
        level, truth = float(record["level"]), unpacked(record["truth"])
        error, noise = level * unpacked(record["error"]), level * unpacked(record["data_error"])
        columns = [
            Column("truth", truth, "truth"),
            Column("data", truth + noise, "noisy", f"PSNR {_psnr(noise):.2f} dB"),
            Column("learned", truth + error, "learned", f"PSNR {_psnr(error):.2f} dB"),
        ]
        rows.append((f"sigma = {level:g}", columns))
    return [Pictures("reconstructions", rows)]


def _psnr(error: np.ndarray) -> float:
    return -10.0 * math.log10(float(np.mean(error**2)))
