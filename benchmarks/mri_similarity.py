"""Masks of ``bilearn experiment sampling-baselines`` again, with alpha tuned for structural similarity instead of error.

    python benchmarks/mri_similarity.py RUN [RUN ...]

For every mask of the runs, alpha on a grid of ratio 1.3 that maximizes the mean SSIM of the training images; then the held-out
images: mean PSNR and SSIM, and the learned mask minus the others, image by image, with the standard deviation.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from _common import machine, show

from bilearn.experiments.records import Results, numbers, unpacked
from bilearn.sampling import magnitude_quality
from bilearn.sampling_study.reconstruction import reconstruct
from bilearn.sampling_study.setup import Pairs, StudySetup, load_pairs

RATIO, FEWEST = 1.3, 0.3
"""Of the grid; masks whose SSIM with alpha tuned for the error is below ``FEWEST`` are left out."""


def quality(setup: StudySetup, mask: torch.Tensor, alpha: float, pairs: Pairs) -> dict[str, list[float]]:
    return magnitude_quality(reconstruct(setup.energy(mask, alpha), pairs.kspace), pairs.truth)


def best_alpha(setup: StudySetup, mask: torch.Tensor, start: float, training: Pairs) -> float:
    """Uphill on the grid from the alpha that was tuned for the error."""
    alpha, best = start, statistics.fmean(quality(setup, mask, start, training)["ssim"])
    while True:
        value = statistics.fmean(quality(setup, mask, RATIO * alpha, training)["ssim"])
        if value <= best:
            return alpha
        alpha, best = RATIO * alpha, value


def rows_of(run: Path) -> list[list[str]]:
    results = Results.read(run)
    options: dict[str, Any] = dict(results.options)
    setup = StudySetup(
        tuple(options["images"]), options["size"], options["count"], options["noise"],
        regularizer=options["regularizer"], pattern=options["pattern"], seed=options["seed"],
    )  # fmt: skip
    training, test = setup.pairs(), load_pairs(tuple(options["test"]), setup, options["test_count"], setup.seed + 1000)
    rows: list[list[str]] = []
    rates: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for key, record in results.below("rate").items():
        rates.setdefault(key.split("/")[0], []).append((key.split("/")[-1], record))
    for samples, masks in rates.items():
        found: dict[str, tuple[str, float, dict[str, list[float]]]] = {}
        for name, record in masks:
            if statistics.fmean(numbers(record["quality"]["ssim"]).tolist()) < FEWEST:
                continue
            mask = torch.from_numpy(unpacked(record["mask"])).double()
            alpha = best_alpha(setup, mask, float(record["alpha"]), training)
            found[name] = (record["title"], alpha, quality(setup, mask, alpha, test))
        rows += compared(samples, found)
    return rows


def compared(samples: str, found: dict[str, tuple[str, float, dict[str, list[float]]]]) -> list[list[str]]:
    """A row for each mask of one number of samples."""
    mine = found["learned"][2]
    rows = []
    for title, alpha, theirs in found.values():
        differences = {k: [a - b for a, b in zip(mine[k], theirs[k], strict=True)] for k in mine}
        cells = [
            f"{statistics.fmean(differences[k]):+.{d}f} ± {statistics.stdev(differences[k]):.{d}f}"
            for k, d in (("psnr", 2), ("ssim", 4))
        ]
        means = f"{statistics.fmean(theirs['psnr']):.2f}", f"{statistics.fmean(theirs['ssim']):.4f}"
        rows.append([samples, title, f"{alpha:.4f}", means[0], cells[0], means[1], cells[1]])
        print(*rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for run in options.runs for row in rows_of(run)]
    columns = ["samples", "mask", "alpha", "PSNR", "learned minus it", "SSIM", "learned minus it"]
    show(f"alpha tuned for SSIM, {machine(1)}", columns, rows)


if __name__ == "__main__":
    main()
