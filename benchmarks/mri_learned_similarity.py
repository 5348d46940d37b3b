"""Masks improved for squared error and structural similarity together, against baselines tuned for the same loss.

    python benchmarks/mri_learned_similarity.py --rates 0.1 0.2 0.3 0.4

The loss is |x - x*|^2 / (2 n) + weight (1 - SSIM of the magnitudes). The largest training coefficients, made symmetric, are
improved by measured exchanges (:func:`bilearn.mri.masks.exchange_mask`), alpha tuned after every round. All slices of
``brain-train``, each with ``--draws`` phases and noises, to learn from; all of ``brain-test`` to judge: mean PSNR and SSIM,
and the learned mask minus the others, image by image, with the standard deviation and the number of images won.

With ``--greedy IMAGES`` also a greedy search by that loss: one nested run from the lowest frequencies through all rates (in
growing order), every further cell scored at every addition, on as many random training pairs, alpha that of the low-pass mask
of the next rate. ``--keep`` keeps it after every addition.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from _common import machine, show
from scipy.optimize import minimize_scalar
from torch import Tensor

from bilearn._files import replacing
from bilearn.losses import SimilarityError
from bilearn.mri.masks import GreedyRun, exchange_mask, greedy_mask, low_pass, mean_energy
from bilearn.mri.pattern import mirrored
from bilearn.sampling import ReconstructionScore, magnitude_quality
from bilearn.sampling_study.methods import GreedyOptions, SearchOptions, baseline_names, drawn
from bilearn.sampling_study.reconstruction import reconstruct
from bilearn.sampling_study.setup import Pairs, StudySetup, load_pairs

BASELINES = (
    "largest-coefficients",
    "low-pass",
    "spectral-density",
    "variable-density-polynomial",
    "variable-density-gaussian",
    "poisson-disc",
    "radial",
    "spiral",
    "uniform-random",
)


@dataclass
class Model:
    """The reconstruction model of a mask and its loss on pairs."""

    setup: StudySetup
    loss: SimilarityError
    pairs: Pairs

    def value(self, mask: Tensor, weight: float) -> float:
        x = reconstruct(self.setup.energy(mask.double(), weight), self.pairs.kspace)
        return float(self.loss(x, self.pairs.truth).mean())

    def tuned(self, mask: Tensor) -> float:
        """The best alpha to about 1 %."""
        found = minimize_scalar(
            lambda exponent: self.value(mask, 10**exponent),
            bounds=(-2.5, -0.5),
            method="bounded",
            options={"xatol": 5e-3},
        )
        return float(10**found.x)


def measured(model: Model, weight: float, start: Tensor | None = None, accuracy: float = 1e-4) -> ReconstructionScore:
    """Minus the loss of masks with one alpha."""
    prior = model.setup.regularization(weight)
    return ReconstructionScore(prior, model.pairs.kspace, model.pairs.truth, model.loss, accuracy=accuracy, start=start)


def symmetric_start(pairs: Pairs, count: int) -> Tensor:
    """The pairs k, -k with the largest mean training energy, and the zero frequency; one cell less than an odd rest."""
    shape = pairs.truth.shape[-2:]
    flat = mean_energy(pairs.truth)
    opposite = mirrored(torch.arange(flat.numel()).reshape(shape)).reshape(-1)
    order = (flat + flat[opposite]).argsort(descending=True, stable=True)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    for cell in order.tolist():
        both = torch.tensor(sorted({cell, int(opposite[cell])}))
        if not mask[cell] and int(mask.sum()) + both.numel() <= count:
            mask[both] = True
    return mask.reshape(shape)


def improved(model: Model, start: Tensor, rounds: int, batch: int) -> tuple[Tensor, float, int]:
    """Mask, alpha and cells swapped after rounds of exchanges, alpha tuned for each."""
    mask, swapped = start, 0
    weight = model.tuned(mask)
    for number in range(rounds):
        x = reconstruct(model.setup.energy(mask.double(), weight), model.pairs.kspace)
        run = exchange_mask(
            measured(model, weight, x),
            mask,
            images=len(model.pairs),
            symmetric=True,
            image_batch=batch,
            rounds=1,
            seed=number,
        )
        if run.finished:
            break
        mask, swapped = run.mask, swapped + sum(run.exchanged)
        weight = model.tuned(mask)
        print(f"  round {number + 1}: {swapped} swapped, loss {-run.score:.4e}, alpha {weight:.4f}", flush=True)
    return mask, weight, swapped


def greedy(model: Model, counts: list[int], images: int, keep: Path | None) -> Iterator[Tensor]:
    """Masks with the counts, nested: every further cell is scored at every addition."""
    run = GreedyRun(low_pass(model.setup.shape, counts[0] // 10), "points")
    if keep is not None and keep.is_file():
        run = GreedyRun.from_tree(torch.load(keep))
    begin = time.process_time()

    def note(run: GreedyRun) -> None:
        if keep is not None:
            with replacing(keep) as file:
                torch.save(run.to_tree(), file)
        if run.count % 10 == 0 or run.count in counts:
            spent = f"{run.evaluations} reconstructions, {time.process_time() - begin:.0f} CPU s"
            print(f"  greedy: {run.count} samples, {spent}", flush=True)

    for count in counts:
        if run.count < count:
            score = measured(model, model.tuned(low_pass(model.setup.shape, count)), accuracy=3e-3)
            pairs = len(model.pairs)
            run = greedy_mask(score, run, count, images=pairs, image_batch=min(images, pairs), chunk=64, on_step=note)
        yield run.mask(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--weight", type=float, default=0.05)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--draws", type=int, default=2, help="phases and noises of every training slice")
    parser.add_argument("--batch", type=int, default=41, help="random pairs by which single exchanges are ranked")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--baselines", nargs="+", default=BASELINES, choices=baseline_names("points"), help="masks to compare with"
    )
    parser.add_argument(
        "--greedy", type=int, metavar="IMAGES", help="also a full greedy search, on so many pairs a step"
    )
    parser.add_argument(
        "--candidates", type=int, default=48, help="cells that the baseline named greedy scores in a step"
    )
    parser.add_argument(
        "--keep", type=Path, help="folder for the learned masks; those that are there are not learned again"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    setup = StudySetup(size=options.size, count=0)
    draws = [load_pairs(("brain-train",), setup, 0, seed) for seed in range(options.draws)]
    training = Pairs(torch.cat([d.truth for d in draws]), torch.cat([d.kspace for d in draws]))
    test = load_pairs(("brain-test",), setup, 0, 1000)
    model = Model(setup, SimilarityError(1 / (2 * setup.size**2), options.weight), training)
    rows = []
    counts = [round(rate * setup.size**2) for rate in options.rates]
    searched: Iterator[Tensor] = iter(())
    if options.greedy:
        name = f"greedy-{options.size}-{options.weight}-{counts[0]}-{options.greedy}.pt"
        kept = None if options.keep is None else options.keep / name
        searched = greedy(model, counts, options.greedy, kept)
    for rate, wanted in zip(options.rates, counts, strict=True):
        begin = time.process_time()
        kept = None if options.keep is None else options.keep / f"{options.size}-{options.weight}-{rate}.pt"
        if kept is not None and kept.is_file():
            learned, alpha, swapped = torch.load(kept)
        else:
            learned, alpha, swapped = improved(model, symmetric_start(training, wanted), options.rounds, options.batch)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save((learned, alpha, swapped), kept)
        seconds, count = time.process_time() - begin, int(learned.sum())
        masks = {f"learned, {swapped} swapped": (learned, alpha)}
        for name in options.baselines:
            search = SearchOptions(greedy=GreedyOptions(batch=options.candidates, steps=count))
            mask = drawn(name, setup, training, count, 0, search)
            masks[name] = (mask, model.tuned(mask))
        if options.greedy:
            mask = next(searched)
            masks[f"greedy, all cells, {options.greedy} pairs"] = (mask, model.tuned(mask))
        mine: dict[str, list[float]] = {}
        for name, (mask, weight) in masks.items():
            quality = magnitude_quality(reconstruct(setup.energy(mask.double(), weight), test.kspace), test.truth)
            own = not mine
            mine = mine or quality
            row = [f"{rate}", name, f"{math.log10(weight):.2f}", f"{model.value(mask, weight):.3e}"]
            for metric, digits in (("psnr", 2), ("ssim", 4)):
                d = [a - b for a, b in zip(mine[metric], quality[metric], strict=True)]
                spread = (
                    f"{statistics.fmean(d):+.{digits}f} ± {statistics.stdev(d):.{digits}f} ({sum(v > 0 for v in d)})"
                )
                row += [
                    f"{statistics.fmean(quality[metric]):.{digits}f}",
                    f"{count} samples, {seconds:.0f} CPU s" if own else spread,
                ]
            rows.append(row)
            print(*row, flush=True)
    columns = ["rate", "mask", "log10 alpha", "training loss", "PSNR", "learned minus it", "SSIM", "learned minus it"]
    title = f"{len(training)} training pairs, {len(test)} to judge, weight {options.weight}, {machine(1)}"
    show(f"Improved for squared error and SSIM, {title}", columns, rows)


if __name__ == "__main__":
    main()
