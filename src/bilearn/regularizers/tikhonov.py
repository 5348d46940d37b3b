"""Tikhonov regularization."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import Basis
from bilearn.coarse_map import CoarseMap
from bilearn.curvature import Constant, Curvature
from bilearn.parameters import Log10, is_learned, learnable
from bilearn.regularizers.potential_regularizer import LN10
from bilearn.regularizers.regularizer import Regularizer, Symbol, TermHessian


class Tikhonov(Regularizer):
    """R(x) = alpha/2 |x|^2.

    Args:
        alpha: weight, a number or a pixel-wise map that broadcasts against one image.
        learn: whether it is learned.
        bounds: its bounds.
    """

    alpha: Tensor

    def __init__(
        self, alpha: float | Tensor | CoarseMap = 0.1, learn: bool = True, bounds: tuple[float, float] = (1e-7, 1e7)
    ) -> None:
        super().__init__()
        learnable(self, "alpha", alpha, Log10(bounds), learn)

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        return 0.5 * _batch.total(self.alpha.to(x.dtype) * x.square())

    def grad(self, x: Tensor) -> Tensor:
        """Alpha x."""
        return self.alpha.to(x.dtype) * x

    def hessian(self, x: Tensor) -> TermHessian:
        """Alpha I."""
        return DiagonalHessian(self.alpha.detach().to(x.dtype).expand_as(x))

    def curvature(self, like: Tensor) -> Curvature:
        """mu = min alpha, L = max alpha, constant Hessian; the cross derivative moves by ln(10) alpha."""
        top = self.alpha.max()
        cross = LN10 * top if is_learned(self, "alpha") else torch.zeros_like(top)
        return Curvature(Constant(self.alpha.min()), Constant(top), Constant(0.0), Constant(cross))


class DiagonalHessian(TermHessian):
    """A diagonal second derivative.

    Args:
        weight: (B, ...) the diagonal.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, v: Tensor) -> Tensor:
        return self._weight * v

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += weight * v."""
        return out.addcmul_(self._weight.expand_as(v), v)

    def select(self, index: Tensor) -> TermHessian:
        return DiagonalHessian(_batch.select(self._weight, index))

    def diagonal(self) -> Tensor | None:
        """The weight."""
        return self._weight

    def off_diagonal(self) -> Tensor | None:
        """No coupling."""
        return torch.zeros_like(self._weight[..., 1:])

    def symbol(self, basis: Basis, like: Tensor) -> Symbol | None:
        """Mean weight of each sample, exact where the weight is one number."""
        mean = _batch.total(self._weight) / _batch.samples(self._weight)
        uniform = all(stride == 0 for stride in self._weight.stride())
        return Symbol(_batch.expand(mean, like), uniform)

    def cast(self, dtype: torch.dtype) -> TermHessian | None:
        """The diagonal in another precision."""
        return DiagonalHessian(self._weight.to(dtype))

    @property
    def decoupled(self) -> bool:
        """It is diagonal."""
        return True
