r"""Squared error and structural similarity of magnitudes together, with proved constants.

**How much the gradient can change.** With the magnitudes s_j = |x_j| over the channels of a pixel, u_j = x_j / |x_j| and g the
gradient of the similarity in s, the gradient in x is g_j u_j. For a change d of x with |d| <= R,

    g_j(s') u'_j - g_j(s) u_j = (g_j(s') - g_j(s)) u'_j + g_j(s) (u'_j - u_j).

The first part is at most G R with the constant G of :mod:`bilearn.losses.ssim`, as |s' - s| <= R. In the second,
|u'_j - u_j| <= 2 and (Dunkl and Williams 1964) <= 2 |d_j| / (|x_j| + |x'_j|), where |x'_j| >= |x_j| - R. So with
c_j = 2 |g_j| / (2 |x_j| - min(R, |x_j|)) it is at most sqrt(R^2 max c_j^2 + 4 sum g_j^2), the maximum over any set of pixels,
the sum over the others; the best set is found among those with the smallest c_j.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, slack
from bilearn.losses.squared_error import SquaredError
from bilearn.losses.ssim import SSIMLoss, ssim_lipschitz, ssim_rounding, ssim_smoothness


@dataclass(frozen=True)
class SimilarityError(UpperLoss):
    """factor |x - x*|^2 + weight (1 - SSIM(|x|, |x*|)) for images (B, C, H, W), |x| the magnitude over the channels.

    SSIM as :class:`SSIMLoss` computes it, with the largest |x*| of every image as its range. Values have proved intervals and
    gradients proved bounds (module docstring).

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
        return SquaredError(self.factor)(x, target) + self.weight * SSIMLoss(1.0)(*_magnitudes(x, target))

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The exact interval of the squared error, plus that of the similarity from its slope and its Lipschitz constant."""
        low, high = SquaredError(self.factor).interval(x, target, radius)
        with torch.no_grad():
            similarity = self.weight * SSIMLoss(1.0)(*_magnitudes(x, target))
        slope, change = self._similarity_slope(x, target, radius)
        reach = torch.minimum((slope + change) * radius, ssim_lipschitz(self._pixels(x)) * radius / _range(target))
        reach = torch.where(radius > 0, reach, 0.0).clamp(max=2.0)
        moved = self.weight * (reach + ssim_rounding(x.dtype)) + slack(similarity, x)
        return low + similarity - moved, high + similarity + moved

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """2 factor R, plus the bound of the module docstring or twice the Lipschitz constant of the similarity."""
        change = self._similarity_slope(x, target, radius)[1]
        return SquaredError(self.factor).grad_variation(x, target, radius) + self.weight * change

    def _similarity_slope(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Norm of the gradient of the similarity, and how much the gradient can change within the radius."""
        scale, pixels = _range(target), self._pixels(x)
        moved, (size, wanted) = (radius / scale)[:, None], _magnitudes(x.detach(), target)
        slope = SSIMLoss(1.0).grad(size, wanted).abs().flatten(1)
        size = size.flatten(1)
        ratio = torch.where(slope > 0, 2 * slope / (2 * size - torch.minimum(moved, size)), 0.0)
        ratio, order = ratio.sort(dim=1, descending=True)
        # the first k pixels turn as they like, the next one has the largest ratio of the rest
        turned = torch.cat((torch.zeros_like(moved), 4 * slope.gather(1, order).square().cumsum(1)), 1)
        within = torch.cat((torch.where(ratio > 0, moved * ratio, 0.0), torch.zeros_like(moved)), 1).square()
        bent = (turned + within).amin(1).sqrt()
        change = torch.where(radius > 0, ssim_smoothness(pixels) * moved[:, 0] + bent, 0.0)
        change = change.clamp(max=2 * ssim_lipschitz(pixels))
        return _batch.norm(slope) / scale, change / scale

    @staticmethod
    def _pixels(x: Tensor) -> int:
        return max(1, _batch.samples(x) // x.shape[1])


def _range(target: Tensor) -> Tensor:
    """Largest magnitude of every image (B,); 1 where all is zero."""
    top = target.square().sum(1).flatten(1).amax(1).sqrt()
    return torch.where(top > 0, top, 1.0)


def _magnitudes(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, H, W) of both in units of the target's range, with a derivative at zero."""
    scale, tiny = _range(target).reshape(-1, 1, 1, 1), torch.finfo(x.dtype).tiny
    size, wanted = (((t / scale).square().sum(1, keepdim=True) + tiny).sqrt() for t in (x, target))
    return size, wanted
