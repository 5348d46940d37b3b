r"""Convolutions and smooth activations of regularizer networks, and proved bounds on their curvature.

**Curvature of a network.** Let p_k = W_k z_k + V_k x + b_k and z_{k+1} = s(p_k), with 0 <= s' <= 1 and |s''| <= c. With
G_k >= |J z_k| (spectral norm) and Q_k >= sup |sum_i q_i H(z_k,i)| over |q_i| <= 1,

    G_{k+1} = |W_k| G_k + |V_k|,        Q_{k+1} = |W_k|_1 Q_k + c G_{k+1}^2,

where |W|_1 is the largest column sum of absolute values: H(z_{k+1,i}) = s'(p_i) sum_j W_ij H(z_k,j) + s''(p_i) g_i g_i' with
g_i the rows of J p, the first part is a combination of the H(z_k,j) with coefficients below |W|_1, and the second is
J p' diag(s'' q) J p. At the start z_0 = x has G = 1, Q = 0. The network f = sum of the last z (or of W z, with |W|_1 Q) has the
gradient Lipschitz constant Q.

Sizes below are those of convolutions on the infinite plane, of which the operators with zeros around the image, without
padding, and with a stride are restrictions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bilearn.parameters import Identity, Log10, learnable
from bilearn.regularizers.filter_chain import layer_norm_squared


class Convolution(nn.Module):
    """W x = k * x, kept in float64 and applied in the dtype of x.

    Args:
        inner, outer: channels in and out.
        size: side of the kernel, odd.
        generator: of the normal start values with variance gain^2/(inner size^2); their absolute values if ``nonnegative``.
        gain: see above.
        padding: zeros around the image; half the size if None, so that the size is kept.
        stride: of the responses.
        zero_mean: subtract the mean of every kernel, so that constant images give zero.
        nonnegative: entries stay at or above zero (box of the upper-level method).
    """

    weight: Tensor

    def __init__(
        self,
        inner: int,
        outer: int,
        size: int,
        generator: torch.Generator,
        gain: float = 1.0,
        padding: int | None = None,
        stride: int = 1,
        zero_mean: bool = False,
        nonnegative: bool = False,
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size: found {size}, expected an odd kernel size")
        self.padding, self.stride, self.zero_mean = size // 2 if padding is None else padding, stride, zero_mean
        start = torch.randn(outer, inner, size, size, generator=generator, dtype=torch.float64)
        start *= gain / (size * math.sqrt(inner))
        if nonnegative:
            learnable(self, "weight", start.abs() / (size * math.sqrt(inner)), Identity((0.0, math.inf)))
        else:
            self.weight = nn.Parameter(start)

    def taps(self, like: Tensor) -> Tensor:
        """(outer, inner, size, size) kernels as they are applied."""
        weight = self.weight.to(like)
        return weight - weight.mean((2, 3), keepdim=True) if self.zero_mean else weight

    def forward(self, x: Tensor) -> Tensor:
        """Responses (B, outer, h, w)."""
        return F.conv2d(x, self.taps(x), padding=self.padding, stride=self.stride)

    def upsample(self, u: Tensor, like: Tensor) -> Tensor:
        """W'u, shaped (B, inner, ...) with the height and width of ``like``."""
        rim = self.padding
        full = F.conv_transpose2d(u, self.taps(u), stride=self.stride)  # at least one row and column more than needed
        return full[..., rim : rim + like.shape[-2], rim : rim + like.shape[-1]]

    def norm(self, like: Tensor) -> Tensor:
        """Bound on |W|: the norm of the matrix of absolute kernel sums where no entry is negative, else from the symbol.

        Entries of the symbol are at most the sums of absolute values, and the spectral norm grows with absolute entries.
        """
        taps = self.taps(like)
        if bool((taps >= 0).all()):
            return torch.linalg.matrix_norm(taps.sum((2, 3)), 2)
        return layer_norm_squared(taps).sqrt()

    def column_sum(self, like: Tensor) -> Tensor:
        """|W|_1: the largest sum of absolute values over outputs and places, for one input channel."""
        return self.taps(like).abs().sum((0, 2, 3)).max()


class SmoothRectifier(nn.Module):
    """s(t) = (t + sqrt(t^2 + nu^2))/2 - nu/2: convex, increasing, s(0) = 0, 0 < s' < 1, 0 < s'' <= 1/(2 nu).

    A rectifier without a kink. Learned jointly with a network it decides how sharp the network bends.

    Args:
        smoothing: nu > 0.
        learn: whether nu is learned.
    """

    smoothing: Tensor

    def __init__(self, smoothing: float = 0.1, learn: bool = True) -> None:
        super().__init__()
        learnable(self, "smoothing", smoothing, Log10((1e-6, 1e3)), learn)

    def forward(self, t: Tensor) -> Tensor:
        """s(t), elementwise."""
        nu = self.smoothing.to(t)
        return 0.5 * (t + torch.sqrt(t.square() + nu.square()) - nu)

    def steepest(self, like: Tensor) -> Tensor:
        """Bound on s''."""
        return 0.5 / self.smoothing.to(like)


class StudentT(nn.Module):
    """phi(t) = log(1 + t^2)/2, the activation of total deep variation."""

    def forward(self, t: Tensor) -> Tensor:
        """phi(t), elementwise."""
        return 0.5 * torch.log1p(t.square())
