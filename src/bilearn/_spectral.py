"""Orthogonal bases that diagonalize convolutions: Fourier (periodic boundary), of real and of complex images, and cosine
(Neumann boundary)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """An orthonormal change of basis Q between images and real vectors.

    Attributes:
        enter: Q.
        leave: Q'.
    """

    enter: Callable[[Tensor], Tensor]
    leave: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Basis(ABC):
    """A transform over the last ``axes`` axes in which multiplications are applied."""

    axes: int

    @abstractmethod
    def multiply(self, v: Tensor, multiplier: Tensor) -> Tensor:
        """Transform, multiply, transform back; real in, real out."""

    @abstractmethod
    def laplacian(self, like: Tensor) -> Tensor:
        """Eigenvalues of K'K for finite differences K with the boundary condition of this basis."""

    def transform(self) -> Transform | None:
        """The change of basis, with real and imaginary part of the coefficients last, where it is worth staying in it."""
        return None

    def _sum(self, eigenvalues: list[Tensor]) -> Tensor:
        count = len(eigenvalues)
        parts = [e.reshape(-1, *([1] * (count - 1 - k))) for k, e in enumerate(eigenvalues)]
        return sum(parts[1:], parts[0])


@dataclass(frozen=True)
class Fourier(Basis):
    """Real Fourier transform, layout of ``rfftn``."""

    def multiply(self, v: Tensor, multiplier: Tensor) -> Tensor:
        """Periodic convolution with the kernel whose spectrum is ``multiplier``."""
        axes = tuple(range(-self.axes, 0))
        return torch.fft.irfftn(torch.fft.rfftn(v, dim=axes) * multiplier, s=v.shape[-self.axes :], dim=axes)

    def laplacian(self, like: Tensor) -> Tensor:
        """Sum over axes of 4 sin^2(pi k/n)."""
        parts = []
        for axis, n in enumerate(like.shape[-self.axes :]):
            count = n // 2 + 1 if axis == self.axes - 1 else n
            k = torch.arange(count, dtype=like.dtype, device=like.device)
            parts.append(4 * torch.sin(math.pi * k / n).square())
        return self._sum(parts)


@dataclass(frozen=True)
class ComplexFourier(Basis):
    """Fourier transform of complex images in two channels (..., 2, *spatial); transformed images are (..., 1, *spatial)."""

    def multiply(self, v: Tensor, multiplier: Tensor) -> Tensor:
        """Transform the complex image, multiply, transform back; two channels in, two channels out."""
        axes = tuple(range(-self.axes, 0))
        spectrum = torch.fft.fftn(as_complex(v, self.axes), dim=axes) * multiplier
        return as_channels(torch.fft.ifftn(spectrum, dim=axes), self.axes)

    def transform(self) -> Transform:
        """Images (..., 2, *spatial) to coefficients (..., 1, *spatial, 2)."""
        return Transform(self._enter, self._leave)

    def _enter(self, x: Tensor) -> Tensor:
        axes = tuple(range(-self.axes, 0))
        return torch.view_as_real(torch.fft.fftn(as_complex(x, self.axes), dim=axes, norm="ortho"))

    def _leave(self, v: Tensor) -> Tensor:
        axes = tuple(range(-self.axes, 0))
        return as_channels(torch.fft.ifftn(torch.view_as_complex(v), dim=axes, norm="ortho"), self.axes)

    def laplacian(self, like: Tensor) -> Tensor:
        """Sum over axes of 4 sin^2(pi k/n), periodic boundary."""
        parts = []
        for n in like.shape[-self.axes :]:
            k = torch.arange(n, dtype=like.dtype, device=like.device)
            parts.append(4 * torch.sin(math.pi * k / n).square())
        return self._sum(parts)


def as_complex(x: Tensor, axes: int) -> Tensor:
    """(..., 2, *spatial) real to (..., 1, *spatial) complex."""
    return torch.complex(x.narrow(-axes - 1, 0, 1), x.narrow(-axes - 1, 1, 1))


def as_channels(z: Tensor, axes: int) -> Tensor:
    """(..., 1, *spatial) complex to (..., 2, *spatial) real."""
    return torch.cat((z.real, z.imag), -axes - 1)


@dataclass(frozen=True)
class Cosine(Basis):
    """Orthonormal discrete cosine transform (type II), through one complex Fourier transform per axis (Makhoul 1980)."""

    def multiply(self, v: Tensor, multiplier: Tensor) -> Tensor:
        """Multiplication in the cosine basis."""
        w = v
        for axis in range(-self.axes, 0):
            w = _dct(w.transpose(axis, -1)).transpose(axis, -1)
        w = w * multiplier
        for axis in range(-self.axes, 0):
            w = _inverse_dct(w.transpose(axis, -1)).transpose(axis, -1)
        return w.contiguous()

    def laplacian(self, like: Tensor) -> Tensor:
        """Sum over axes of 4 sin^2(pi k/(2n))."""
        parts = []
        for n in like.shape[-self.axes :]:
            k = torch.arange(n, dtype=like.dtype, device=like.device)
            parts.append(4 * torch.sin(math.pi * k / (2 * n)).square())
        return self._sum(parts)


def _twist(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    k = torch.arange(n, dtype=like.dtype, device=like.device)
    phase = torch.polar(torch.ones_like(k), -math.pi * k / (2 * n))
    scale = torch.full_like(k, math.sqrt(2.0 / n))
    scale[0] = math.sqrt(1.0 / n)
    return phase, scale


def _dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II along the last axis."""
    phase, scale = _twist(x.shape[-1], x)
    folded = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), -1)
    return (torch.fft.fft(folded) * phase).real * scale


def _inverse_dct(c: Tensor) -> Tensor:
    """Inverse of :func:`_dct`: the Fourier coefficients are phase' (C_k - i C_(n-k)), C_n = 0."""
    n = c.shape[-1]
    phase, scale = _twist(n, c)
    plain = c / scale
    mirrored = torch.cat((torch.zeros_like(plain[..., :1]), plain[..., 1:].flip(-1)), -1)
    folded = torch.fft.ifft(torch.complex(plain, -mirrored) * phase.conj()).real
    out = torch.empty_like(c)
    half = (n + 1) // 2
    out[..., ::2] = folded[..., :half]
    out[..., 1::2] = folded[..., half:].flip(-1)
    return out
