"""Chains of small convolutions that act as one bank of large filters, normalized to |K| = 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilearn.regularizers.filters import (
    FilterBank,
    block_kernel,
    blocked,
    blocked_adjoint,
    grid_maximum,
    interleaved,
    symbol_maximum,
)

# the normalization is part of the published definition: the maximum of the symbol over this grid
_DEFINITION_GRID = 256
_LAYER_GRID = 128


class FilterChain(FilterBank):
    """K x = k_n * ... * k_1 * x / norm, without biases; the filters of the first layer have their means subtracted.

    norm^2 is the largest value on a grid of 256 x 256 frequencies of sum_c |k_c^(w)|^2 of the composed filters (Goujon et al.,
    "Learning weakly convex regularizers for convergent image-reconstruction algorithms", SIAM J. Imaging Sci. 17, 2024).

    Zeros surround the image. With ``padding`` "once" the composed filters act on the image and zeros: one convolution, and the
    proved norm is within 1 % of 1. With "layers" the image of every layer is cut off and surrounded by zeros, as in the
    published networks: near the border another operator, whose norm may exceed 1. There the product of the norms of the
    layers is declared, which holds but is not sharp.

    Args:
        layers: (out, in, size, size) filters of every layer, odd sizes, the first with one channel in.
        padding: "once" or "layers".
        learn: whether the filters are learned.

    Raises:
        ValueError: if the layers do not fit one another.
    """

    def __init__(
        self, layers: Sequence[Tensor], padding: Literal["once", "layers"] = "once", learn: bool = True
    ) -> None:
        super().__init__()
        if padding not in ("once", "layers"):
            raise ValueError(f"padding: found {padding!r}, expected 'once' or 'layers'")
        channels = 1
        for layer in layers:
            if (
                layer.ndim != 4
                or layer.shape[1] != channels
                or layer.shape[2] != layer.shape[3]
                or layer.shape[2] % 2 == 0
            ):
                raise ValueError(
                    f"layers: found shape {tuple(layer.shape)}, expected (channels, {channels}, size, size) with an odd size"
                )
            channels = layer.shape[0]
        self.layers = nn.ParameterList(
            nn.Parameter(layer.detach().clone().to(torch.float64), requires_grad=learn) for layer in layers
        )
        self.fields, self.padding = channels, padding
        self.size = 1 + sum(layer.shape[2] - 1 for layer in layers)

    def _centered(self, like: Tensor) -> list[Tensor]:
        # in float64: the rounding of a long composition would exceed that of its use
        first, *rest = (layer.to(like.device, torch.float64) for layer in self.layers)
        return [first - first.mean((2, 3), keepdim=True), *rest]

    def _composed(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Composed filters without normalization, and the norm, in float64."""
        composed = composition(self._centered(like))
        return composed, grid_maximum(composed, _DEFINITION_GRID).sqrt()

    def taps(self, like: Tensor) -> Tensor:
        """The composed filters divided by the norm."""

        def compute() -> Tensor:
            composed, norm = self._composed(like)
            return interleaved((composed / norm).to(like))

        return self._cache.get("taps", self, (like.dtype, like.device), compute)

    def _scaled_layers(self, like: Tensor) -> list[Tensor]:
        """The layers, the last divided by the norm."""

        def compute() -> list[Tensor]:
            layers = self._centered(like)
            return [k.to(like) for k in (*layers[:-1], layers[-1] / self._composed(like)[1])]

        return self._cache.get("layers", self, (like.dtype, like.device), compute)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution, or one for every layer."""
        if self.padding == "once":
            return F.conv2d(x, self.taps(x), padding=self.size // 2)
        return reduce(lambda z, k: F.conv2d(z, k, padding=k.shape[-1] // 2), self._scaled_layers(x), x)

    def adjoint(self, u: Tensor) -> Tensor:
        """One transposed convolution, or one for every layer."""
        if self.padding == "layers":
            backward = reversed(self._scaled_layers(u))
            return reduce(lambda z, k: F.conv_transpose2d(z, k, padding=k.shape[-1] // 2), backward, u)
        if blocked(u):
            kernel = self._cache.get("blocks", self, (u.dtype, u.device), lambda: block_kernel(self.taps(u)))
            return blocked_adjoint(u, kernel, self.size, self.size // 2)
        return F.conv_transpose2d(u, self.taps(u), padding=self.size // 2)

    def squared_adjoint(self, u: Tensor) -> Tensor:
        """Exact with padding "once"."""
        with torch.no_grad():
            return F.conv_transpose2d(u, self.taps(u).square(), padding=self.size // 2)

    def weighted_norm_squared(self, weights: Tensor) -> Tensor:
        """Bound on |diag(sqrt a) K|^2: of the composed filters, or the product over the layers."""
        root = weights.sqrt().reshape(-1, 1, 1, 1)
        if self.padding == "once":
            return symbol_maximum(self.taps(weights) * root)
        *layers, last = self._scaled_layers(weights)
        return reduce(torch.mul, [layer_norm_squared(k) for k in (*layers, last * root)])

    def lengths(self, like: Tensor) -> Tensor:
        """2-norms of the filters; with padding "layers" those of the last layer times the norms of the others."""
        if self.padding == "once":
            return super().lengths(like)
        *layers, last = self._scaled_layers(like)
        before = reduce(torch.mul, [layer_norm_squared(k) for k in layers], torch.ones_like(last[0, 0, 0, 0]))
        return last.flatten(1).norm(dim=1) * before.sqrt()

    def sums(self, like: Tensor) -> Tensor:
        """1-norms of the composed filters, times the number of convolutions that round one after the other."""
        rounds = 1 if self.padding == "once" else len(self.layers)
        return rounds * super().sums(like)


def composition(layers: Sequence[Tensor]) -> Tensor:
    """(out, 1, size, size) filters equal to a chain of layers (out, in, k, k) on the infinite plane."""
    side = 1 + sum(layer.shape[-1] - 1 for layer in layers)
    symbols = [torch.fft.rfft2(layer, s=(side, side)).permute(2, 3, 0, 1) for layer in layers]
    composed = reduce(lambda z, symbol: symbol @ z, symbols)
    return torch.fft.irfft2(composed.permute(2, 3, 0, 1), s=(side, side))


def layer_norm_squared(layer: Tensor) -> Tensor:
    """Bound on |T|^2 of a convolution (out, in, k, k): its matrix symbol on a grid, with the correction for the grid."""
    out, inner, size, _ = layer.shape
    symbol = torch.fft.rfft2(layer, s=(_LAYER_GRID, _LAYER_GRID)).permute(2, 3, 0, 1)
    gram = symbol.mH @ symbol if inner <= out else symbol @ symbol.mH
    return torch.linalg.eigvalsh(gram)[..., -1].max() / math.cos(math.pi * (size - 1) / _LAYER_GRID) ** 2


def random_layers(channels: Sequence[int], size: int, generator: torch.Generator) -> list[Tensor]:
    """Layers 1 -> channels[0] -> channels[1] ... of independent normal entries with variance 1/(inputs of a filter)."""
    inner = [1, *channels[:-1]]
    return [
        torch.randn(o, i, size, size, generator=generator, dtype=torch.float64) / (size * i**0.5)
        for o, i in zip(channels, inner, strict=True)
    ]
