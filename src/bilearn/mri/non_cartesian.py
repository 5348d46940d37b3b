"""The Fourier transform at any frequencies: as a sum where it is short, through finufft (extra ``nufft``) elsewhere."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bilearn._spectral import as_channels, as_complex
from bilearn.curvature import Constant
from bilearn.operators import ForwardOperator

_DIRECT = 1 << 17
"""Samples times pixels up to which the sums are computed as they are, which is faster there than setting up finufft."""


class NonCartesian(ForwardOperator):
    """z_t = (H W)^(-1/2) sum_j x_j exp(-2 pi i (k_t1 j_1 / H + k_t2 j_2 / W)): k-space where a trajectory is, on the CPU.

    Images are (B, 2, H, W), data (B, 2, T), real and imaginary part on axis 1. On integer locations these are the entries of
    :class:`bilearn.mri.FourierTransform`. The locations are fixed here; :func:`nonuniform_fourier` is differentiable in them.

    A'A is a Toeplitz matrix, a part of a circulant one of twice the size along each axis, whose largest eigenvalue
    bounds |A|^2.

    Args:
        locations: (T, 2) rows and columns in grid points from the zero frequency, as :meth:`GriddedPattern.locations`.
        shape: (H, W) of images.
        accuracy: relative accuracy asked of finufft.

    Raises:
        ValueError: if the locations are not (T, 2).
    """

    def __init__(self, locations: Tensor, shape: tuple[int, int], accuracy: float = 1e-12) -> None:
        super().__init__()
        if locations.ndim != 2 or locations.shape[1] != 2:
            raise ValueError(f"locations: found shape {tuple(locations.shape)}, expected (T, 2)")
        self.shape, self.accuracy = shape, accuracy
        self.rounding_factor = max(16.0, 10 * accuracy / torch.finfo(locations.dtype).eps)
        self.register_buffer("locations", locations.detach().clone())
        self._norm_squared = self._circulant_bound()

    def A(self, x: Tensor) -> Tensor:
        """Values at the locations."""
        images = as_complex(x, 2).squeeze(-3)
        return as_channels(nonuniform_fourier(images, self._at(x), self.accuracy).unsqueeze(-2), 1)

    def A_adjoint(self, z: Tensor) -> Tensor:
        """A' z."""
        values = as_complex(z, 1).squeeze(-2)
        return as_channels(_adjoint(values, self._at(z), self.shape, self.accuracy).unsqueeze(-3), 2)

    def norm_squared(self) -> Constant:
        """Largest eigenvalue of the circulant matrix, and the accuracy of finufft on top."""
        return Constant(self._norm_squared)

    def _at(self, like: Tensor) -> Tensor:
        return self.get_buffer("locations").to(like.dtype)

    def _circulant_bound(self) -> float:
        double = (2 * self.shape[0], 2 * self.shape[1])
        locations = 2 * self.get_buffer("locations").double()
        ones = torch.ones(len(locations), dtype=torch.complex128)
        kernel = _sum_modes(ones, locations, double, self.accuracy) / math.prod(self.shape)
        return float(torch.fft.fft2(kernel).real.max()) * (1 + 1e-6)


def nonuniform_fourier(images: Tensor, locations: Tensor, accuracy: float = 1e-12) -> Tensor:
    """(..., T) values of the transform of complex images (..., H, W), differentiable in both arguments, any number of times.

    With theta = 2 pi k / n along an axis, dz/dtheta is the transform of -i j x_j, computed to the same accuracy.

    Args:
        images: complex.
        locations: (T, 2) real of the same precision.
        accuracy: relative accuracy asked of finufft.
    """
    return _Transform.apply(images, locations, accuracy)


def nonuniform_adjoint(values: Tensor, locations: Tensor, shape: tuple[int, int], accuracy: float = 1e-12) -> Tensor:
    """(..., H, W) adjoint of :func:`nonuniform_fourier` at values (..., T), differentiable in both, any number of times.

    Args:
        values: complex.
        locations: (T, 2) real of the same precision.
        shape: (H, W).
        accuracy: relative accuracy asked of finufft.
    """
    return _Adjoint.apply(values, locations, shape, accuracy)


def attainable(accuracy: float, dtype: torch.dtype) -> float:
    """The accuracy that is asked of finufft: no more than numbers of this type can have."""
    return max(accuracy, 8 * torch.finfo(dtype).eps)


class _Transform(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, locations: Tensor, accuracy: float) -> Tensor:
        ctx.save_for_backward(images, locations)
        ctx.accuracy = accuracy
        return _values(images, locations, accuracy)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (images, locations), gradient = ctx.saved_tensors, gradients[0]
        needs_images, needs_locations, _ = ctx.needs_input_grad
        shape = (images.shape[-2], images.shape[-1])
        for_images = nonuniform_adjoint(gradient, locations, shape, ctx.accuracy) if needs_images else None
        for_locations = _moved(images, gradient, locations, ctx.accuracy) if needs_locations else None
        return for_images, for_locations, None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, locations: Tensor, shape: tuple[int, int], accuracy: float) -> Tensor:
        ctx.save_for_backward(values, locations)
        ctx.accuracy = accuracy
        return _adjoint(values, locations, shape, accuracy)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        (values, locations), gradient = ctx.saved_tensors, gradients[0]
        needs_values, needs_locations, *_ = ctx.needs_input_grad
        for_values = nonuniform_fourier(gradient, locations, ctx.accuracy) if needs_values else None
        for_locations = _moved(gradient, values, locations, ctx.accuracy) if needs_locations else None
        return for_values, for_locations, None, None


def _moved(images: Tensor, values: Tensor, locations: Tensor, accuracy: float) -> Tensor:
    """(T, 2) derivative of Re <values, A images> in the locations."""
    parts = []
    for axis, n in enumerate(images.shape[-2:]):
        index = torch.arange(n, dtype=locations.dtype).reshape((-1, 1) if axis == 0 else (1, -1))
        slope = nonuniform_fourier(images * index, locations, accuracy) * (-2j * math.pi / n)
        parts.append((values.conj() * slope).real.reshape(-1, len(locations)).sum(0))
    return torch.stack(parts, 1)


def _values(images: Tensor, locations: Tensor, accuracy: float) -> Tensor:
    shape = (images.shape[-2], images.shape[-1])
    scale = math.sqrt(math.prod(shape))
    if len(locations) * math.prod(shape) <= _DIRECT:
        rows, columns = _waves(locations, shape)
        return ((images.detach() @ columns.mT) * rows.mT).sum(-2) / scale
    theta, turn = _angles(locations, shape)
    stack = images.detach().reshape(-1, *shape).contiguous().resolve_conj().numpy()
    found = _finufft().nufft2d2(theta[0], theta[1], stack, eps=attainable(accuracy, locations.dtype), isign=-1)
    values = torch.from_numpy(found).reshape(*images.shape[:-2], len(locations))
    return values * (turn / scale)


def _adjoint(values: Tensor, locations: Tensor, shape: tuple[int, int], accuracy: float) -> Tensor:
    return _sum_modes(values, locations, shape, accuracy) / math.sqrt(math.prod(shape))


def _sum_modes(values: Tensor, locations: Tensor, shape: tuple[int, int], accuracy: float) -> Tensor:
    """sum_t values_t exp(2 pi i k_t j / n) for the pixels j."""
    if len(locations) * math.prod(shape) <= _DIRECT:
        rows, columns = _waves(locations, shape)
        return (values.detach()[..., None, :] * rows.conj().mT) @ columns.conj()
    theta, turn = _angles(locations, shape)
    stack = (values.detach() * turn.conj()).reshape(-1, len(locations)).contiguous().resolve_conj().numpy()
    eps = attainable(accuracy, locations.dtype)
    found = _finufft().nufft2d1(theta[0], theta[1], stack, shape, eps=eps, isign=1)
    return torch.from_numpy(found).reshape(*values.shape[:-1], *shape)


def _waves(locations: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(T, H) and (T, W) exp(-2 pi i k j / n) along both axes."""
    phases = [
        torch.outer(k, torch.arange(n, dtype=k.dtype, device=k.device)) * (-2 * math.pi / n)
        for n, k in zip(shape, locations.detach().unbind(1), strict=True)
    ]
    rows, columns = (torch.polar(torch.ones_like(p), p) for p in phases)
    return rows, columns


def _angles(locations: Tensor, shape: Any) -> tuple[list[Any], Tensor]:
    """2 pi k / n per axis, and the phase of the pixel n // 2, which finufft counts from."""
    theta = [2 * math.pi / n * k for n, k in zip(shape, locations.detach().unbind(1), strict=True)]
    phase = -sum((t * (n // 2) for n, t in zip(shape, theta, strict=True)), torch.zeros_like(theta[0]))
    return [t.contiguous().numpy() for t in theta], torch.polar(torch.ones_like(phase), phase)


def _finufft() -> Any:
    try:
        import finufft
    except ImportError as error:
        raise ImportError('finufft: not installed, needed by NonCartesian; pip install "bilearn[nufft]"') from error
    return finufft
