"""Finite differences of signals and images, with their exact adjoint, in differentiable and in reused memory.

Backward differences: u_j = x_j - x_(j-1), where the missing x_(-1) makes u_0 = 0 ('neumann'), u_0 = x_0 ('dirichlet') or
u_0 = x_0 - x_(n-1) ('periodic'). Forward differences: u_j = x_(j+1) - x_j with the last one 0, -x_(n-1) or
x_0 - x_(n-1). With backward differences and 'dirichlet' in 1-D this is, up to sign, D of Ehrhardt and Roberts (2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bilearn._spectral import Basis, ComplexFourier, Cosine, Fourier
from bilearn.regularizers.analysis import AnalysisOperator

Boundary = Literal["neumann", "dirichlet", "periodic"]
Direction = Literal["backward", "forward"]


@dataclass(frozen=True)
class FiniteDifferences(AnalysisOperator):
    """K: x -> one field per image axis (the last ``axes`` axes), each shaped like x.

    Args:
        axes: 1 for signals, 2 for images, 3 for volumes.
        boundary: what lies beyond the edge.
        direction: backward or forward differences.
    """

    axes: int = 2
    boundary: Boundary = "neumann"
    direction: Direction = "backward"

    def __post_init__(self) -> None:
        if self.axes not in (1, 2, 3):
            raise ValueError(f"axes: found {self.axes}, expected 1, 2 or 3")
        for field, value, allowed in (
            ("boundary", self.boundary, ("neumann", "dirichlet", "periodic")),
            ("direction", self.direction, ("backward", "forward")),
        ):
            if value not in allowed:
                raise ValueError(f"{field}: found {value!r}, expected one of {allowed}")

    @property
    def fields(self) -> int:
        """One per axis."""
        return self.axes

    @property
    def norm_squared(self) -> float:
        """|K|^2 <= 4 per axis."""
        return 4.0 * self.axes

    @property
    def local_norm(self) -> float:
        """Largest change of the vector (u_1, ..., u_d) at one pixel for a unit change of x."""
        return math.sqrt(self.axes + 1.0)

    def edge(self, x: Tensor, axis: int) -> Tensor:
        """Boundary entry of the field along ``axis``."""
        n = x.shape[axis]
        back = self.direction == "backward"
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, n - 1, 1)
        if self.boundary == "neumann":
            return torch.zeros_like(first)
        if self.boundary == "periodic":
            return first - last
        return first if back else -last

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Fields, one per axis; differentiable."""
        fields = []
        for axis in range(-self.axes, 0):
            n = x.shape[axis]
            inner = x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1)
            edge = self.edge(x, axis)
            fields.append(torch.cat((edge, inner) if self.direction == "backward" else (inner, edge), axis))
        return tuple(fields)

    def fill(self, out: list[Tensor], x: Tensor) -> None:
        """Write the fields of x into ``out`` (tensors shaped like x)."""
        for axis, field in zip(range(-self.axes, 0), out, strict=True):
            n = x.shape[axis]
            back = self.direction == "backward"
            torch.sub(x.narrow(axis, 1, n - 1), x.narrow(axis, 0, n - 1), out=field.narrow(axis, int(back), n - 1))
            border = field.narrow(axis, 0 if back else n - 1, 1)
            if self.boundary == "neumann":
                border.zero_()
            else:
                border.copy_(self.edge(x, axis))

    def adjoint(self, fields: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """K' of the fields; differentiable."""
        parts = []
        for axis, field in zip(range(-self.axes, 0), fields, strict=True):
            n = field.shape[axis]
            back = self.direction == "backward"
            inner = field.narrow(axis, 1, n - 1) if back else field.narrow(axis, 0, n - 1)
            edge = field.narrow(axis, 0 if back else n - 1, 1)
            zero = torch.zeros_like(edge)
            part = torch.cat((zero, inner), axis) - torch.cat((inner, zero), axis)
            if self.boundary != "neumann":
                gap = torch.zeros_like(field.narrow(axis, 1, n - 1))
                periodic = self.boundary == "periodic"
                at_first = torch.cat((edge, gap), axis)
                at_last = torch.cat((gap, edge), axis)
                if periodic:
                    part = part + at_first - at_last
                else:
                    part = part + at_first if back else part - at_last
            parts.append(part)
        return sum(parts[1:], parts[0])

    def add_adjoint(self, out: Tensor, fields: list[Tensor]) -> Tensor:
        """out += K' fields, in place."""
        for axis, field in zip(range(-self.axes, 0), fields, strict=True):
            n = field.shape[axis]
            back = self.direction == "backward"
            inner = field.narrow(axis, 1 if back else 0, n - 1)
            out.narrow(axis, 1, n - 1).add_(inner)
            out.narrow(axis, 0, n - 1).sub_(inner)
            if self.boundary != "neumann":
                edge = field.narrow(axis, 0 if back else n - 1, 1)
                if back or self.boundary == "periodic":
                    out.narrow(axis, 0, 1).add_(edge)
                if not back or self.boundary == "periodic":
                    out.narrow(axis, n - 1, 1).sub_(edge)
        return out

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor:
        """Eigenvalues of K'K with the boundary condition of the basis."""
        return basis.laplacian(like)

    def matches(self, basis: Basis) -> bool:
        """Whether ``basis`` diagonalizes K'K."""
        matching: dict[str, tuple[Basis, ...]] = {
            "periodic": (Fourier(self.axes), ComplexFourier(self.axes)),
            "neumann": (Cosine(self.axes),),
            "dirichlet": (),
        }
        return basis in matching[self.boundary]

    def normal_diagonal(self, weights: list[Tensor]) -> Tensor:
        """Diagonal of K' diag(weights) K."""
        parts = []
        for axis, weight in zip(range(-self.axes, 0), weights, strict=True):
            n = weight.shape[axis]
            back = self.direction == "backward"
            inner = weight.narrow(axis, 1, n - 1) if back else weight.narrow(axis, 0, n - 1)
            edge = weight.narrow(axis, 0 if back else n - 1, 1)
            zero = torch.zeros_like(edge)
            part = torch.cat((zero, inner), axis) + torch.cat((inner, zero), axis)
            if self.boundary != "neumann":
                gap = torch.zeros_like(inner)
                if back or self.boundary == "periodic":
                    part = part + torch.cat((edge, gap), axis)
                if not back or self.boundary == "periodic":
                    part = part + torch.cat((gap, edge), axis)
            parts.append(part)
        return sum(parts[1:], parts[0])

    def coupling(self, weight: Tensor) -> Tensor | None:
        """Off-diagonal (..., n-1) of K' diag(weight) K in 1-D where it is tridiagonal, else None."""
        if self.axes != 1 or self.boundary == "periodic":
            return None
        n = weight.shape[-1]
        return -(weight.narrow(-1, 1, n - 1) if self.direction == "backward" else weight.narrow(-1, 0, n - 1))
