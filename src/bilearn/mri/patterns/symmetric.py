"""Patterns that treat k and -k alike."""

from __future__ import annotations

from torch import Tensor

from bilearn.mri.pattern import Pattern, mirrored


class SymmetricPattern(Pattern):
    """s(k) = s(-k): the mean of a pattern and its mirror image.

    For real images y(-k) is the conjugate of y(k), and a learned pattern has no reason to prefer one of the two; half the
    numbers are to be learned. Points, lines and other groups share their numbers (:meth:`Pattern.tied`), so that binary
    numbers give binary masks; other patterns are averaged.

    Args:
        pattern: any pattern; ``self.pattern`` is :meth:`Pattern.tied` of it, with learned numbers of its own.
    """

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.pattern = pattern.tied()

    def forward(self) -> Tensor:
        """(p(k) + p(-k)) / 2."""
        s = self.pattern()
        return (s + mirrored(s)) / 2

    def row_norms(self) -> Tensor:
        """The mean of both norms bounds the norm of the mean; exact for shared numbers."""
        norms = self.pattern.row_norms()
        return (norms + mirrored(norms)) / 2

    def scaled_norm(self, size: Tensor) -> Tensor:
        """With the mirror P: |D (I + P) J| / 2 <= (|D J| + |(P D P) J|) / 2; exact for shared numbers."""
        turned = mirrored(size, size.ndim - 1)
        return (self.pattern.scaled_norm(size) + self.pattern.scaled_norm(turned)) / 2

    def without(self, center: Tensor) -> SymmetricPattern:
        """Without the numbers of points that the center contains together with their mirror images."""
        return SymmetricPattern(self.pattern.without(center & mirrored(center)))
