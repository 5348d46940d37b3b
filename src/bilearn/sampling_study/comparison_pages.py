"""Tables and figures of masks at equal numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bilearn.experiments.contents import Content, Figure, Panel, Table
from bilearn.experiments.records import unpacked
from bilearn.report.charts import Chart, Curve, axis_for
from bilearn.report.formatting import number
from bilearn.sampling_study.comparison import METRICS, before_and_after, mean_of, paired, rate_of
from bilearn.sampling_study.figures import caption_of, density_panel, pattern_tile, spread_tile
from bilearn.sampling_study.reconstruction import DATA_RANGE
from bilearn.sampling_study.tiles import Tiles, reconstruction_tiles

Record = Mapping[str, Any]
LEARNED_KEY = "learned"
_COLORS = ("run-1", "run-2", "run-3", "run-4", "run-5", "run-6", "default", "noisy")
_WIDE = 6
_SHOWN = 4


def quality_table(records: Mapping[str, Record], reference: str | None = LEARNED_KEY, title: str = "") -> Table:
    """One line per mask: samples, alpha, training loss, mean quality, and the reference minus it, image by image.

    Args:
        records: masks by key, judged on the same images.
        reference: key of the mask the others are compared with; without differences if it is not there.
        title: of the table.
    """
    base = None if reference is None else records.get(reference)
    metrics = [m for m in METRICS if all(m in r["quality"] for r in records.values())]
    ranked = sorted(records.items(), key=lambda entry: -mean_of(entry[1], "psnr"))
    rows = []
    for key, record in ranked:
        row = [
            record["title"], str(record["samples"]), number(float(record["alpha"]), 3, plain=True),
            number(float(record["loss"]), 4, plain=True),
        ]  # fmt: skip
        for metric in metrics:
            decimals = METRICS[metric][2]
            row.append(f"{mean_of(record, metric):.{decimals}f}")
            if base is not None:
                row.append("" if key == reference else paired(base, record, metric).text(decimals))
        rows.append(row)
    head = ["mask", "samples", "alpha", "training loss"]
    for metric in metrics:
        name, unit, _ = METRICS[metric]
        head += [f"{name} ({unit})" if unit else name]
        head += [] if base is None else [f"{base['title']} minus it"]
    images = len(next(iter(records.values()))["quality"]["psnr"])
    note = (
        f"Means over {images} held-out images. {DATA_RANGE} Alpha is tuned for every mask on the training images. "
        + ("Differences: mean ± standard deviation over images (images on which it is better)." if base else "")
    )
    return Table(title or "Quality on held-out images", head, rows, note.strip())


def rate_figure(by_rate: Sequence[Mapping[str, Record]], name: str = "quality-against-rate") -> Content:
    """PSNR and SSIM against rate, a curve for every mask."""
    found = dict.fromkeys(key for records in by_rate for key in records)
    keys = [*(key for key in found if key != LEARNED_KEY), *(key for key in found if key == LEARNED_KEY)]
    panels = []
    for metric, (title, unit, _) in METRICS.items():
        curves = []
        for k, key in enumerate(keys):
            found = [r[key] for r in by_rate if key in r and metric in r[key]["quality"]]
            if not found:
                continue
            x = np.asarray([100 * rate_of(r) for r in found])
            y = np.asarray([mean_of(r, metric) for r in found])
            order = np.argsort(x)
            style = "truth" if key == LEARNED_KEY else _COLORS[k % len(_COLORS)]
            curves.append(
                Curve(
                    x[order],
                    y[order],
                    style,
                    found[0]["title"],
                    dots=True,
                    hollow=k >= len(_COLORS) and key != LEARNED_KEY,
                )
            )
        if not curves:
            continue
        x, y = (
            np.concatenate([np.asarray(v) for v in axis]) for axis in zip(*((c.x, c.y) for c in curves), strict=True)
        )
        low = max(float(y.min()), float(np.quantile(y, 0.1)))
        axes = axis_for(x), axis_for([low, float(y.max())])
        label = f"{title} ({unit})" if unit else title
        panels.append(
            Panel(
                f"{title} on held-out images", Chart(*axes, "samples (% of k-space)", label, curves=curves, height=420)
            )
        )
    return Figure(name, panels, 2)


def mask_tiles(records: Mapping[str, Record], name: str) -> Content:
    """The masks, zero frequency in the middle."""
    tiles = [
        pattern_tile(r["title"], unpacked(r["mask"]), f"{r['samples']} samples\n{caption_of(_means(r))}")
        for r in records.values()
    ]
    rows = [("", tiles[k : k + _WIDE]) for k in range(0, len(tiles), _WIDE)]
    return Tiles(name, rows, "Zero frequency in the middle; mean quality on held-out images.")


def spread_tiles(records: Mapping[str, Record], name: str) -> Content:
    """Point spread functions of the masks."""
    tiles = [spread_tile(r["title"], unpacked(r["mask"])) for r in records.values()]
    rows = [("", tiles[k : k + _WIDE]) for k in range(0, len(tiles), _WIDE)]
    return Tiles(name, rows, "Decibel below the peak, from 0 (yellow) to -60 (dark).")


def densities(records: Mapping[str, Record], name: str) -> Content:
    """Densities against |k| of the best masks."""
    best = _best(records)
    return Figure(name, [density_panel([(r["title"], unpacked(r["mask"])) for r in best])], 1)


def picture_tiles(records: Mapping[str, Record], name: str) -> Content:
    """One held-out image from the best masks, with zoom and error."""
    best = _best(records)
    number_ = best[0]["picture"]["number"]
    images = [
        (r["title"], unpacked(r["picture"]["image"]), caption_of({m: v[number_] for m, v in r["quality"].items()}))
        for r in reversed(best)
    ]
    rows = reconstruction_tiles(unpacked(best[0]["picture"]["truth"]), images)
    return Tiles(name, rows, f"Held-out image {number_}. Errors: blue too dark, red too bright, all on one scale.")


def rounding_table(records: Mapping[str, Record]) -> Table:
    """Learned masks: loss and training PSNR before and after rounding, with intervals."""
    rows = []
    for record in records.values():
        before, after = before_and_after(record)
        change = float(after["psnr"]) - float(before["psnr"])
        rows.append(
            [
                record["title"], f"{before['degrees']:.1f}", str(after["samples"]),
                *(number(float(m["loss"]), 5, plain=True) for m in (before, after)),
                f"[{float(after['lower']):.6g}, {float(after['upper']):.6g}]", f"{change:+.2f}",
                f"{sum(a['seconds'] for a in record['learning']['attempts']):.0f}",
            ]
        )  # fmt: skip
    head = [
        "mask",
        "degrees",
        "samples",
        "loss before",
        "loss after",
        "certified interval",
        "PSNR change (dB)",
        "CPU s",
    ]
    note = "Training loss before rounding to zeros and ones, and after rounding, tuning alpha and exchanging samples."
    return Table("Rounding", head, rows, note)


def _best(records: Mapping[str, Record]) -> list[Record]:
    """The learned mask, if any, and the best others, at most four."""
    ranked = sorted(records.items(), key=lambda entry: (entry[0] != LEARNED_KEY, -mean_of(entry[1], "psnr")))
    return [record for _, record in ranked[:_SHOWN]]


def _means(record: Record) -> dict[str, float]:
    return {metric: mean_of(record, metric) for metric in record["quality"]}
