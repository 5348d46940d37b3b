"""Learned response potentials: splines whose second derivative is what is learned and bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.parameters import Identity, learnable
from bilearn.regularizers.response_potentials import ResponsePotential


@dataclass(frozen=True)
class _Tables:
    """phi, phi', phi'', phi''' at the left end of every piece, (filters * (pieces + 1),), the last piece unbounded."""

    value: Tensor
    slope: Tensor
    second: Tensor
    third: Tensor


class SplineResponse(ResponsePotential):
    """An even spline phi_c with phi(0) = phi'(0) = 0, given by its second derivative on [0, span]; phi' is constant beyond.

    degree 1: phi'' is constant on each of the pieces, phi' is a linear spline (C1, a piecewise linear gradient).
    degree 2: phi'' is the linear interpolant of its values at the knots and 0 at the last one, phi' is a quadratic spline.

    The learned numbers are these values, in the box ``bounds``: with a lower bound of 0 phi is convex and phi' monotone, with
    -w it is w-weakly convex, exactly. (Goujon et al., "A neural-network-based convex regularizer for inverse problems", 2023,
    and "Learning weakly convex regularizers for convergent image-reconstruction algorithms", 2024, learn phi' at the knots.)

    Args:
        filters: number of filters.
        pieces: pieces in [0, span].
        span: end of the last knot interval.
        start: phi''; (filters, pieces), or (pieces,) for all of them; if None, that of sqrt(u^2 + (span/4)^2) * span/4.
        bounds: lower and upper bound of phi''; lower <= 0 <= upper.
        degree: 1 or 2.
        learn: whether the values are learned.

    Raises:
        ValueError: if an option is out of range.
    """

    curvatures: Tensor

    def __init__(
        self,
        filters: int,
        pieces: int = 20,
        span: float = 1.0,
        start: Tensor | None = None,
        bounds: tuple[float, float] = (0.0, 10.0),
        degree: int = 1,
        learn: bool = True,
    ) -> None:
        super().__init__()
        if filters < 1 or pieces < 1 or not span > 0:
            raise ValueError(
                f"SplineResponse: found {filters} filters, {pieces} pieces and span {span}, expected positive"
            )
        if degree not in (1, 2):
            raise ValueError(f"SplineResponse.degree: found {degree}, expected 1 or 2")
        if not bounds[0] <= 0 <= bounds[1]:
            raise ValueError(f"SplineResponse.bounds: found {bounds}, expected lower <= 0 <= upper (phi'' ends with 0)")
        self.pieces, self.span, self.degree = pieces, span, degree
        self.step = span / pieces
        values = start
        if values is None:
            shift = 0.5 if degree == 1 else 0.0
            nodes = 4 * (torch.arange(pieces, dtype=torch.float64) + shift) / pieces
            values = ((1 + nodes**2) ** -1.5).clamp(*bounds)
        learnable(self, "curvatures", values.expand(filters, pieces), Identity(bounds), learn)

    def _tables(self, like: Tensor) -> _Tables:
        h = self.step
        inner = self.curvatures.to(like)
        second = torch.cat((inner, torch.zeros_like(inner[:, :1])), 1)
        third = torch.zeros_like(second)
        if self.degree == 2:
            third = torch.cat((torch.diff(second, dim=1) / h, torch.zeros_like(second[:, :1])), 1)
        slope = _before(h * second + h * h / 2 * third)
        value = _before(h * slope + h * h / 2 * second + h**3 / 6 * third)
        return _Tables(value.reshape(-1), slope.reshape(-1), second.reshape(-1), third.reshape(-1))

    def _place(self, size: Tensor) -> tuple[Tensor, Tensor]:
        """Piece of |u|, as an index into the tables, and the distance from its left end."""
        piece = torch.floor(size.detach() / self.step).clamp(max=self.pieces)
        rest = size - self.step * piece
        offset = (self.pieces + 1) * torch.arange(size.shape[-3], device=size.device).reshape(-1, 1, 1)
        return piece.to(torch.int64) + offset, rest

    def value(self, u: Tensor) -> Tensor:
        """phi(u)."""
        tables, (index, rest) = self._tables(u), self._place(u.abs())
        value = tables.second[index] / 2 + rest * tables.third[index] / 6
        return tables.value[index] + rest * (tables.slope[index] + rest * value)

    def slope(self, u: Tensor) -> Tensor:
        """phi'(u)."""
        tables, (index, rest) = self._tables(u), self._place(u.abs())
        size = tables.slope[index] + rest * (tables.second[index] + rest * tables.third[index] / 2)
        return torch.sign(u) * size

    def second(self, u: Tensor) -> Tensor:
        """phi''(u), continuous from the right in |u|."""
        tables, (index, rest) = self._tables(u), self._place(u.abs())
        return tables.second[index] + rest * tables.third[index]

    def lowest(self, like: Tensor) -> Tensor:
        """The smallest value of phi''."""
        return self.curvatures.to(like).amin(1).clamp(max=0.0)

    def highest(self, like: Tensor) -> Tensor:
        """The largest value of phi''."""
        return self.curvatures.to(like).amax(1).clamp(min=0.0)

    def third(self, like: Tensor) -> Tensor:
        """The steepest piece of phi'' for degree 2, infinite for degree 1."""
        if self.degree == 1:
            return torch.full_like(self.curvatures[:, 0].to(like), math.inf)
        return self._tables(like).third.reshape(-1, self.pieces + 1).abs().amax(1)

    def variation(self, u: Tensor, reach: Tensor) -> Tensor:
        """For degree 1 the larger jump to the pieces at |u| - reach and |u| + reach while these are neighbors."""
        if self.degree == 2:
            return super().variation(u, reach)
        second, size = self._tables(u).second, u.abs()
        here = second[self._place(size)[0]]
        jumps = [(second[self._place(end)[0]] - here).abs() for end in (size + reach, (size - reach).abs())]
        span = (self.highest(u) - self.lowest(u)).reshape(-1, 1, 1)
        return torch.where(reach < self.step, torch.maximum(*jumps), span)


def _before(amounts: Tensor) -> Tensor:
    """Sums along the last axis of everything to the left."""
    return torch.cat((torch.zeros_like(amounts[:, :1]), amounts[:, :-1].cumsum(1)), 1)
