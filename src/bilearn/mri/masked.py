"""Data that carry their masks: images of one batch that are sampled differently, for many masks in one solve."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import Basis
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities import Fidelity
from bilearn.mri.coils import CoilFourierTransform
from bilearn.mri.fourier import FourierTransform
from bilearn.operators import ForwardOperator, Spectrum
from bilearn.regularizers import Regularizer
from bilearn.variational import VariationalEnergy


def masked_energy(regularizer: Regularizer, maps: Tensor | None = None) -> VariationalEnergy:
    """h(x) = 1/2 sum_k m_k |(F x - y)_k|^2 + R(x) with a mask m for every row of the data, see :func:`masked_data`.

    The energy of :func:`bilearn.mri.sampling_energy` for masks that are compared, not learned.

    Args:
        regularizer: R; with a ridge, or there is no certificate where samples are missing.
        maps: (C, H, W) complex sensitivities; None for a single coil that sees evenly.
    """
    inner = FourierTransform(2) if maps is None else CoilFourierTransform(maps)
    return VariationalEnergy(_MaskedLeastSquares(), regularizer, _Unmasked(inner))


def masked_data(kspace: Tensor, masks: Tensor) -> Tensor:
    """Every image with every mask, (K L, 3, H, W) or (K L, 3, C, H, W): real and imaginary part, and the mask.

    Row l of mask k is row k L + l.

    Args:
        kspace: (L, 2, H, W), or (L, 2, C, H, W) of several coils.
        masks: (K, H, W), boolean or degrees from 0 to 1 that weight the squares.

    Raises:
        ValueError: if grids differ.
    """
    if kspace.ndim < 4 or kspace.shape[1] != 2 or masks.ndim != 3 or kspace.shape[-2:] != masks.shape[1:]:
        raise ValueError(
            f"masks: found shape {tuple(masks.shape)} for k-space {tuple(kspace.shape)}, expected (K, H, W) and "
            "(L, 2, H, W) or (L, 2, C, H, W) with the same grid"
        )
    rows = len(masks), len(kspace)
    between = (None,) * (kspace.ndim - 2)
    weights = masks.to(kspace)[(slice(None), *between)].expand(*rows, 1, *kspace.shape[2:])
    return torch.cat((kspace.expand(*rows, *kspace.shape[1:]), weights), 2).flatten(0, 1)


class _MaskedLeastSquares(Fidelity):
    """D(z, y) = 1/2 sum_k m_k |z_k - y_k|^2 for data (B, 3, ...) with m in the last channel."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return 0.5 * _batch.total(y[:, 2:] * (z - y[:, :2]).square())

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        return y[:, 2:] * (z - y[:, :2])

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        return y[:, 2:].expand_as(z)

    def curvature(self, y: Tensor) -> Curvature:
        mask, zero = y[:, 2].flatten(1), Constant(0.0)
        return Curvature(Constant(mask.amin(1)), Constant(mask.amax(1)), zero, zero)

    def rounding(self, z: Tensor, y: Tensor) -> Tensor:
        return 8 * torch.finfo(z.dtype).eps * _batch.norm(y[:, 2:] * (z.abs() + y[:, :2].abs()))


class _Unmasked(ForwardOperator):
    """An operator on the first two channels of the data."""

    def __init__(self, inner: ForwardOperator) -> None:
        super().__init__()
        self.inner, self.rounding_factor = inner, inner.rounding_factor

    def A(self, x: Tensor) -> Tensor:
        return self.inner.A(x)

    def A_adjoint(self, z: Tensor) -> Tensor:
        return self.inner.A_adjoint(z)

    def normal(self, v: Tensor, weight: Tensor) -> Tensor:
        return self.inner.normal(v, weight)

    def norm_squared(self) -> Constant:
        return self.inner.norm_squared()

    def smallest_squared(self) -> Constant:
        return self.inner.smallest_squared()

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor | None:
        return self.inner.normal_symbol(basis, like)

    def normal_spectrum(self, weight: Tensor, like: Tensor) -> Spectrum | None:
        return self.inner.normal_spectrum(weight, like)

    def start(self, y: Tensor) -> Tensor:
        return self.inner.start(y[:, :2])
