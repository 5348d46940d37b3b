"""Tables of learned patterns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bilearn.experiments.contents import Table
from bilearn.report.formatting import interval, number
from bilearn.sampling_study.reconstruction import DATA_RANGE


def result_table(record: Mapping[str, Any]) -> Table:
    """Moments of the best start: value with its interval, samples, alpha, PSNR."""
    attempt = next(a for a in record["attempts"] if a["name"] == record["best"])
    rows = []
    for moment in attempt["snapshots"]:
        proved = interval(float(moment["lower"]), float(moment["upper"]), plain=True)
        alpha = ", ".join(number(float(v), 3, plain=True) for v in moment["parameters"].values())
        rows.append(
            [
                moment["name"], f"{moment['degrees']:.1f}", str(moment["samples"]),
                number(float(moment["value"]), 5, plain=True),
                proved if moment["certified"] else f"{proved} (estimated)", alpha, f"{float(moment['psnr']):.2f}",
            ]
        )  # fmt: skip
    head = ["moment", "degrees", "positive", "value", "certified interval", "alpha", "PSNR (dB)"]
    note = (
        f"Start {record['best']}: {attempt['status']}. Mask: {record['samples']} of {record['points']} points, "
        f"{100 * record['rate']:.2f} %; training images: {mean_quality(record['quality'])}. {DATA_RANGE} "
        "Values of relaxed and returned contain penalties where there are any."
    )
    return Table("From degrees to a mask", head, rows, note)


def starts_table(record: Mapping[str, Any]) -> Table:
    """All starts, the best one marked."""
    rows = []
    for attempt in record["attempts"]:
        last = attempt["snapshots"][-1]
        rows.append(
            [
                attempt["name"] + (" (best)" if attempt["name"] == record["best"] else ""),
                number(float(last["value"]), 5, plain=True), str(last["samples"]), f"{float(last['psnr']):.2f}",
                str(attempt["returned"]), str(attempt["exchanged"]), "yes" if attempt["collapsed"] else "no",
                f"{attempt['cost'].get('evaluations', 0):.0f}", f"{attempt['cost'].get('hessian_products', 0):.0f}",
                f"{attempt['seconds']:.1f}",
            ]
        )  # fmt: skip
    head = [
        "start", "value of the mask", "samples", "PSNR (dB)", "returned", "exchanged", "collapsed", "evaluations",
        "Hessian products", "CPU s",
    ]  # fmt: skip
    return Table("Starts", head, rows)


def mean_quality(quality: Mapping[str, Sequence[float]]) -> str:
    """Mean PSNR and SSIM in words."""
    names = {"psnr": ("PSNR", 2, " dB"), "ssim": ("SSIM", 4, "")}
    return ", ".join(
        f"{names[name][0]} {statistics.fmean(map(float, values)):.{names[name][1]}f}{names[name][2]}"
        for name, values in quality.items()
    )
