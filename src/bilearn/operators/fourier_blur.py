"""Circular convolution by the fast Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn._spectral import Basis, Fourier
from bilearn.curvature import Constant
from bilearn.operators.operator import ForwardOperator


class FourierBlur(ForwardOperator):
    """A x = kernel * x with periodic boundary, over the last two axes (or the last one for 1-D signals).

    Args:
        kernel: real filter (1 or C, h, w) or (h, w), or (w,) for signals; its center h//2, w//2 is the origin.
        shape: image size (H, W), or (W,) for signals.
    """

    parts: Tensor

    def __init__(self, kernel: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        axes = len(shape)
        kernel = kernel.detach().reshape(kernel.shape[-axes:]) if kernel.ndim <= axes else kernel.detach()
        sizes = kernel.shape[-axes:]
        if any(k > n for k, n in zip(sizes, shape, strict=True)):
            raise ValueError(f"kernel: found size {tuple(sizes)}, expected at most the image size {tuple(shape)}")
        padded = torch.zeros(*kernel.shape[:-axes], *shape, dtype=torch.float64, device=kernel.device)
        padded[(..., *(slice(0, k) for k in sizes))] = kernel.to(torch.float64)
        axis = tuple(range(-axes, 0))
        padded = torch.roll(padded, [-(k // 2) for k in sizes], axis)
        self.axes, self.shape = axis, tuple(shape)
        self.register_buffer("parts", torch.view_as_real(torch.fft.rfftn(padded, dim=axis)).contiguous())

    @property
    def spectrum(self) -> Tensor:
        """Complex spectrum of the kernel; stored as real parts so that ``to(dtype)`` keeps the imaginary one."""
        return torch.view_as_complex(self.parts)

    def _apply_spectrum(self, x: Tensor, spectrum: Tensor) -> Tensor:
        complex_type = torch.complex128 if x.dtype == torch.float64 else torch.complex64
        product = torch.fft.rfftn(x, dim=self.axes) * spectrum.to(complex_type)
        return torch.fft.irfftn(product, s=self.shape, dim=self.axes)

    def A(self, x: Tensor) -> Tensor:
        """Convolution with the kernel."""
        return self._apply_spectrum(x, self.spectrum)

    def A_adjoint(self, z: Tensor) -> Tensor:
        """Correlation with the kernel."""
        return self._apply_spectrum(z, self.spectrum.conj())

    def norm_squared(self) -> Constant:
        """Largest squared modulus of the kernel's spectrum, exact."""
        return Constant(float(self.spectrum.abs().max()) ** 2)

    def smallest_squared(self) -> Constant:
        """Smallest squared modulus of the kernel's spectrum."""
        return Constant(float(self.spectrum.abs().min()) ** 2)

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor | None:
        """|spectrum|^2 in the Fourier basis."""
        return self.spectrum.abs().square().to(like.dtype) if basis == Fourier(len(self.axes)) else None

    def start(self, y: Tensor) -> Tensor:
        """The blurred data itself."""
        return y.detach().clone()
