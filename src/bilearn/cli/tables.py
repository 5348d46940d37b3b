"""Tables of figures per image."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bilearn.report.printing import print_table
from bilearn.run_records import ImageRow

_LABELS = {"psnr": "PSNR", "ssim": "SSIM"}
_DIGITS = {"psnr": 2, "ssim": 4}


def columns(rows: Sequence[ImageRow]) -> list[tuple[str, str]]:
    """(metric, stage) of every column, in order of appearance."""
    return list(dict.fromkeys((metric, stage) for row in rows for metric, f in row.figures.items() for stage in f))


def metric_table(rows: Sequence[ImageRow], console: Console | None = None) -> None:
    """Print one line per image, the mean and the standard deviation."""
    found = columns(rows)
    table = Table("image")
    for metric, stage in found:
        table.add_column(f"{_LABELS.get(metric, metric)}\n{stage}", justify="right")
    for row in rows:
        table.add_row(row.name, *(_figure(metric, row.figures[metric][stage]) for metric, stage in found))
    table.add_section()
    values = [(metric, [row.figures[metric][stage] for row in rows]) for metric, stage in found]
    table.add_row("mean", *(_figure(metric, statistics.fmean(v)) for metric, v in values))
    table.add_row("std", *(_figure(metric, statistics.stdev(v) if len(v) > 1 else 0.0) for metric, v in values))
    print_table(console or Console(), table)


def write_csv(rows: Sequence[ImageRow], path: Path) -> None:
    """Write the table as comma-separated values."""
    found = columns(rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{metric}_{stage}" for metric, stage in found)])
        writer.writerows([row.name, *(row.figures[metric][stage] for metric, stage in found)] for row in rows)


def _figure(metric: str, value: float) -> str:
    return f"{value:.{_DIGITS.get(metric, 4)}f}"
