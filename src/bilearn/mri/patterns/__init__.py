"""Sampling patterns with structure; free points are :class:`bilearn.mri.FreePattern`.

| pattern | learned numbers | exact number of samples |
|---|---|---|
| ``LinePattern`` | a degree per Cartesian line | yes |
| ``CenteredPattern`` | those of the pattern it wraps, off the center | as that pattern |
| ``SymmetricPattern`` | those of the pattern it wraps, shared by k and -k | as that pattern |
"""

from bilearn.mri.patterns.centered import CenteredPattern, center_block, center_lines
from bilearn.mri.patterns.lines import LinePattern
from bilearn.mri.patterns.symmetric import SymmetricPattern

__all__ = [
    "CenteredPattern",
    "LinePattern",
    "SymmetricPattern",
    "center_block",
    "center_lines",
]
