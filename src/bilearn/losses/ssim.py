r"""Structural similarity, with proved constants.

**How much SSIM can change.** At one position of the Gaussian window g, with <a, b> = sum_j g_j a_j b_j, an image is its mean
mu 1 plus the rest x~, orthogonal to 1 since the g_j add up to 1, and SSIM is A B with

    A = (2 mu mu* + c1) / (mu^2 + mu*^2 + c1),     B = (2 <x~, x~*> + c2) / (|x~|^2 + |x~*|^2 + c2),     |A|, |B| <= 1.

With D the denominator of A and r^2 = mu^2 + mu*^2, A' = 2 (mu* - A mu) / D and |mu* - A mu| <= sqrt(2) r. As r / (r^2 + c1) <=
1 / (2 sqrt(c1)), |A'| <= sqrt(2 / c1), in the same way |grad B| <= sqrt(2 / c2) in the norm of < , >, and the two act on
orthogonal parts: SSIM moves by at most K |d| with K^2 = 2/c1 + 2/c2 for a change d.

A'' = -(2 A + 4 mu A') / D, so |A''| <= (2 + (2 + 8 sqrt(2)) t) / (c1 (1 + t)^2) with t = r^2 / c1, at most 3.92 / c1; the
Hessian of B is at most 3.92 / c2 in the same way. The Hessian of A B has the blocks A'' B and A Hess(B) and, off the diagonal,
A' grad B: the gradient moves by at most G |d| with G = 3.92 / min(c1, c2) + 2 / sqrt(c1 c2).

Over all n positions, by Jensen's inequality, the mean moves by at most K sqrt(w / n) |d|_2 and its gradient by at most
G (w / n) |d|_2, w the largest sum over positions of the window weight that a pixel has there. Away from the border w = 1; with
reflection an axis adds at most g_1 <= 0.22 at each of its ends, so w <= 1.44^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.local_means import RADIUS, local_means
from bilearn.losses.loss import UpperLoss, scaled_variation, slack, smooth_interval

_C1, _C2, _REFLECTED = 0.01**2, 0.03**2, 1.44


def ssim_lipschitz(entries: int) -> float:
    """Lipschitz constant of mean SSIM (module docstring) for images with range 1 and ``entries`` numbers, 2-norm."""
    return _REFLECTED * math.sqrt((2 / _C1 + 2 / _C2) / entries)


def ssim_smoothness(entries: int) -> float:
    """Lipschitz constant of the gradient of mean SSIM, likewise."""
    return _REFLECTED**2 * (3.92 / _C1 + 2 / math.sqrt(_C1 * _C2)) / entries


def ssim_rounding(dtype: torch.dtype) -> float:
    """Allowance for rounding where pixels are at most 1: variances are differences of means of squares."""
    return 64 * torch.finfo(dtype).eps / _C2


@dataclass(frozen=True)
class SSIMLoss(UpperLoss):
    """1 - SSIM of images (B, C, H, W), the mean over pixels and channels; the same number as torchmetrics computes.

    Gaussian window with standard deviation 1.5, 11 pixels wide, images reflected at the border, K1 = 0.01, K2 = 0.03. Values
    have proved intervals and gradients proved bounds, for any pixel values (module docstring).

    Args:
        max_value: range of the pixel values.

    Raises:
        ValueError: if ``max_value`` is not positive, or (when called) x is not (B, C, H, W) with more than 5 pixels on each
            side.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", 2004.
    """

    max_value: float = 1.0

    def __post_init__(self) -> None:
        if not self.max_value > 0:
            raise ValueError(f"max_value: found {self.max_value}, expected a positive number")

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape != target.shape:
            raise ValueError(
                f"SSIMLoss: found reconstructions {tuple(x.shape)} and targets {tuple(target.shape)}, "
                "expected two batches of images of the same shape (B, C, H, W)"
            )
        if min(x.shape[-2:]) <= RADIUS:
            raise ValueError(
                f"SSIMLoss: found images of {x.shape[-2]} x {x.shape[-1]} pixels, expected more than {RADIUS} on each side, as "
                "the window is reflected at the border"
            )
        c1, c2 = _C1 * self.max_value**2, _C2 * self.max_value**2
        a, b, aa, bb, ab = local_means(torch.cat((x, target, x * x, target * target, x * target))).chunk(5)
        luminance = (2 * a * b + c1) / (a * a + b * b + c1)
        spread = (aa - a * a).clamp(min=0) + (bb - b * b).clamp(min=0)
        structure = (2 * (ab - a * b) + c2) / (spread + c2)
        return 1 - (luminance * structure).flatten(1).mean(1)

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """value +- min(|gradient| R + G R^2 / 2, K R) in [0, 2], with the rounding of variances as differences of squares."""
        value, norm = self(x.detach(), target), _batch.norm(self.grad(x, target))
        low, high = smooth_interval(value, norm, *self._constants(x), radius)
        largest = torch.maximum(_batch.max_abs(x.detach(), 1), _batch.max_abs(target, 1)) / self.max_value
        rounding = slack(1 + value, x) + ssim_rounding(x.dtype) * largest.square()
        return (low - rounding).clamp(min=0.0), (high + rounding).clamp(max=2.0)

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """min(G R, 2 K)."""
        return scaled_variation(*self._constants(x), radius)

    def _constants(self, x: Tensor) -> tuple[float, float]:
        entries = max(1, _batch.samples(x))
        return ssim_smoothness(entries) / self.max_value**2, ssim_lipschitz(entries) / self.max_value
