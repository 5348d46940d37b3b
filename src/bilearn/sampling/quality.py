"""Image quality of complex reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.metrics import SSIM_SIDE, psnr, ssim


def magnitude_quality(x: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """PSNR (dB) and, for images of at least 11 x 11, SSIM of magnitudes, image by image.

    The data range of an image is the largest magnitude of its truth.

    Args:
        x, truth: (N, 2, ...) complex images in two channels.
    """
    sizes = [torch.linalg.vector_norm(t, dim=1, keepdim=True) for t in (x, truth)]
    names = {"psnr": psnr}
    if truth.ndim == 4 and min(truth.shape[-2:]) >= SSIM_SIDE:
        names["ssim"] = ssim
    found: dict[str, list[float]] = {name: [] for name in names}
    for mine, true in zip(*(size.split(1) for size in sizes), strict=True):
        for name, metric in names.items():
            found[name].append(float(metric(mine, true, float(true.max()))))
    return found
