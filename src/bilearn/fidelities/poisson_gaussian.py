"""Least squares with a variance that grows with the signal, the fidelity of mixed Poisson and Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import Constant, Curvature
from bilearn.fidelities.fidelity import Fidelity
from bilearn.parameters import Log10, is_learned, learnable

LN10 = math.log(10.0)
_NAMES = ("variance", "gain")


class PoissonGaussian(Fidelity):
    """D(z, y) = 1/2 sum_k (z_k - y_k)^2 / (variance + gain max(y_k, 0)).

    Gaussian noise of the given variance (readout) plus Poisson noise of variance gain * signal (y = gain * counts), with
    the signal in the variance replaced by the data, so that D is quadratic in z.

    Args:
        variance: of the noise where there is no signal, in squared units of y: a number or a map that broadcasts against
            one datum (1, ...), also of few numbers (:class:`~bilearn.coarse_map.CoarseMap`).
        gain: data units per count, a number or a map as well.
        learn: names out of 'variance', 'gain'.
        bounds: bounds by name, [1e-7, 1e7] by default.

    Raises:
        ValueError: a value outside its bounds, or an unknown name.
    """

    variance: Tensor
    gain: Tensor

    def __init__(
        self,
        variance: float | Tensor | CoarseMap = 1e-3,
        gain: float | Tensor | CoarseMap = 1e-2,
        learn: Iterable[str] = (),
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        learned, limits = set(learn), {"variance": (1e-7, 1e7), "gain": (1e-7, 1e7), **(bounds or {})}
        unknown = sorted((learned | set(limits)) - set(_NAMES))
        if unknown:
            raise ValueError(f"learn, bounds: found {unknown}, expected names out of {sorted(_NAMES)}")
        learnable(self, "variance", variance, Log10(limits["variance"]), "variance" in learned)
        learnable(self, "gain", gain, Log10(limits["gain"]), "gain" in learned)

    def _parts(self, y: Tensor) -> dict[str, Tensor]:
        """The two parts of the variance."""
        return {"variance": self.variance.to(y.dtype), "gain": self.gain.to(y.dtype) * y.clamp(min=0.0)}

    def _weight(self, y: Tensor) -> Tensor:
        return 1 / sum(self._parts(y).values(), torch.zeros_like(y))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Value (B,)."""
        return 0.5 * _batch.total(self._weight(y) * (z - y).square())

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """(z - y) / (variance + gain max(y, 0))."""
        return self._weight(y) * (z - y)

    def second(self, z: Tensor, y: Tensor) -> Tensor:
        """1 / (variance + gain max(y, 0))."""
        return self._weight(y)

    def entry_slopes(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """-ln(10) w^2 part (z - y) for each part of the variance 1/w."""
        weight = self._weight(y)
        common = -LN10 * weight.square() * (z - y)
        return {name: common * part for name, part in self._parts(y).items() if is_learned(self, name)}

    def curvature(self, y: Tensor) -> Curvature:
        """mu = min w, L = max w per sample, constant Hessian.

        The slope at entry k is a vector over the learned numbers of length ln(10) w_k |(w part)_k| |z_k - y_k|, where w
        times the parts sums to 1; the cross derivative therefore moves by at most ln(10) max(w |w part|_2) |dz|.
        """
        weight = self._weight(y)
        shares = torch.zeros_like(y)
        for name, part in self._parts(y).items():
            if is_learned(self, name):
                shares = shares + (weight * part).square()
        flat = weight.flatten(1)
        cross = LN10 * (weight * torch.sqrt(shares)).flatten(1).amax(1)
        return Curvature(Constant(flat.amin(1)), Constant(flat.amax(1)), Constant(0.0), Constant(cross))

    def second_variation(self, z: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Zero: the Hessian is constant."""
        return torch.zeros(v.shape[: v.ndim - z.ndim + 1], dtype=z.dtype, device=z.device)
