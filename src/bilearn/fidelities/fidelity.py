"""Data fidelities D(z, y) with z = A x: separable, so that their Hessian in z is diagonal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Curvature
from bilearn.parameters import collect


class Fidelity(nn.Module):
    """D(z, y), one number per sample; complex data count as pairs of reals given as two channels.

    An author must write ``forward``, ``grad``, ``second`` (the diagonal of the Hessian in z) and ``curvature``; may
    write ``entry_slopes``, ``second_variation``, ``cross_variation``, ``column_variation``, ``cross_norm`` and
    ``rounding``. ``grad`` must be differentiable in the parameters.
    """

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(z, y) -> (B,)")

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Gradient in z."""
        raise NotImplementedError(f"{type(self).__name__} must define grad(z, y)")

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """Second derivative in z, elementwise, shaped like z."""
        raise NotImplementedError(f"{type(self).__name__} must define second(z, y)")

    def curvature(self, y: Tensor) -> Curvature:
        """Constants in z, valid for all z."""
        return Curvature()

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound on |(D''(z') - D''(z)) v| over |z' - z| <= radius (B,); v (B, ...) or (K, B, ...)."""
        lead = v.ndim - z.ndim + 1
        constant = self.curvature(y).hessian_lipschitz.per_sample(z)
        moved = radius * _batch.max_abs(v, lead)
        return torch.where(moved > 0, constant * moved, torch.zeros_like(moved))

    def cross_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the change of d/dtheta <D'(z), v> over |z' - z| <= radius (2-norm over theta)."""
        constant = self.curvature(y).cross_lipschitz.per_sample(z)
        moved = radius * _batch.norm(v)
        return torch.where(moved > 0, constant * moved, torch.zeros_like(moved))

    def column_variation(self, z: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the spectral norm of the change of dD'/dtheta over |z' - z| <= radius."""
        constant = self.curvature(y).cross_lipschitz.per_sample(z)
        return torch.where(radius > 0, constant * radius, torch.zeros_like(radius))

    def entry_slopes(self, z: Tensor, y: Tensor) -> dict[str, Tensor] | None:
        """d D'_k / d(coordinate at entry k), shaped like z, of every learned number by name; None unless declared."""
        return None

    def cross_norm(self, z: Tensor, y: Tensor) -> Tensor | None:
        """Bound (B,) on the spectral norm of dD'/dtheta at z, or None where none is known; zero where nothing is learned.

        Each number adds the largest sum of its squared ``entry_slopes`` over the entries that share one coordinate.
        """
        if not any(p.requires_grad for p in self.parameters()):
            return torch.zeros_like(_batch.norm(z))
        with torch.no_grad():
            slopes = self.entry_slopes(z, y)
            if slopes is None:
                return None
            squares = [_batch.max_abs(collect(self, name, slope.square())) for name, slope in slopes.items()]
            return torch.sqrt(torch.stack(squares).sum(0))

    def rounding(self, z: Tensor, y: Tensor) -> Tensor:
        """Bound (B,) on the rounding error of ``grad`` for exact z."""
        smoothness = self.curvature(y).smoothness.per_sample(z)
        return 8 * torch.finfo(z.dtype).eps * smoothness * (_batch.norm(z) + _batch.norm(y))
