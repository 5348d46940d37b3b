"""Smoothed total variation and the squared H1 seminorm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bilearn.coarse_map import CoarseMap
from bilearn.parameters import is_learned
from bilearn.regularizers.differences import Boundary, Direction, FiniteDifferences
from bilearn.regularizers.potential_regularizer import PotentialRegularizer
from bilearn.regularizers.potentials import Potential, Quadratic
from bilearn.regularizers.smoothed_analysis import SmoothedAnalysis, register_numbers


class SmoothedTV(SmoothedAnalysis):
    """R(x) = alpha * sum_j sqrt(|(K x)_j|^2 + nu^2) + xi/2 |x|^2, or alpha * (sum_j ... + xi/2 |x|^2) with ``bracket``.

    Parameters in the order alpha, xi, nu, each optimized as log10. The form without bracket is that of Ehrhardt and
    Roberts (2021), the form with it that of their slides.

    Args:
        alpha: weight, a number or a pixel-wise map (1, C or 1, H, W), also of few numbers
            (:class:`~bilearn.coarse_map.CoarseMap`).
        xi: coefficient of the ridge, which makes the energy strongly convex.
        nu: smoothing of the absolute value, in units of the image's gray values per pixel.
        bracket: whether alpha multiplies the ridge too.
        learn: names of the learned parameters.
        bounds: bounds by name; alpha in [1e-7, 1e7], xi and nu in [1e-7, 1] by default.
        axes: 1 for signals, 2 for images.
        isotropic: magnitude over all axes jointly.
        coupled: magnitude over all channels jointly (complex images, color).
        boundary, direction: see :class:`FiniteDifferences`.
        potential: another smoothed absolute value, such as :class:`CubicAbsolute`; sqrt(r^2 + nu^2) if None.

    Raises:
        ValueError: a value outside its bounds, an unknown name, or one alpha per channel where channels are coupled.
    """

    def __init__(
        self,
        alpha: float | Tensor | CoarseMap = 0.1,
        xi: float = 1e-3,
        nu: float = 1e-2,
        bracket: bool = False,
        learn: Iterable[str] = ("alpha", "xi", "nu"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        axes: int = 2,
        isotropic: bool = True,
        coupled: bool = False,
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
        potential: Potential | None = None,
    ) -> None:
        differences = FiniteDifferences(axes, boundary, direction)
        super().__init__(differences, alpha, xi, nu, bracket, learn, bounds, isotropic, coupled, potential)
        self.differences = differences


class SquaredH1(PotentialRegularizer):
    """R(x) = alpha/2 |K x|^2.

    Args:
        alpha: weight, a number or a pixel-wise map.
        learn: whether it is learned.
        bounds: its bounds.
        axes, boundary, direction: see :class:`FiniteDifferences`.
    """

    alpha: Tensor

    def __init__(
        self,
        alpha: float | Tensor | CoarseMap = 0.1,
        learn: bool = True,
        bounds: tuple[float, float] = (1e-7, 1e7),
        axes: int = 2,
        boundary: Boundary = "neumann",
        direction: Direction = "backward",
    ) -> None:
        differences = FiniteDifferences(axes, boundary, direction)
        super().__init__(differences, Quadratic())
        self.differences = differences
        register_numbers(self, {"alpha": alpha}, ("alpha",) if learn else (), {"alpha": bounds})

    def scale(self, like: Tensor) -> Tensor:
        """alpha."""
        return self.alpha.to(like.dtype)

    def cross_factors(self, like: Tensor) -> tuple[bool, bool, Tensor]:
        """Only alpha is learned."""
        return is_learned(self, "alpha"), False, torch.zeros((), dtype=like.dtype, device=like.device)
