r"""Banks of convolution filters, (K x)_c = k_c * x, with their adjoints and proved norm bounds.

**Norms.** Without padding, or with zeros around the image, K is a restriction of the convolution on the infinite plane, so
|diag(sqrt a) K|^2 <= sup_w p(w) with p(w) = sum_c a_c |k_c^(w)|^2 for weights a >= 0. p is a nonnegative trigonometric
polynomial of degree d = k - 1 per axis. On a grid of N > 2 d points per axis its maximum is missed by at most a factor
(Ehlich and Zeller, Math. Z. 86, 1964)

    sup p <= max_grid p / cos(pi d / N)^2.

For matrix-valued p the same holds for the largest eigenvalue: apply the scalar inequality to v'p(w)v for every fixed v.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilearn.regularizers._theta_cache import ThetaCache

_GRID = 512
# single-output convolutions leave vector units idle: the adjoint computes a block of 4 x 4 pixels as 16 channels
_BLOCK = 4


class FilterBank(nn.Module):
    """K: images of one channel (P, 1, H, W) to responses (P, fields, h, w). Linear in the image.

    An author must write ``taps``, ``forward`` and ``adjoint``, and may write ``weighted_norm_squared``.

    Attributes:
        fields: number of filters.
        size: side of the (composed) filters.
    """

    fields: int
    size: int

    def __init__(self) -> None:
        super().__init__()
        self._cache = ThetaCache()

    @abstractmethod
    def taps(self, like: Tensor) -> Tensor:
        """(fields, 1, size, size) filters in the dtype and on the device of ``like``."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Responses (P, fields, h, w) of images (P, 1, H, W); differentiable in x and the parameters in grad mode."""

    @abstractmethod
    def adjoint(self, u: Tensor) -> Tensor:
        """Images (P, 1, H, W) of responses."""

    @abstractmethod
    def squared_adjoint(self, u: Tensor) -> Tensor:
        """The adjoint of the bank of squared filters (of an approximation of it near the border); no gradients."""

    def weighted_norm_squared(self, weights: Tensor) -> Tensor:
        """Bound on |diag(sqrt a) K|^2.

        Args:
            weights: (fields,) a >= 0.
        """
        return symbol_maximum(self.taps(weights) * weights.sqrt().reshape(-1, 1, 1, 1))

    def power(self, size: tuple[int, int], like: Tensor) -> Tensor:
        """(fields, H, W//2 + 1) |k_c^|^2 on the frequencies of images of ``size`` (H, W), at least that of the filters."""

        def compute() -> Tensor:
            return torch.fft.rfft2(self.taps(like)[:, 0].contiguous(), s=size).abs().square()

        return self._cache.get("power", self, (size, like.dtype, like.device), compute)

    def lengths(self, like: Tensor) -> Tensor:
        """(fields,) bounds on |(K x)_{c,j}| / |x|: the 2-norms of the filters."""
        return self.taps(like).flatten(1).norm(dim=1)

    def sums(self, like: Tensor) -> Tensor:
        """(fields,) the 1-norms of the filters: bounds on |(K x)_{c,j}| / max|x|, by which its rounding is measured."""
        return self.taps(like).flatten(1).abs().sum(1)


class Filters(FilterBank):
    """One layer of filters.

    Args:
        start: (fields, 1, size, size) or (fields, size, size) filters to begin with.
        zero_mean: subtract each filter's mean, so that constant images are not penalized.
        boundary: "valid" for responses where the filter fits into the image, "zero" for zeros around the image.
        learn: whether the filters are learned.

    Raises:
        ValueError: if the filters are not square, or of even size with boundary "zero".
    """

    def __init__(
        self,
        start: Tensor,
        zero_mean: bool = True,
        boundary: Literal["valid", "zero"] = "valid",
        learn: bool = True,
    ) -> None:
        super().__init__()
        filters = start.detach().clone().to(torch.float64)
        filters = filters.unsqueeze(1) if filters.ndim == 3 else filters
        if filters.ndim != 4 or filters.shape[1] != 1 or filters.shape[2] != filters.shape[3]:
            raise ValueError(f"filters: found shape {tuple(start.shape)}, expected (fields, size, size)")
        if boundary not in ("valid", "zero"):
            raise ValueError(f"boundary: found {boundary!r}, expected 'valid' or 'zero'")
        self.fields, self.size = filters.shape[0], filters.shape[2]
        if boundary == "zero" and self.size % 2 == 0:
            raise ValueError(f"filters: found size {self.size}, expected an odd size with boundary 'zero'")
        self.zero_mean, self.boundary = zero_mean, boundary
        self.padding = self.size // 2 if boundary == "zero" else 0
        self.filters = nn.Parameter(filters, requires_grad=learn)

    def taps(self, like: Tensor) -> Tensor:
        """The filters, without their means where ``zero_mean``."""

        def compute() -> Tensor:
            filters = self.filters.to(like)
            return interleaved(filters - filters.mean((2, 3), keepdim=True) if self.zero_mean else filters)

        return self._cache.get("taps", self, (like.dtype, like.device), compute)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution."""
        if min(x.shape[-2:]) < self.size - 2 * self.padding:
            raise ValueError(
                f"x: found {x.shape[-2]} x {x.shape[-1]} pixels, expected at least the filter size {self.size}"
            )
        return F.conv2d(x, self.taps(x), padding=self.padding)

    def adjoint(self, u: Tensor) -> Tensor:
        """One transposed convolution."""
        if blocked(u):
            kernel = self._cache.get("blocks", self, (u.dtype, u.device), lambda: block_kernel(self.taps(u)))
            return blocked_adjoint(u, kernel, self.size, self.padding)
        return F.conv_transpose2d(u, self.taps(u), padding=self.padding)

    def squared_adjoint(self, u: Tensor) -> Tensor:
        """Exact."""
        with torch.no_grad():
            return F.conv_transpose2d(u, self.taps(u).square(), padding=self.padding)


def interleaved(taps: Tensor) -> Tensor:
    """The filters in a layout that makes responses lie pixel by pixel: convolutions of one channel run up to twice as fast."""
    return taps.to(memory_format=torch.channels_last)


def symbol_maximum(taps: Tensor) -> Tensor:
    """Bound on sup_w sum_c |k_c^(w)|^2 of filters (fields, 1, size, size): a grid maximum with its correction."""
    return grid_maximum(taps, _GRID) / math.cos(math.pi * (taps.shape[-1] - 1) / _GRID) ** 2


def grid_maximum(taps: Tensor, points: int) -> Tensor:
    """max over a grid of ``points`` x ``points`` frequencies of sum_c |k_c^(w)|^2, from the summed autocorrelation."""
    side = 2 * taps.shape[-1] - 1
    power = torch.fft.rfft2(taps[:, 0], s=(side, side)).abs().square().sum(0)
    correlation = torch.fft.irfft2(power, s=(side, side))
    # the shift of the origin changes the phase only, which abs removes
    centered = torch.fft.fftshift(correlation)
    return torch.fft.rfft2(centered, s=(points, points)).abs().max()


def blocked(u: Tensor) -> bool:
    """Whether the blocked adjoint pays: float32 on the CPU, outside of grad mode."""
    return u.dtype == torch.float32 and u.device.type == "cpu" and not torch.is_grad_enabled()


def block_kernel(taps: Tensor) -> Tensor:
    """Kernel (16, fields, size + 3, size + 3) of the strided convolution that computes the adjoint block by block."""
    flipped = taps[:, 0].flip(1, 2)
    fields, size = flipped.shape[:2]
    side = size + _BLOCK - 1
    kernel = taps.new_zeros(_BLOCK**2, fields, side, side)
    for row in range(_BLOCK):
        for column in range(_BLOCK):
            kernel[row * _BLOCK + column, :, row : row + size, column : column + size] = flipped
    return kernel


def blocked_adjoint(u: Tensor, kernel: Tensor, size: int, padding: int) -> Tensor:
    """K'u for filters of side ``size`` applied with ``padding``, through :func:`block_kernel`."""
    rim = size - 1 - padding
    height, width = (n + 2 * rim - size + 1 for n in u.shape[-2:])
    below, right = -height % _BLOCK, -width % _BLOCK
    padded = F.pad(u, (0, right, 0, below)) if below or right else u
    image = F.pixel_shuffle(F.conv2d(padded, kernel, stride=_BLOCK, padding=rim), _BLOCK)
    return image[..., :height, :width]


def random_filters(count: int, size: int, generator: torch.Generator) -> Tensor:
    """(count, size, size) filters with independent normal entries, each of norm 1."""
    filters = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    return filters / filters.flatten(1).norm(dim=1).reshape(-1, 1, 1)


def cosine_filters(count: int, size: int) -> Tensor:
    """(count, size, size) the first functions of the orthonormal two-dimensional cosine basis, the constant left out.

    Raises:
        ValueError: if there are not that many.
    """
    if not 1 <= count <= size**2 - 1:
        raise ValueError(f"filters: found {count} of size {size}, expected between 1 and {size**2 - 1} cosine filters")
    grid = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (grid + 0.5) * grid.unsqueeze(1) / size)
    basis = basis / basis.norm(dim=1, keepdim=True)
    order = sorted(((i, j) for i in range(size) for j in range(size) if i + j), key=lambda p: (p[0] + p[1], p))
    return torch.stack([torch.outer(basis[i], basis[j]) for i, j in order[:count]])
