"""Sampling patterns with structure; free points are :class:`bilearn.mri.FreePattern`.

| pattern | learned numbers | exact number of samples |
|---|---|---|
| ``LinePattern`` | a degree per Cartesian line | yes |
| ``SpokePattern`` | a degree per radial spoke of points of the grid | yes, as whole spokes allow |
| ``CenteredPattern`` | those of the pattern it wraps, off the center | as that pattern |
| ``SymmetricPattern`` | those of the pattern it wraps, shared by k and -k | as that pattern |
| ``ProbabilisticPattern`` | logits of the probability of every unit of a random mask | in expectation; exact_mask() |
| ``ProductPattern`` | those of both factors | no |
| ``RadialPattern`` | angles of spokes, degrees of spokes | the number of spokes |
| ``TrajectoryPattern`` | control points of B-splines: spirals, bent spokes | the number of readouts |
"""

from bilearn.mri.patterns.centered import CenteredPattern, center_block, center_lines
from bilearn.mri.patterns.gridded import GriddedPattern
from bilearn.mri.patterns.hardware import HardwareLimits, HardwareReport, check_hardware, hardware_excess
from bilearn.mri.patterns.lines import LinePattern
from bilearn.mri.patterns.probabilistic import ProbabilisticPattern
from bilearn.mri.patterns.product import ProductPattern
from bilearn.mri.patterns.radial import RadialPattern
from bilearn.mri.patterns.spokes import SpokePattern
from bilearn.mri.patterns.symmetric import SymmetricPattern
from bilearn.mri.patterns.trajectory import TrajectoryPattern, spline_basis

__all__ = [
    "CenteredPattern",
    "GriddedPattern",
    "HardwareLimits",
    "HardwareReport",
    "LinePattern",
    "ProbabilisticPattern",
    "ProductPattern",
    "RadialPattern",
    "SpokePattern",
    "SymmetricPattern",
    "TrajectoryPattern",
    "center_block",
    "center_lines",
    "check_hardware",
    "hardware_excess",
    "spline_basis",
]
