"""Several receive coils: sensitivity maps, and the Fourier transform of the images they see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bilearn._spectral import ComplexFourier, as_channels, as_complex
from bilearn.curvature import Constant
from bilearn.operators import ForwardOperator, Spectrum

_CACHE_BYTES = 1_000_000


class CoilFourierTransform(ForwardOperator):
    """(F S_c x)_c: the orthonormal 2-D Fourier transform of a complex image, weighted by the sensitivity of every coil.

    Images are (B, 2, H, W), k-space is (B, 2, C, H, W), real and imaginary part on axis 1, as in deepinv's ``MultiCoilMRI``.
    There is no shift: [0, 0] of k-space is the zero frequency, [0, 0] of images and maps a corner. (deepinv's transform is
    centered: its k-space is :func:`bilearn.mri.io.center_kspace` of this one.)

    All images of a batch have the same maps. |A|^2 = max_j sum_c |S_c,j|^2 and the smallest eigenvalue of A'A, the minimum
    of the same sum, are exact up to rounding, since F is unitary.

    Args:
        maps: (C, H, W) complex sensitivities S.

    Raises:
        ValueError: if the maps are not complex, not finite or zero everywhere, or (when applied) shapes do not fit.
    """

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        if maps.ndim != 3 or not maps.is_complex():
            raise ValueError(f"maps: found {maps.dtype} of shape {tuple(maps.shape)}, expected complex (coils, H, W)")
        if not bool(torch.isfinite(maps.abs()).all()) or not bool((maps != 0).any()):
            raise ValueError(
                "maps: found NaN, infinity or nothing but zeros, expected finite sensitivities; clean them first"
            )
        self.register_buffer("_parts", torch.view_as_real(maps.detach().resolve_conj()).clone())
        power = torch.fft.fft2(maps.detach().to(torch.complex128)).abs().square().sum(0)
        self.register_buffer("_correlation", torch.view_as_real(torch.fft.fft2(power)) / maps[0].numel() ** 2)

    @property
    def maps(self) -> Tensor:
        """(C, H, W) complex."""
        return torch.view_as_complex(self.get_buffer("_parts"))

    def A(self, x: Tensor) -> Tensor:
        """(F S_c x)_c."""
        maps = self._maps(x, 2)
        z = torch.fft.fft2(as_complex(x, 2) * maps, norm="ortho")
        return torch.stack((z.real, z.imag), -4)

    def A_adjoint(self, z: Tensor) -> Tensor:
        """sum_c conj(S_c) F^-1 z_c."""
        maps = self._maps(z, 3)
        seen = torch.fft.ifft2(torch.complex(z.select(-4, 0), z.select(-4, 1)), norm="ortho")
        return as_channels((seen * maps.conj()).sum(-3, keepdim=True), 2)

    def normal(self, v: Tensor, weight: Tensor) -> Tensor:
        """A' diag(weight) A v, one coil after the other where all of them together would leave the cache."""
        size = v.numel() * len(self.get_buffer("_parts")) * v.element_size()
        if weight.stride(1) != 0 or v.device.type != "cpu" or size < _CACHE_BYTES:
            return super().normal(v, weight)
        x, total = as_complex(v, 2).squeeze(-3), None
        for coil, seen in enumerate(self._maps(v, 2)):
            z = torch.fft.ifft2(torch.fft.fft2(x * seen) * weight[:, 0, coil]) * seen.conj()
            total = z if total is None else total.add_(z)
        assert total is not None
        return as_channels(total.unsqueeze(-3), 2)

    def norm_squared(self) -> Constant:
        """max_j sum_c |S_c,j|^2."""
        return Constant(self._energy().max() * (1 + self._slack()))

    def smallest_squared(self) -> Constant:
        """min_j sum_c |S_c,j|^2."""
        return Constant(self._energy().min() * (1 - self._slack()))

    def normal_spectrum(self, weight: Tensor, like: Tensor) -> Spectrum | None:
        """The multiplication in k-space nearest to A' diag(weight) A in the Frobenius norm (T. Chan's preconditioner).

        With the weight w averaged over channels and coils, row i and column j of the matrix are
        sum_c conj(S_c,i) k_w(i - j) S_c,j; their mean along every diagonal multiplies the kernel k_w by the correlation of the
        maps: the spectrum is w correlated with the power spectrum of the maps, which is nonnegative.

        Source: T. Chan, An optimal circulant preconditioner for Toeplitz systems, SIAM J. Sci. Stat. Comput. 9, 1988.
        """
        first = weight
        for axis in (1, 2):
            first = first.narrow(axis, 0, 1) if first.stride(axis) == 0 else first.mean(axis, keepdim=True)
        rows = first.narrow(0, 0, 1) if first.stride(0) == 0 else first
        correlation = torch.view_as_complex(self.get_buffer("_correlation").to(weight.dtype))
        values = torch.fft.fft2(torch.fft.ifft2(rows.select(1, 0)) * correlation).real.clamp(min=0.0)
        return Spectrum(ComplexFourier(2), values.expand(len(weight), *values.shape[1:]), exact=False)

    def start(self, y: Tensor) -> Tensor:
        """The least-squares solution for fully sampled k-space: A' y / sum_c |S_c|^2, zero where no coil sees."""
        energy = self._energy().to(y.dtype)
        return self.A_adjoint(y) * torch.where(energy > 0, 1 / energy, 0.0)

    def _energy(self) -> Tensor:
        return self.get_buffer("_parts").square().sum((0, -1))

    def _slack(self) -> float:
        """Rounding of the sum over coils, relative."""
        parts = self.get_buffer("_parts")
        return 4 * len(parts) * torch.finfo(parts.dtype).eps

    def _maps(self, like: Tensor, axes: int) -> Tensor:
        parts = self.get_buffer("_parts")
        coils, *grid, _ = parts.shape
        expected = [2, *grid] if axes == 2 else [2, coils, *grid]
        if like.ndim < axes + 2 or list(like.shape[-axes - 1 :]) != expected:
            name = "x" if axes == 2 else "z"
            raise ValueError(
                f"{name}: found shape {tuple(like.shape)}, expected (B, {', '.join(map(str, expected))}) for {coils} coils: "
                "real and imaginary part on axis 1"
            )
        return torch.view_as_complex(parts.to(like.dtype))


def birdcage_maps(
    coils: int, shape: Sequence[int], distance: float = 1.5, dtype: torch.dtype = torch.complex128
) -> Tensor:
    """Simulated sensitivities (C, H, W) of coils on a circle around the image, with sum_c |S_c|^2 = 1 at every pixel.

    Coil c sits at the angle 2 pi c / C; its field falls off as 1 / distance, and its phase is the direction from coil to
    pixel plus the angle of the coil, as between the rungs of a birdcage coil driven in quadrature.

    Args:
        coils: C >= 1.
        shape: (H, W).
        distance: of the coils from the center, in half sides of the image; above sqrt(2), so that none lies inside.
        dtype: complex dtype.

    Raises:
        ValueError: if there is no coil, or coils lie inside of the image.
    """
    if coils < 1:
        raise ValueError(f"coils: found {coils}, expected at least 1")
    if distance <= math.sqrt(2):
        raise ValueError(f"distance: found {distance}, expected more than sqrt(2), or coils lie inside of the image")
    rows, columns = ((torch.arange(n, dtype=torch.float64) - n // 2) / (n / 2) for n in shape)
    pixels = torch.complex(columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns)))
    angle = torch.arange(coils, dtype=torch.float64) * (2 * math.pi / coils)
    turn = torch.polar(torch.ones_like(angle), angle)[:, None, None]
    offset = pixels - distance * turn
    field = turn * offset / offset.abs().square()
    return (field / field.abs().square().sum(0).sqrt()).to(dtype)
