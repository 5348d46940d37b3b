"""Masks learned for squared error and structural similarity together, against baselines tuned for the same loss.

    python benchmarks/mri_learned_similarity.py --rates 0.1 0.2 0.3 0.4

The loss is |x - x*|^2 / (2 n) + weight (1 - SSIM of the magnitudes). Twenty slices to learn from, ten to judge: mean PSNR
and SSIM, and the learned mask minus the others, image by image, with the standard deviation and the number of images won.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from _common import machine, show
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SimilarityError
from bilearn.sampling import Continuation, SamplingProblem, Start, learn_sampling, magnitude_quality
from bilearn.sampling.stage import Stages
from bilearn.sampling.tune import tune
from bilearn.sampling_study.methods import SearchOptions, drawn
from bilearn.sampling_study.reconstruction import reconstruct
from bilearn.sampling_study.setup import Pairs, StudySetup, load_pairs

BASELINES = ("largest-coefficients", "low-pass", "variable-density-polynomial", "spectral-density")
ESTIMATED = ImplicitHypergradient(error="estimate")


def judged(
    mask: Tensor, setup: StudySetup, loss: SimilarityError, training: Pairs, test: Pairs
) -> tuple[float, float, dict[str, list[float]]]:
    """Alpha tuned on the training pairs, their loss with it, quality of the test pairs."""
    energy = setup.energy(mask)
    problem = SamplingProblem(energy, training.kspace, training.truth, estimator=ESTIMATED, loss=loss)
    value = tune(problem, Stages(None), "tune").value
    return problem.rest_values().popitem()[1], value, magnitude_quality(reconstruct(energy, test.kspace), test.truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--weight", type=float, default=0.02)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--exchanges", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setup = StudySetup(size=options.size, count=20)
    training, test = setup.pairs(), load_pairs(("brain-test",), setup, 10, 1000)
    loss = SimilarityError(1 / (2 * setup.size**2), options.weight)
    rows = []
    for rate in options.rates:
        begin = time.process_time()
        result = learn_sampling(
            setup.energy(setup.learnable_pattern()),
            training.kspace,
            training.truth,
            rate=rate,
            starts=[Start(0.5, spectrum=0.5)],
            continuation=Continuation(max_steps=options.steps),
            max_steps=options.steps,
            max_exchanges=options.exchanges,
            loss=loss,
            estimator=ESTIMATED,
        )
        seconds = time.process_time() - begin
        masks = {"learned": result.mask.double()}
        masks |= {n: drawn(n, setup, training, result.samples, 0, SearchOptions()).double() for n in BASELINES}
        mine: dict[str, list[float]] = {}
        for name, mask in masks.items():
            alpha, value, quality = judged(mask, setup, loss, training, test)
            mine = mine or quality
            row = [f"{rate}", name, f"{alpha:.4f}", f"{value:.3e}"]
            for metric, digits in (("psnr", 2), ("ssim", 4)):
                d = [a - b for a, b in zip(mine[metric], quality[metric], strict=True)]
                row.append(f"{statistics.fmean(quality[metric]):.{digits}f}")
                spread = (
                    f"{statistics.fmean(d):+.{digits}f} ± {statistics.stdev(d):.{digits}f} ({sum(v > 0 for v in d)})"
                )
                row.append(f"{seconds:.0f} CPU s" if name == "learned" else spread)
            rows.append(row)
            print(*row, flush=True)
    columns = ["rate", "mask", "alpha", "training loss", "PSNR", "learned minus it", "SSIM", "learned minus it"]
    show(f"Learned for squared error and SSIM, {machine(1)}", columns, rows)


if __name__ == "__main__":
    main()
