"""Products of two patterns."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.pattern import Pattern, finite_product


class ProductPattern(Pattern):
    """s = s_1 s_2: lines times points, rows times columns (a rectangle of phase encodings of a volume), and so on.

    Args:
        first, second: patterns on the same grid, with learned numbers of their own.

    Raises:
        ValueError: if their shapes differ, or they share a learned number.
    """

    def __init__(self, first: Pattern, second: Pattern) -> None:
        super().__init__()
        shapes = tuple(first().shape), tuple(second().shape)
        if shapes[0] != shapes[1]:
            raise ValueError(f"first, second: found shapes {shapes[0]} and {shapes[1]}, expected the same grid")
        if {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}:
            raise ValueError("first, second: found a parameter in both, expected patterns with numbers of their own")
        self.first, self.second = first, second

    def forward(self) -> Tensor:
        """The product."""
        return self.first() * self.second()

    def row_norms(self) -> Tensor:
        """|(s_2 J_1, s_1 J_2)|, as good as the norms of the factors: their numbers are different ones."""
        with torch.no_grad():
            return torch.hypot(
                finite_product(self.second(), self.first.row_norms()),
                finite_product(self.first(), self.second.row_norms()),
            )

    def scaled_norm(self, size: Tensor) -> Tensor:
        """|(J_1' diag(s_2 size), J_2' diag(s_1 size))| <= the 2-norm of both bounds."""
        with torch.no_grad():
            first, second = self.first().to(size.dtype), self.second().to(size.dtype)
            return torch.hypot(self.first.scaled_norm(second * size), self.second.scaled_norm(first * size))

    def tied(self) -> ProductPattern:
        """The product of both factors tied."""
        return ProductPattern(self.first.tied(), self.second.tied())
