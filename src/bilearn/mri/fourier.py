"""The orthonormal Fourier transform of complex images in two real channels, as a forward operator."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn._spectral import Basis, ComplexFourier, as_channels, as_complex
from bilearn.curvature import Constant
from bilearn.operators import ForwardOperator, Spectrum


class FourierTransform(ForwardOperator):
    """F x, the orthonormal discrete Fourier transform over the last ``axes`` axes.

    Images and k-space have two channels, real and imaginary part: (B, 2, n) for ``axes=1`` and (B, 2, H, W) for
    ``axes=2``. There is no shift: the zero frequency is the entry [0] (or [0, 0]) of k-space, as in ``torch.fft``; use
    ``torch.fft.fftshift`` over the same axes to show it in the middle.

    Args:
        axes: 1 for signals, 2 for images.

    Raises:
        ValueError: if ``axes`` is neither 1 nor 2, or (when applied) there are not exactly two channels.
    """

    def __init__(self, axes: int = 2) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise ValueError(f"axes: found {axes}, expected 1 (signals) or 2 (images)")
        self.axes = axes

    def A(self, x: Tensor) -> Tensor:
        """F x."""
        axes = tuple(range(-self.axes, 0))
        return as_channels(torch.fft.fftn(self._complex(x), dim=axes, norm="ortho"), self.axes)

    def A_adjoint(self, z: Tensor) -> Tensor:
        """F' z = F^-1 z."""
        axes = tuple(range(-self.axes, 0))
        return as_channels(torch.fft.ifftn(self._complex(z), dim=axes, norm="ortho"), self.axes)

    def norm_squared(self) -> Constant:
        """1."""
        return Constant(1.0)

    def smallest_squared(self) -> Constant:
        """1."""
        return Constant(1.0)

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor | None:
        """1 in every basis: F'F is the identity."""
        return torch.ones((), dtype=like.dtype, device=like.device)

    def normal_spectrum(self, weight: Tensor, like: Tensor) -> Spectrum | None:
        """The weight in the Fourier basis; exact where both channels share it, else their mean."""
        channel = -self.axes - 1
        shared = weight.stride(channel) == 0
        values = weight.narrow(channel, 0, 1) if shared else weight.mean(channel, keepdim=True)
        return Spectrum(ComplexFourier(self.axes), values, shared)

    def _complex(self, x: Tensor) -> Tensor:
        if x.ndim < self.axes + 2 or x.shape[-self.axes - 1] != 2:
            raise ValueError(
                f"x: found shape {tuple(x.shape)}, expected (B, 2, {'n' if self.axes == 1 else 'H, W'}): a complex image "
                "in two channels; use torch.stack((z.real, z.imag), 1)"
            )
        return as_complex(x, self.axes)
