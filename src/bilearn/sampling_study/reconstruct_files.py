"""Images from the samples of a learned mask, with the weight and the coils of its run: files and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bilearn._files import replacing
from bilearn.experiments.contents import Table
from bilearn.experiments.records import plain
from bilearn.sampling import magnitude_quality
from bilearn.sampling_study.coils import ESPIRIT
from bilearn.sampling_study.directory import load_learned
from bilearn.sampling_study.figures import reconstruction_contents
from bilearn.sampling_study.learning import picture_record
from bilearn.sampling_study.reconstruction import DATA_RANGE, reconstruct
from bilearn.sampling_study.setup import load_pairs

_SEED = 2000


def reconstruct_into(run: Path, images: Sequence[str], count: int, directory: Path) -> Table:
    """Reconstruct images from the samples that a learned mask takes; returns their quality.

    K-space is simulated through the coils of the run, with noise of its own. For a run with estimated maps it is that of the
    raw file, and maps are estimated from it again, since they belong to one slice.

    Args:
        run: directory of ``bilearn sample learn``.
        images: names of sets or files, as for learning.
        count: images taken, evenly spread; 0 takes all.
        directory: gets ``image-0.npy``, ... (complex (H, W), the object where it was) and one PNG for each, with zoom and
            error; it is made.

    Raises:
        FileNotFoundError, ValueError: if the run is not finished or damaged.
        DataError: if images cannot be read.
        FileExistsError: if the directory is not empty.
    """
    setup, result = load_learned(run)
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"--output: {directory} is not empty; choose another path")
    if setup.maps == ESPIRIT:
        setup = replace(setup, images=tuple(images), count=1)
        pairs = setup.pairs()
    else:
        pairs = load_pairs(tuple(images), setup, count, setup.seed + _SEED)
    weight = next(iter(result.parameters.values()))
    x = reconstruct(setup.energy(result.mask, weight), pairs.kspace)
    quality = magnitude_quality(x, pairs.truth)
    directory.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(x):
        with replacing(directory / f"image-{k}.npy") as file:
            np.save(file, torch.complex(image[0], image[1]).numpy())
    records = [plain(picture_record(setup, result.mask, weight, pairs, k)) for k in range(len(pairs))]
    for content in reconstruction_contents(records):
        for name, picture in content.png().items():
            with replacing(directory / f"{name}.png") as file:
                file.write(picture)
    ssim = quality.get("ssim", [math.nan] * len(pairs))
    rows = [[str(k), f"{p:.2f}", f"{s:.4f}"] for k, (p, s) in enumerate(zip(quality["psnr"], ssim, strict=True))]
    samples = f"{result.samples} of {result.mask.numel()} samples, alpha {weight:.3g}."
    return Table("Reconstructions", ["image", "PSNR (dB)", "SSIM"], rows, f"{samples} {DATA_RANGE}")
