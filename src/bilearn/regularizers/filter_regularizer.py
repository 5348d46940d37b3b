"""Regularizers sum_c sum_j f_c((k_c * x)_j): values, derivatives and bounds for any filter bank and any even functions f_c.

    grad = K' f'(K x),     H v = K' (f''(K x) K v)

All filters are one batched convolution. f'' is computed once per Hessian. Channels of an image are penalized one by one.
Outside of grad mode images are processed a few at a time, so that the maps of all filters stay in reused memory.

**Constants.** With low_c <= f_c'' <= high_c:  -|diag(sqrt(low^-)) K|^2 <= H <= |diag(sqrt(high^+)) K|^2. With t_c a Lipschitz
constant of f_c'' and |(K d)_{c,j}| <= |k_c| |d|, the Hessian has the Lipschitz constant |diag(sqrt(t_c |k_c|)) K|^2.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import Basis, Fourier
from bilearn.curvature import UNKNOWN_UPPER, Constant, Curvature
from bilearn.regularizers._theta_cache import ThetaCache
from bilearn.regularizers.filters import FilterBank
from bilearn.regularizers.regularizer import Regularizer, Symbol, TermHessian

# entries of one map of responses that is processed at once: the allocator hands several larger maps back and faults them anew
_CHUNK_ENTRIES = 2**19
# unit roundoffs of a filter response relative to |k_c|_1 max|x|, and of f'
_ROUNDINGS = 4


@dataclass(frozen=True)
class Ranges:
    """Bounds on the functions f_c, each (F,).

    Attributes:
        low, high: low <= f'' <= high.
        third: Lipschitz constant of f''; infinite where f'' jumps.
    """

    low: Tensor
    high: Tensor
    third: Tensor


class FilterRegularizer(Regularizer):
    """Base of the regularizers made of filters and scalar functions of their responses.

    A subclass says what f_c is, on responses u (P, F, h, w). ``slopes`` may overwrite u outside of grad mode.

    Args:
        bank: the filters K.
    """

    def __init__(self, bank: FilterBank) -> None:
        super().__init__()
        self.bank = bank
        self._cache = ThetaCache()

    @abstractmethod
    def values(self, u: Tensor) -> Tensor:
        """f_c(u)."""

    @abstractmethod
    def slopes(self, u: Tensor) -> Tensor:
        """f_c'(u)."""

    @abstractmethod
    def seconds(self, u: Tensor) -> Tensor:
        """f_c''(u), or one element of the generalized derivative."""

    def totals_and_slopes(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of f_c(u) over all filters and pixels (P,), and f_c'(u), which may overwrite u; outside of grad mode."""
        return _batch.total(self.values(u)), self.slopes(u)

    @abstractmethod
    def ranges(self, like: Tensor) -> Ranges:
        """Bounds on f_c'' at the current theta."""

    @abstractmethod
    def second_variation(self, u: Tensor, reach: Tensor) -> Tensor:
        """Bound on |f_c''(u') - f_c''(u)| over |u' - u| <= reach, shape of u; reach broadcasts against u."""

    def _chunks(self, x: Tensor) -> Iterator[slice]:
        """Rows of planes (P, 1, H, W) to process at once."""
        count = self.samples_at_once(x[:, :1])
        return (slice(k, k + count) for k in range(0, x.shape[0], count))

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        flat = planes(x)
        if torch.is_grad_enabled():
            return self._per_sample(_batch.total(self.values(self.bank(flat))), x)
        return self._per_sample(
            torch.cat([_batch.total(self.values(self.bank(flat[rows]))) for rows in self._chunks(flat)]), x
        )

    @staticmethod
    def _per_sample(values: Tensor, x: Tensor) -> Tensor:
        return values.reshape(x.shape[:2]).sum(1)

    def grad(self, x: Tensor) -> Tensor:
        """K' f'(K x)."""
        if torch.is_grad_enabled():
            return self.bank.adjoint(self.slopes(self.bank(planes(x)))).reshape(x.shape)
        return self.add_grad(torch.zeros_like(x), x)

    def add_grad(self, out: Tensor, x: Tensor) -> Tensor:
        """out + grad R(x), in the memory of ``out`` outside of grad mode."""
        if torch.is_grad_enabled():
            return out + self.grad(x)
        flat, result = planes(x), planes(out.contiguous())
        for rows in self._chunks(flat):
            result[rows] += self.bank.adjoint(self.slopes(self.bank(flat[rows])))
        return result.reshape(out.shape)

    def add_value_and_grad(self, out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """As the two methods, with the responses computed once."""
        if torch.is_grad_enabled():
            return self(x), out + self.grad(x)
        flat, result = planes(x), planes(out.contiguous())
        values = []
        for rows in self._chunks(flat):
            total, slopes = self.totals_and_slopes(self.bank(flat[rows]))
            values.append(total)
            result[rows] += self.bank.adjoint(slopes)
        return self._per_sample(torch.cat(values), x), result.reshape(out.shape)

    def directional(self, x: Tensor, v: Tensor) -> Tensor:
        """sum <f'(K x), K v>: differentiating it in theta needs no adjoint of K."""
        return (self.slopes(self.bank(planes(x))) * self.bank(planes(v))).sum()

    def samples_at_once(self, x: Tensor) -> int:
        """So many that one map of responses stays in reused memory."""
        entries = self.bank.fields * x.shape[1] * x.shape[-1] * x.shape[-2]
        return max(1, _CHUNK_ENTRIES // max(1, entries))

    def hessian(self, x: Tensor) -> TermHessian:
        """Second derivative at x, with f''(K x) computed once."""
        with torch.no_grad():
            flat = planes(x)
            return FilterHessian(
                self, torch.cat([self.seconds(self.bank(flat[rows])) for rows in self._chunks(flat)]), x.shape[1]
            )

    def curvature(self, like: Tensor) -> Curvature:
        """Constants of the module docstring; the cross derivative's is unknown."""
        return self._cache.get("curvature", self, (like.dtype, like.device), lambda: self._constants(like))

    def _constants(self, like: Tensor) -> Curvature:
        ranges, bank = self.ranges(like), self.bank
        below = bank.weighted_norm_squared((-ranges.low).clamp(min=0.0))
        above = bank.weighted_norm_squared(ranges.high.clamp(min=0.0))
        if not bool(torch.isfinite(ranges.third).all()):
            return Curvature(Constant(-below), Constant(torch.maximum(below, above)), UNKNOWN_UPPER)
        turn = bank.weighted_norm_squared(ranges.third * bank.lengths(like))
        return Curvature(Constant(-below), Constant(torch.maximum(below, above)), Constant(turn))

    def _norm(self, like: Tensor) -> Tensor:
        """|K|."""
        ones = torch.ones(self.bank.fields, dtype=like.dtype, device=like.device)
        return self._cache.get(
            "norm", self, (like.dtype, like.device), lambda: self.bank.weighted_norm_squared(ones).sqrt()
        )

    def hessian_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """The smaller of two bounds: |K| |(largest change of f'') K v|, and the Lipschitz constant where there is one.

        The first holds where f'' jumps, too: only responses that can reach a jump count.
        """
        with torch.no_grad():
            if v.ndim > x.ndim:
                return torch.stack([self.hessian_variation(x, part, radius) for part in v])
            flat, directions = planes(x), planes(v)
            each = radius.repeat_interleave(x.shape[1]).reshape(-1, 1, 1, 1)
            reach = each * self.bank.lengths(x).reshape(-1, 1, 1)
            squares = torch.cat(
                [
                    _batch.total(
                        (self.second_variation(self.bank(flat[rows]), reach[rows]) * self.bank(directions[rows])) ** 2
                    )
                    for rows in self._chunks(flat)
                ]
            )
            local = self._norm(x) * self._per_sample(squares, x).sqrt()
            return torch.minimum(local, super().hessian_variation(x, v, radius))

    def rounding(self, x: Tensor) -> Tensor:
        """Rounding of the responses through f'', of f' and of the sum over filters.

        A response errs by at most e_c = 4 unit roundoffs of |k_c|_1 max|x|, f' by f''(within e_c) e_c and 4 unit roundoffs of
        itself, and the adjoint adds 4 unit roundoffs of the convolution with absolute values, whose norm is at most
        sqrt(sum_c |k_c|_1^2).
        """
        unit = _ROUNDINGS * torch.finfo(x.dtype).eps
        with torch.no_grad():
            flat = planes(x)
            sums = self.bank.sums(x)
            inner, outer = [], []
            for rows in self._chunks(flat):
                reach = unit * sums.reshape(-1, 1, 1) * flat[rows].abs().amax((1, 2, 3), keepdim=True)
                u = self.bank(flat[rows])
                steep = self.seconds(u).abs() + self.second_variation(u, reach)
                inner.append(_batch.total((steep * reach).square()))
                outer.append(_batch.total(self.slopes(u).square()))
            error, flux = (self._per_sample(torch.cat(parts), x).sqrt() for parts in (inner, outer))
            norm = self._norm(x)
            return norm * error + unit * (norm + sums.norm()) * flux


class FilterHessian(TermHessian):
    """K' diag(f'') K.

    Args:
        regularizer: owner of the filters.
        second: (B * C, F, h, w) f'' at the responses.
        channels: C.
    """

    def __init__(self, regularizer: FilterRegularizer, second: Tensor, channels: int) -> None:
        self._regularizer, self._second, self._channels = regularizer, second, channels

    def __call__(self, v: Tensor) -> Tensor:
        return self.add_to(torch.zeros_like(v), v)

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += H v."""
        if v.ndim == 5:
            for part, direction in zip(out, v, strict=True):
                self.add_to(part, direction)
            return out
        bank = self._regularizer.bank
        with torch.no_grad():
            flat = planes(v)
            for rows in self._regularizer._chunks(flat):
                flux = bank(flat[rows]).mul_(self._second[rows])
                planes(out)[rows] += bank.adjoint(flux)
        return out

    def select(self, index: Tensor) -> TermHessian:
        chosen = _batch.select(self._second.unflatten(0, (-1, self._channels)), index)
        return FilterHessian(self._regularizer, chosen.flatten(0, 1), self._channels)

    def averaged(self, like: Tensor) -> tuple[Basis, Tensor] | None:
        """max(0, sum_c mean(f''_c) |k_c^|^2) in the Fourier basis of the image, the border ignored."""
        size = (like.shape[-2], like.shape[-1])
        bank = self._regularizer.bank
        if min(size) < bank.size:
            return None
        with torch.no_grad():
            means = self._second.mean((2, 3)) @ bank.power(size, like).flatten(1)
            values = means.clamp(min=0.0).reshape(-1, self._channels, size[0], size[1] // 2 + 1)
        return Fourier(2), values

    def symbol(self, basis: Basis, like: Tensor) -> Symbol | None:
        """:meth:`averaged` where the basis is its own."""
        found = self.averaged(like)
        return Symbol(found[1], exact=False) if found is not None and found[0] == basis else None

    def diagonal(self) -> Tensor | None:
        """Diagonal of K' diag(max(f'', 0)) K plus a thousandth of its mean: positive, for preconditioners."""
        bank = self._regularizer.bank
        with torch.no_grad():
            parts = [
                bank.squared_adjoint(self._second[rows].clamp(min=0.0))
                for rows in self._regularizer._chunks(self._second)
            ]
            diagonal = torch.cat(parts).squeeze(1).unflatten(0, (-1, self._channels))
            return diagonal + 1e-3 * diagonal.mean((1, 2, 3), keepdim=True)


def planes(x: Tensor) -> Tensor:
    """Images (B, C, H, W) as planes (B * C, 1, H, W).

    Raises:
        ValueError: if x has another number of axes.
    """
    if x.ndim != 4:
        raise ValueError(f"x: found shape {tuple(x.shape)}, expected images (B, C, H, W), which filters are made for")
    return x.reshape(-1, 1, *x.shape[-2:])
