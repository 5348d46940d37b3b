"""Finite differences in axes that are turned and scaled from pixel to pixel, by maps that can be learned."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn

from bilearn._spectral import Basis
from bilearn.coarse_map import CoarseMap
from bilearn.parameters import Identity, Log10, learnable
from bilearn.regularizers._theta_cache import ThetaCache
from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.differences import Boundary, Direction, FiniteDifferences


class OrientedDifferences(nn.Module, AnalysisOperator):
    """K x = diag(1, a) R(theta) D x: the difference along the direction theta, and a times the one across it.

    theta is measured from the axis of columns (left to right) towards that of rows (downwards) and counts modulo pi. With
    (D x)_rows, (D x)_columns the differences along the two axes, the fields are

        cos(theta) (D x)_columns + sin(theta) (D x)_rows,   a (cos(theta) (D x)_rows - sin(theta) (D x)_columns),

    so that |K| <= |D| for a <= 1. At a = 1 the magnitude of K x does not depend on theta.

    Args:
        angle: theta in radians, a number or a map that broadcasts against one image, also of few numbers.
        ratio: a in (0, 1], likewise.
        learn: names out of 'angle', 'ratio'.
        bounds: bounds by name.
        boundary, direction: see :class:`FiniteDifferences`.

    Raises:
        ValueError: a ratio above 1, or a value outside its bounds.
    """

    axes = 2

    angle: Tensor
    ratio: Tensor

    def __init__(
        self,
        angle: float | Tensor | CoarseMap,
        ratio: float | Tensor | CoarseMap,
        learn: Container[str],
        bounds: Mapping[str, tuple[float, float]],
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
    ) -> None:
        super().__init__()
        if bounds["ratio"][1] > 1:
            raise ValueError(f"bounds of the ratio: found upper {bounds['ratio'][1]:g}, expected at most 1")
        self.differences = FiniteDifferences(2, boundary, direction)
        learnable(self, "angle", angle, Identity(bounds["angle"]), "angle" in learn)
        learnable(self, "ratio", ratio, Log10(bounds["ratio"]), "ratio" in learn)
        self._cache = ThetaCache()

    @property
    def fields(self) -> int:
        """Along and across."""
        return 2

    @property
    def norm_squared(self) -> float:
        """That of D."""
        return self.differences.norm_squared

    @property
    def local_norm(self) -> float:
        """That of D."""
        return self.differences.local_norm

    def _entries(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """cos, sin, a cos, a sin."""

        def compute() -> tuple[Tensor, Tensor, Tensor, Tensor]:
            angle, ratio = self.angle.to(like.dtype), self.ratio.to(like.dtype)
            for name, value in (("angle", angle), ("ratio", ratio)):
                if any(n not in (1, m) for n, m in zip(value.shape[:-3:-1], like.shape[:-3:-1], strict=False)):
                    raise ValueError(
                        f"x: found images of {tuple(like.shape[-2:])} pixels, expected {tuple(value.shape[-2:])} like the "
                        f"map '{name}'"
                    )
            cos, sin = torch.cos(angle), torch.sin(angle)
            return cos, sin, ratio * cos, ratio * sin

        return self._cache.get("entries", self, (like.dtype, like.device, like.shape[-2:]), compute)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Fields of x; differentiable."""
        return self._turn(self.differences(x), self._entries(x))

    @staticmethod
    def _turn(
        fields: tuple[Tensor, ...] | list[Tensor], entries: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        cos, sin, scaled_cos, scaled_sin = entries
        rows, columns = fields
        return cos * columns + sin * rows, scaled_cos * rows - scaled_sin * columns

    def _turn_back(self, fields: tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, Tensor]:
        cos, sin, scaled_cos, scaled_sin = self._entries(fields[0])
        along, across = fields
        return sin * along + scaled_cos * across, cos * along - scaled_sin * across

    def fill(self, out: list[Tensor], x: Tensor) -> None:
        """Write the fields of x into ``out``."""
        with torch.no_grad():
            for field, value in zip(out, self(x), strict=True):
                field.copy_(value)

    def adjoint(self, fields: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
        """D' R(theta)' diag(1, a) of the fields; differentiable."""
        return self.differences.adjoint(self._turn_back(fields))

    def add_adjoint(self, out: Tensor, fields: list[Tensor]) -> Tensor:
        """out += K' fields, in place."""
        with torch.no_grad():
            return self.differences.add_adjoint(out, list(self._turn_back(fields)))

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor:
        """That of D times the mean of (1 + a^2)/2 over pixels."""
        return basis.laplacian(like) * (1 + self.ratio.detach().to(like.dtype).square()).mean() / 2

    def normal_diagonal(self, weights: list[Tensor]) -> Tensor | None:
        """Diagonal of D' diag(p) D, p the diagonal of R' diag(1, a) diag(weights) diag(1, a) R."""
        with torch.no_grad():
            cos, sin, scaled_cos, scaled_sin = (entry.square() for entry in self._entries(weights[0]))
        rows = sin * weights[0] + scaled_cos * weights[1]
        columns = cos * weights[0] + scaled_sin * weights[1]
        return self.differences.normal_diagonal([rows, columns])

    def angle_bend(self, like: Tensor) -> Tensor:
        """|sym N| = (1/a - a)/2 for the N with dK/d(theta) = N K."""
        ratio = self.ratio.to(like.dtype)
        return (1 / ratio - ratio) / 2

    @staticmethod
    def ratio_bend() -> float:
        """|N| = ln(10) for the N = diag(0, ln 10) with dK/d(log10 a) = N K."""
        return math.log(10.0)
