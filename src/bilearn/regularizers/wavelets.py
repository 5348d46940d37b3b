"""Orthogonal wavelet transforms with periodic boundary, and sparsity of wavelet coefficients as a regularizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn._spectral import Basis
from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.potentials import Potential
from bilearn.regularizers.smoothed_analysis import SmoothedAnalysis
from bilearn.regularizers.wavelet_filters import Taps, filter_pair


@dataclass(frozen=True)
class PeriodicWavelets(AnalysisOperator):
    """K x = W x: coefficients of an orthogonal wavelet transform with periodic boundary, one field shaped like x.

    The coefficients are arranged as in ``pywt.coeffs_to_array(pywt.wavedec2(x, wavelet, "periodization", level=levels))``:
    the coarse approximation first, then the details from coarse to fine. W'W = I.

    Args:
        wavelet: name of a discrete orthogonal wavelet of PyWavelets.
        levels: number of decompositions; every image axis must be a multiple of 2^levels.
        axes: 1 for signals, 2 for images.
        coarse: whether the coarse approximation is kept; else K sets its coefficients to zero, so that they are not
            penalized.

    Raises:
        ValueError: levels below 1, other axes, an unknown wavelet, or (when applied) a side that does not fit.
    """

    wavelet: str = "db4"
    levels: int = 3
    axes: int = 2
    coarse: bool = True

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"levels: found {self.levels}, expected a number >= 1")
        if self.axes not in (1, 2):
            raise ValueError(f"axes: found {self.axes}, expected 1 (signals) or 2 (images)")
        filter_pair(self.wavelet)

    @property
    def fields(self) -> int:
        """1."""
        return 1

    @property
    def norm_squared(self) -> float:
        """1: W is orthogonal."""
        return 1.0

    @property
    def local_norm(self) -> float:
        """1: rows of W have unit norm."""
        return 1.0

    @property
    def rounding_factor(self) -> float:  # type: ignore[override]
        """A filter of L taps errs by at most L/2 unit roundoffs times its absolute values, whose norm is at most sqrt L."""
        return self.levels * self.axes * len(filter_pair(self.wavelet)) ** 1.5 / 16

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """(W x,)."""
        self._check(x)
        taps, out = filter_pair(self.wavelet), x
        for level in range(self.levels):
            part = _block(out, self._sides(x, level))
            out = _replaced(out, self._along_axes(_split, part, taps))
        if not self.coarse:
            coarse = _block(out, self._sides(x, self.levels))
            out = _replaced(out, torch.zeros_like(coarse))
        return (out,)

    def fill(self, out: list[Tensor], x: Tensor) -> None:
        """Write W x into ``out``."""
        out[0].copy_(self(x)[0])

    def adjoint(self, fields: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """W' of the coefficients, the inverse transform."""
        out = fields[0]
        self._check(out)
        if not self.coarse:
            coarse = _block(out, self._sides(out, self.levels))
            out = _replaced(out, torch.zeros_like(coarse))
        taps = filter_pair(self.wavelet)
        for level in reversed(range(self.levels)):
            part = _block(out, self._sides(out, level))
            out = _replaced(out, self._along_axes(_merge, part, taps))
        return out

    def add_adjoint(self, out: Tensor, fields: list[Tensor]) -> Tensor:
        """out += W' of the coefficients, in place."""
        return out.add_(self.adjoint(fields))

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor:
        """1."""
        return torch.ones((), dtype=like.dtype, device=like.device)

    def matches(self, basis: Basis) -> bool:
        """W'W = I is diagonal in every basis; without the coarse coefficients only nearly so."""
        return self.coarse

    def _sides(self, x: Tensor, level: int) -> tuple[int, ...]:
        return tuple(n >> level for n in x.shape[-self.axes :])

    def _along_axes(self, step: Callable[[Tensor, Taps], Tensor], x: Tensor, taps: Taps) -> Tensor:
        """``step``, which works along the axis before the last one, along every image axis."""
        if self.axes == 1:
            return step(x[..., None], taps)[..., 0]
        return step(step(x, taps).transpose(-1, -2), taps).transpose(-1, -2)

    def _check(self, x: Tensor) -> None:
        step = 2**self.levels
        if any(n % step for n in x.shape[-self.axes :]):
            raise ValueError(
                f"x: found {' x '.join(map(str, x.shape[-self.axes :]))} pixels, expected multiples of {step} for "
                f"{self.levels} wavelet levels; pad or crop the images, or use fewer levels"
            )


def _block(x: Tensor, sides: tuple[int, ...]) -> Tensor:
    """The leading ``sides`` entries along the last axes."""
    for axis, n in zip(range(-len(sides), 0), sides, strict=True):
        x = x.narrow(axis, 0, n)
    return x


def _replaced(x: Tensor, block: Tensor) -> Tensor:
    """x with its leading entries replaced by ``block``, in memory of its own."""
    if block.shape == x.shape:
        return block
    out = x.clone()
    target = out
    for axis in range(-(x.ndim), 0):
        target = target.narrow(axis, 0, block.shape[axis])
    target.copy_(block)
    return out


def _wrapped(x: Tensor, start: int, count: int) -> Tensor:
    """``count`` entries along the axis before the last one from ``start`` on, periodically."""
    return x.index_select(-2, (torch.arange(count, device=x.device) + start) % x.shape[-2])


def _split(x: Tensor, taps: Taps) -> Tensor:
    """One level along the axis before the last one: n entries -> n/2 low and n/2 high coefficients.

    c_k = sum_m taps_m x_(2k + 1 - L/2 + m), indices modulo n.
    """
    n, length = x.shape[-2], len(taps)
    padded = _wrapped(x, 1 - length // 2, n + length - 2)
    windows = [padded[..., m : m + n - 1 : 2, :] for m in range(length)]
    return torch.cat([_combined(windows, [pair[band] for pair in taps]) for band in (0, 1)], -2)


def _merge(c: Tensor, taps: Taps) -> Tensor:
    """Adjoint and inverse of :func:`_split`.

    x_(2q + p + 1 - L/2) = sum_j sum_bands taps_(2j + p) c_(q - j), p = 0, 1, indices modulo n.
    """
    n, length = c.shape[-2], len(taps)
    half, reach = n // 2, length // 2
    bands = [_wrapped(part, 1 - reach, half + reach - 1) for part in (c[..., :half, :], c[..., half:, :])]
    windows = [band[..., reach - 1 - j : reach - 1 - j + half, :] for j in range(reach) for band in bands]
    phases = [_combined(windows, [w for j in range(reach) for w in taps[2 * j + p]]) for p in (0, 1)]
    return torch.stack(phases, -2).flatten(-3, -2).roll(1 - reach, -2)


def _combined(parts: list[Tensor], weights: list[float]) -> Tensor:
    """Sum of the parts times their weights, accumulated in place."""
    out = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        out.add_(part, alpha=weight)
    return out


class WaveletSparsity(SmoothedAnalysis):
    """R(x) = alpha * sum_j phi(|(W x)_j|; nu) + xi/2 |x|^2 with an orthogonal periodic wavelet transform W.

    Parameters in the order alpha, xi, nu, each optimized as log10. As nu goes to 0, denoising with it becomes soft
    thresholding of the coefficients at alpha. Coefficients that are not penalized add the constant alpha phi(0).

    Args:
        alpha: weight, a number or a map (1, 1 or C, H, W) over the coefficients.
        xi: coefficient of the ridge, which makes the energy strongly convex.
        nu: smoothing of the absolute value, in units of the coefficients.
        wavelet: name of a discrete orthogonal wavelet of PyWavelets.
        levels: number of decompositions; every image axis must be a multiple of 2^levels.
        penalize_coarse: whether the coarse approximation is penalized too, as in Sherry et al. (2020).
        bracket: whether alpha multiplies the ridge too.
        learn: names of the learned parameters.
        bounds: bounds by name; alpha in [1e-7, 1e7], xi and nu in [1e-7, 1] by default.
        axes: 1 for signals, 2 for images.
        coupled: magnitude over all channels jointly (complex images).
        potential: the smoothed absolute value phi; sqrt(r^2 + nu^2) if None.

    Raises:
        ValueError: see :class:`PeriodicWavelets` and :class:`SmoothedAnalysis`.
    """

    def __init__(
        self,
        alpha: float | Tensor = 0.1,
        xi: float = 1e-3,
        nu: float = 1e-2,
        wavelet: str = "db4",
        levels: int = 3,
        penalize_coarse: bool = True,
        bracket: bool = False,
        learn: Iterable[str] = ("alpha", "xi", "nu"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        axes: int = 2,
        coupled: bool = False,
        potential: Potential | None = None,
    ) -> None:
        wavelets = PeriodicWavelets(wavelet, levels, axes, penalize_coarse)
        super().__init__(wavelets, alpha, xi, nu, bracket, learn, bounds, coupled=coupled, potential=potential)
        self.wavelets = wavelets
