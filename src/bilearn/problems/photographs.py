"""Two published denoising problems on a folder of photographs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.problems.signals import KnownProblem
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy


def kodak_images(folder: str | Path) -> Tensor:
    """Gray values (0.299 R + 0.587 G + 0.114 B)/255 of the PNG files of a folder in sorted order.

    Returns:
        (N, 1, H, W) float64.

    Raises:
        FileNotFoundError: the folder has no PNG file.
    """
    from PIL import Image

    files = sorted(Path(folder).glob("*.png"))
    if not files:
        raise FileNotFoundError(f"folder: found no PNG file in {folder}, expected the Kodak crops")
    colors = np.stack([np.asarray(Image.open(f).convert("RGB"), dtype=np.float64) for f in files])
    return torch.from_numpy(colors @ np.array([0.299, 0.587, 0.114]) / 255.0).unsqueeze(1)


def kodak(
    folder: str | Path, sigma: float = 0.1, count: int = 25, seed: int = 0, pixels: int | None = None
) -> KnownProblem:
    """Three parameters, isotropic smoothed TV with backward differences and Neumann boundary, sum of squared errors.

    The problem of Ehrhardt and Roberts (2021), or with ``pixels`` that of the upper left corners of that size.

    Noise: NumPy's legacy generator, image by image. Start (0, -1, -1), box [-7, 7] x [-7, 0]^2. The optimum for the 25
    crops at sigma 0.1 is recorded by ``benchmarks/kodak.py``; it is NaN here, since it depends on the folder.
    """
    x = kodak_images(folder)[:count, :, :pixels, :pixels]
    generator = np.random.RandomState(seed)
    noise = np.stack([generator.randn(*image.shape[-2:]) for image in x])
    y = x + sigma * torch.from_numpy(noise).unsqueeze(1)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(1.0, 0.1, 0.1))
    objective = ReducedObjective(energy, y, x, SquaredError(), reduction="sum")
    nan = torch.full((3,), float("nan"), dtype=torch.float64)
    return KnownProblem(objective, torch.tensor([0.0, -1.0, -1.0], dtype=torch.float64), float("nan"), nan)


def published_tv(folder: str | Path, pixels: int = 96, sigma: float = 0.1, seed: int = 19) -> KnownProblem:
    """The TV problem of Salehi, Mukherjee, Roberts and Ehrhardt (2025): alpha and nu, mean of half the squared errors.

    Photographs squashed to ``pixels`` x ``pixels`` gray values; 1/2 |x-y|^2 + alpha sum sqrt(|grad x|^2 + nu^2) plus a ridge
    of 1e-7 that the paper does not have; start (log alpha, log nu) = (-5, -5). Hypergradient errors are estimates: with
    small nu the rigorous bound asks for far more accurate solves than the published method. The optimal value depends on
    the folder and is NaN.

    Raises:
        FileNotFoundError: the folder has no PNG file.
    """
    from PIL import Image

    files = sorted(Path(folder).glob("*.png"))
    if not files:
        raise FileNotFoundError(f"folder: found no PNG file in {folder}, expected photographs")
    size = (pixels, pixels)
    images = [Image.open(f).convert("L").resize(size, Image.Resampling.BILINEAR) for f in files]
    x = torch.from_numpy(np.stack([np.asarray(image, dtype=np.float64) / 255.0 for image in images])).unsqueeze(1)
    y = x + sigma * torch.from_numpy(np.random.RandomState(seed).randn(*x.shape))
    start = math.exp(-5.0)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(start, 1e-7, start, learn=("alpha", "nu")))
    objective = ReducedObjective(energy, y, x, SquaredError(0.5), estimator=ImplicitHypergradient(error="estimate"))
    nan = torch.full((2,), float("nan"), dtype=torch.float64)
    return KnownProblem(objective, torch.full((2,), math.log10(start), dtype=torch.float64), float("nan"), nan)
