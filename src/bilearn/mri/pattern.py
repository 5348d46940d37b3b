"""Sampling patterns: learnable modules that say to which degree every point of k-space is sampled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.parameters import Identity, is_learned, learnable


class Pattern(nn.Module):
    """A map from learnable parameters theta to degrees of sampling s on the grid of k-space, without shift.

    ``pattern()`` returns s of shape (H, W), or (n,) for signals; [0, 0] is the zero frequency. The weight of a sample's
    squared residual is ``weighting(s)`` (:mod:`bilearn.mri.weighting`). With J = ds/dtheta, an author

    * must write ``forward``, differentiable in the parameters. Products with J and J' come from autograd, so it should cost
      about as much memory as s itself;
    * may write ``row_norms``, from which every certificate of the data term follows (it must then hold at the present
      theta). Without it hypergradients are still exact, but their error bounds are infinite;
    * may write ``scaled_norm`` where more is known of J than the norms of its rows.
    """

    def forward(self) -> Tensor:
        """s, shape (H, W) or (n,), nonnegative, in memory of its own."""
        raise NotImplementedError(f"{type(self).__name__} must define forward() -> (H, W)")

    def row_norms(self) -> Tensor:
        """Bounds, shaped like s, on |ds_k/dtheta|, the 2-norm over the parameters in their coordinates."""
        return torch.full_like(self().detach(), torch.inf)

    def scaled_norm(self, size: Tensor) -> Tensor:
        """Bound (B,) on the spectral norm of J' diag(size); here the Frobenius norm from ``row_norms``.

        Args:
            size: (B, *grid) nonnegative.
        """
        return _batch.norm(_product(size, self.row_norms()))


class FreePattern(Pattern):
    """Every point of k-space has a degree of its own, optimized as it is, within a box.

    Args:
        degrees: start, shape (H, W) or (n,).
        bounds: lower and upper bound of every entry; an upper bound below 1 for :class:`bilearn.mri.Odds`.
        learn: whether the pattern is learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if a value is outside the bounds.
    """

    degrees: Tensor

    def __init__(
        self,
        degrees: Tensor,
        bounds: tuple[float, float] = (0.0, 1.0),
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if bounds[0] < 0:
            raise ValueError(f"bounds: found lower {bounds[0]}, expected a number >= 0: a degree of sampling")
        learnable(self, "degrees", degrees, Identity(bounds), learn, dtype)

    def forward(self) -> Tensor:
        """A copy of the degrees."""
        return self.degrees.clone()

    def row_norms(self) -> Tensor:
        """1, or 0 where nothing is learned."""
        return torch.full_like(self.degrees.detach(), float(is_learned(self, "degrees")))

    def scaled_norm(self, size: Tensor) -> Tensor:
        """Largest entry of ``size``, exact: J is the identity."""
        return _batch.max_abs(_product(size, self.row_norms()))


def _product(size: Tensor, norms: Tensor) -> Tensor:
    """Size times norms, zero where the size is zero even if the norm is infinite."""
    return torch.where(size > 0, size * norms.to(size.dtype), 0.0)
