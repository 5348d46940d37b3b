"""alpha * sum_j phi(|(K x)_j|; nu) + xi/2 |x|^2 with a smoothed absolute value: what TV and wavelet sparsity share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bilearn.coarse_map import CoarseMap
from bilearn.parameters import Log10, is_learned, learnable
from bilearn.regularizers.analysis import AnalysisOperator
from bilearn.regularizers.potential_regularizer import LN10, PotentialRegularizer
from bilearn.regularizers.potentials import Potential, SmoothedAbsolute

DEFAULT_BOUNDS: dict[str, tuple[float, float]] = {"alpha": (1e-7, 1e7), "xi": (1e-7, 1.0), "nu": (1e-7, 1.0)}


class SmoothedAnalysis(PotentialRegularizer):
    """R(x) = alpha * sum_j phi(|(K x)_j|; nu) + xi/2 |x|^2, or alpha * (sum_j ... + xi/2 |x|^2) with ``bracket``.

    Parameters in the order alpha, xi, nu, each optimized as log10.

    Args:
        analysis: the operator K.
        alpha: weight, a number or a map that broadcasts against the fields of K, such as (1, C or 1, H, W), also of few
            numbers (:class:`~bilearn.coarse_map.CoarseMap`).
        xi: coefficient of the ridge, which makes the energy strongly convex.
        nu: smoothing of the absolute value, in units of the entries of K x.
        bracket: whether alpha multiplies the ridge too.
        learn: names of the learned parameters.
        bounds: bounds by name; alpha in [1e-7, 1e7], xi and nu in [1e-7, 1] by default.
        isotropic: magnitude over all fields of K jointly.
        coupled: magnitude over all channels jointly (complex images, color).
        potential: the smoothed absolute value phi; sqrt(r^2 + nu^2) if None.

    Raises:
        ValueError: a value outside its bounds, an unknown name, or one alpha per channel where channels are coupled.
    """

    alpha: Tensor
    xi: Tensor
    nu: Tensor

    def __init__(
        self,
        analysis: AnalysisOperator,
        alpha: float | Tensor | CoarseMap = 0.1,
        xi: float = 1e-3,
        nu: float = 1e-2,
        bracket: bool = False,
        learn: Iterable[str] = ("alpha", "xi", "nu"),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        isotropic: bool = True,
        coupled: bool = False,
        potential: Potential | None = None,
    ) -> None:
        super().__init__(analysis, SmoothedAbsolute() if potential is None else potential, isotropic, coupled)
        self.bracket = bracket
        channels = (alpha.values if isinstance(alpha, CoarseMap) else torch.as_tensor(alpha)).shape[
            -analysis.axes - 1 : -analysis.axes
        ]
        if coupled and channels not in ((), (1,)):
            raise ValueError(
                f"alpha: found {channels[0]} channels, expected 1 where coupled=True; "
                "coupled channels share one magnitude and one weight per pixel"
            )
        register_numbers(self, {"alpha": alpha, "xi": xi, "nu": nu}, learn, bounds)

    def scale(self, like: Tensor) -> Tensor:
        """alpha."""
        return self.alpha.to(like.dtype)

    def shape(self, like: Tensor) -> Tensor:
        """nu."""
        return self.nu.to(like.dtype)

    def ridge(self, like: Tensor) -> Tensor:
        """xi, or alpha xi."""
        xi = self.xi.to(like.dtype)
        return self.scale(like) * xi if self.bracket else xi

    def cross_factors(self, like: Tensor) -> tuple[bool, bool, Tensor]:
        """ln(10) times the ridge for xi, and once more for alpha inside the bracket."""
        count = (is_learned(self, "xi")) + (self.bracket and is_learned(self, "alpha"))
        return is_learned(self, "alpha"), is_learned(self, "nu"), LN10 * count**0.5 * self.ridge(like).max()


def register_numbers(
    module: PotentialRegularizer,
    values: Mapping[str, float | Tensor | CoarseMap],
    learn: Iterable[str],
    bounds: Mapping[str, tuple[float, float]] | None,
) -> None:
    """Make ``values`` parameters of ``module``, each optimized as log10 within its bounds.

    Raises:
        ValueError: names in ``learn`` or ``bounds`` that are not in ``values``, or a value outside its bounds.
    """
    learned = frozenset(learn)
    for field, given in (("learn", learned), ("bounds", frozenset(bounds or {}))):
        unknown = sorted(given - set(values))
        if unknown:
            raise ValueError(f"{field}: found {unknown}, expected names out of {sorted(values)}")
    limits = {**DEFAULT_BOUNDS, **(bounds or {})}
    for name, value in values.items():
        learnable(module, name, value, Log10(limits[name]), name in learned)
