"""Weighted least squares in k-space, the weights made by a sampling pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities import Fidelity
from bilearn.mri.pattern import Pattern
from bilearn.mri.weighting import Square, Weighting


class KSpaceFidelity(Fidelity):
    """D(z, y) = 1/2 sum_k b_k |z_k - y_k|^2 with b = weighting(pattern()).

    z and y are (B, 2, *grid), real and imaginary part in two channels; further axes between these and the grid (coils)
    share the weights. y is the full k-space: the pattern acts through the weights only.

    Args:
        pattern: degrees of sampling s on the grid.
        weighting: b(s); s^2 if None.
    """

    def __init__(self, pattern: Pattern, weighting: Weighting | None = None) -> None:
        super().__init__()
        self.pattern = pattern
        self.weighting: Weighting = Square() if weighting is None else weighting

    def weights(self) -> Tensor:
        """b, shaped like the grid."""
        return self.weighting(self.pattern())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        return 0.5 * _batch.total(self._weights(z) * (z - y).square())

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """b (z - y)."""
        weights = self._weights(z)
        return weights * (z - y) if torch.is_grad_enabled() else (z - y).mul_(weights)

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """b, expanded."""
        return self._weights(z).expand_as(z)

    def curvature(self, y: Tensor) -> Curvature:
        """mu = min b, L = max b, constant Hessian; the cross derivative moves by at most max_k b'_k |ds_k/dtheta|.

        Its change for a change d of z is diag(d) b' J, whose k-th row has the norm |d_k| b'_k |J_k|.
        """
        weights = self.weights()
        with torch.no_grad():
            rows = self._scaled(torch.ones((), dtype=weights.dtype, device=weights.device)) * self.pattern.row_norms()
            cross = rows.nan_to_num(torch.inf).max()
        return Curvature(Constant(weights.min()), Constant(weights.max()), Constant(0.0), Constant(cross))

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Zero: the Hessian is constant."""
        return torch.zeros(v.shape[: v.ndim - z.ndim + 1], dtype=z.dtype, device=z.device)

    def cross_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """|J' diag(b' |v_k|)| radius: the derivative is J' b' <v_k, z_k - y_k>."""
        return self._bound(v, radius)

    def cross_norm(self, z: Tensor, y: Tensor) -> Tensor | None:
        """|J' diag(b' |z_k - y_k|)|."""
        return self._bound(z - y, torch.ones_like(_batch.norm(z)))

    def rounding(self, z: Tensor, y: Tensor) -> Tensor:
        """Relative rounding of each entry."""
        with torch.no_grad():
            return 8 * torch.finfo(z.dtype).eps * _batch.norm(self._weights(z) * (z.abs() + y.abs()))

    def _weights(self, like: Tensor) -> Tensor:
        weights = self.weights()
        if like.shape[-weights.ndim :] != weights.shape:
            raise ValueError(
                f"pattern: found a grid of shape {tuple(weights.shape)} for k-space of shape {tuple(like.shape)}, "
                "expected the same last axes"
            )
        return weights.to(like.dtype)

    def _scaled(self, size: Tensor) -> Tensor:
        return self.weighting.slope(self.pattern()).to(size.dtype) * size

    def _bound(self, v: Tensor, radius: Tensor) -> Tensor:
        with torch.no_grad():
            grid = self.pattern().ndim
            # vector_norm over leading axes takes ten times as long
            size = v.square().sum(tuple(range(1, v.ndim - grid))).sqrt_()
            bound = radius * self.pattern.scaled_norm(self._scaled(size))
            return torch.where(radius > 0, bound, torch.zeros_like(bound))
