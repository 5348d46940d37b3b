r"""Squared error and structural similarity of magnitudes together, with a proved interval.

**How much SSIM can change.** At one position of the Gaussian window g, with <a, b> = sum_j g_j a_j b_j, an image is its mean
mu 1 plus the rest x~, orthogonal to 1 since the g_j add up to 1, and SSIM is A B with

    A = (2 mu mu* + c1) / (mu^2 + mu*^2 + c1),     B = (2 <x~, x~*> + c2) / (|x~|^2 + |x~*|^2 + c2),     |A|, |B| <= 1.

dA/dmu = 2 (mu* - A mu) / (mu^2 + mu*^2 + c1), |mu* - A mu| <= sqrt(2) r with r^2 = mu^2 + mu*^2, and r / (r^2 + c1) <=
1 / (2 sqrt(c1)). So |dA/dmu| <= sqrt(2 / c1), in the same way |grad B| <= sqrt(2 / c2) in the norm of < , >, and the two act
on orthogonal parts: SSIM moves by at most K |d| with K^2 = 2/c1 + 2/c2 for a change d. Over all n positions, by Jensen's
inequality, the mean moves by at most K sqrt(w / n) |d|_2, w the largest sum over positions of the window weight that a
pixel has there. Away from the border w = 1; with reflection an axis adds at most g_1 <= 0.22 at each of its ends, so
w <= 1.44^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, slack
from bilearn.losses.squared_error import SquaredError
from bilearn.losses.ssim import SSIMLoss

_C1, _C2, _REFLECTED = 0.01**2, 0.03**2, 1.44


def ssim_lipschitz(entries: int) -> float:
    """Lipschitz constant of mean SSIM (module docstring) for images with range 1 and ``entries`` numbers, 2-norm."""
    return _REFLECTED * math.sqrt((2 / _C1 + 2 / _C2) / entries)


@dataclass(frozen=True)
class SimilarityError(UpperLoss):
    """factor |x - x*|^2 + weight (1 - SSIM(|x|, |x*|)) for images (B, C, H, W), |x| the magnitude over the channels.

    SSIM as :class:`SSIMLoss` computes it, with the largest |x*| of every image as its range. Values have proved intervals;
    the Lipschitz constant of the gradient is unknown, so that hypergradients have no bounds.

    Args:
        factor: positive weight of the squared error.
        weight: nonnegative weight of 1 - SSIM.

    Raises:
        ValueError: if a number is out of range, or (when called) x is not (B, C, H, W).
    """

    factor: float = 1.0
    weight: float = 0.01

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight: found {self.weight}, expected a finite number >= 0")
        SquaredError(self.factor)

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        top = target.square().sum(1, keepdim=True).amax((1, 2, 3), keepdim=True).sqrt()
        scale = torch.where(top > 0, top, 1.0)
        tiny = torch.finfo(x.dtype).tiny
        sizes = [((t / scale).square().sum(1, keepdim=True) + tiny).sqrt() for t in (x, target)]
        return SquaredError(self.factor)(x, target) + self.weight * SSIMLoss(1.0)(*sizes)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The exact interval of the squared error, plus that of the similarity from its Lipschitz constant."""
        low, high = SquaredError(self.factor).interval(x, target, radius)
        with torch.no_grad():
            similarity = self(x, target) - SquaredError(self.factor)(x, target)
        top = target.square().sum(1).flatten(1).amax(1).sqrt()
        pixels = _batch.samples(x) // x.shape[1]
        reach = ssim_lipschitz(pixels) * radius / torch.where(top > 0, top, 1.0)
        # variances are differences of means of squares
        rounding = 64 * torch.finfo(x.dtype).eps / _C2
        change = self.weight * (reach.clamp(max=2.0) + rounding) + slack(similarity, x)
        return low + similarity - change, high + similarity + change
