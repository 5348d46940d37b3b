"""Start values of space-variant maps: the most likely local distribution of image gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilearn.regularizers.differences import Direction


@dataclass(frozen=True)
class GradientMaps:
    """Arguments of :class:`~bilearn.regularizers.SpaceVariantTV`, each of shape (1, 1, h, w).

    Attributes:
        alpha: weight for data terms in units of the negative log-likelihood; multiply by the variance of the noise for
            ``LeastSquares(1)``.
        angle: direction of edges, in [0, pi).
        ratio: square root of the smaller over the larger variance of gradients, in (0, 1].
        exponent: shape of the distribution.
    """

    alpha: Tensor
    angle: Tensor
    ratio: Tensor
    exponent: Tensor


def gradient_maps(
    images: Tensor,
    window: int = 7,
    patches: bool = False,
    exponents: Sequence[float] = tuple(1 + k / 10 for k in range(11)),
    floor: float = 1e-2,
    direction: Direction = "backward",
) -> GradientMaps:
    """Maximum-likelihood maps of the gradients of ``images`` in windows around the pixels, or in disjoint patches.

    All images, and all their channels, share the maps. Needs memory for (number of maps' entries) x (images) x window^2
    gradients.

    Args:
        images: (N, C, H, W), without noise or with little.
        window: side of the windows in pixels; odd, unless ``patches``.
        patches: one entry per window x window patch instead of one per pixel: values of a
            :class:`~bilearn.coarse_map.CoarseMap`.
        exponents: candidates for the exponent, in (0, 2].
        floor: smallest standard deviation of gradients, in gray values.
        direction: of the differences, see :class:`FiniteDifferences`; the missing ones at the border repeat their neighbors.

    Raises:
        ValueError: an even window, or a side of the images that is not a multiple of the patches.
    """
    height, width = images.shape[-2:]
    if patches and (height % window or width % window):
        raise ValueError(
            f"window: found patches of {window} for images of {height} x {width}, expected a divisor of both sides"
        )
    if not patches and window % 2 == 0:
        raise ValueError(f"window: found {window}, expected an odd number of pixels around each pixel")
    missing = (1, 0) if direction == "backward" else (0, 1)
    planes = images.detach().double().flatten(0, 1)[:, None]
    fields = [
        nn.functional.pad(planes.diff(dim=-1), (*missing, 0, 0), mode="replicate"),
        nn.functional.pad(planes.diff(dim=-2), (0, 0, *missing), mode="replicate"),
    ]
    margin = 0 if patches else window // 2
    samples = []
    for field in fields:
        padded = nn.functional.pad(field, (margin,) * 4, mode="replicate")
        cut = nn.functional.unfold(padded, window, stride=window if patches else 1)
        samples.append(cut.flatten(0, 1))
    covariance, shape = fit_generalized_gaussian(torch.stack(samples), exponents, floor)
    size = (1, 1, height // window, width // window) if patches else (1, 1, height, width)
    major, minor, angle = _principal(covariance)
    parts = (
        0.5 * minor ** (-shape / 2),
        torch.remainder(angle + math.pi / 2, math.pi),
        torch.sqrt(minor / major),
        shape,
    )
    return GradientMaps(*(part.reshape(size) for part in parts))


def fit_generalized_gaussian(
    samples: Tensor, exponents: Sequence[float], floor: float, steps: int = 30
) -> tuple[Tensor, Tensor]:
    """Most likely bivariate generalized Gaussian distributions of independent samples.

    The density is p / (2 pi Gamma(2/p) 2^(2/p)) |S|^(-1/2) exp(-q^(p/2)/2), q = d' S^-1 d (Calatroni et al., SIAM J.
    Imaging Sci. 12, 2019, section 4; Pascal et al., IEEE Trans. Signal Process. 61, 2013).

    1. For each candidate p: iterate the likelihood equation S <- mean((p/2) q^(p/2 - 1) d d') + floor^2 I, which contracts
       the scale of S by 1 - p/2.
    2. Take the p of largest likelihood, for each distribution.

    Args:
        samples: (2, n, L), n samples of each of L distributions.
        exponents: candidates for p.
        floor: added to S, squared.
        steps: iterations for each candidate.

    Returns:
        S as (3, L) entries S_11, S_12, S_22, and p (L,).
    """
    if not exponents:
        raise ValueError("exponents: found none, expected at least one candidate")
    one, two = samples
    likelihood = torch.full_like(one[0], -torch.inf)
    best, shape = one.new_zeros(3, one.shape[1]), torch.zeros_like(one[0])
    for p in exponents:
        entries = _second_moments(one, two, torch.ones_like(one), floor)
        for _ in range(steps):
            q = _mahalanobis(one, two, entries).clamp(min=1e-12)
            entries = _second_moments(one, two, (p / 2) * q ** (p / 2 - 1), floor)
        q = _mahalanobis(one, two, entries)
        normalization = math.log(p) - math.lgamma(2 / p) - 2 / p * math.log(2)
        value = normalization - 0.5 * torch.log(_determinant(entries)) - 0.5 * (q ** (p / 2)).mean(0)
        better = value > likelihood
        likelihood = torch.where(better, value, likelihood)
        best = torch.where(better, entries, best)
        shape = torch.where(better, torch.full_like(shape, p), shape)
    return best, shape


def _second_moments(one: Tensor, two: Tensor, weight: Tensor, floor: float) -> Tensor:
    ridge = floor * floor
    return torch.stack(
        ((weight * one * one).mean(0) + ridge, (weight * one * two).mean(0), (weight * two * two).mean(0) + ridge)
    )


def _determinant(entries: Tensor) -> Tensor:
    return entries[0] * entries[2] - entries[1].square()


def _mahalanobis(one: Tensor, two: Tensor, entries: Tensor) -> Tensor:
    square = entries[2] * one * one - 2 * entries[1] * one * two + entries[0] * two * two
    return square / _determinant(entries)


def _principal(entries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Larger and smaller eigenvalue, and the angle of the eigenvector of the larger one."""
    mean, half = (entries[0] + entries[2]) / 2, (entries[0] - entries[2]) / 2
    spread = torch.hypot(half, entries[1])
    return mean + spread, _determinant(entries) / (mean + spread), 0.5 * torch.atan2(entries[1], half)
