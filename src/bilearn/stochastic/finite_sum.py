"""Bilevel problems with one lower-level variable shared by all samples: G = mean_i G_i below, F = mean_j F_j above."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bilearn.curvature import Curvature


@dataclass(frozen=True)
class LowerParts:
    """What one batch of lower-level samples says at (z, v, x), means over the batch.

    Attributes:
        gradient: (n,) grad_z G.
        product: (n,) Hessian product grad_zz G v.
        cross: (p,) cross product grad_xz G v.
    """

    gradient: Tensor
    product: Tensor
    cross: Tensor


@dataclass(frozen=True)
class UpperParts:
    """What one batch of upper-level samples says at (z, x), means over the batch.

    Attributes:
        lower: (n,) grad_z F.
        upper: (p,) grad_x F.
    """

    lower: Tensor
    upper: Tensor


@dataclass
class OracleCount:
    """Work in samples: a gradient of a batch of 64 counts 64."""

    lower_gradients: int = 0
    hessian_products: int = 0
    cross_products: int = 0
    upper_gradients: int = 0

    @property
    def total(self) -> int:
        """Sum of the four counts."""
        return sum(getattr(self, f.name) for f in fields(self))

    def copy(self) -> OracleCount:
        """An independent record with the same counts."""
        return OracleCount(*(getattr(self, f.name) for f in fields(self)))


class FiniteSum(ABC):
    r"""min_x Phi(x) = F(z(x), x), z(x) = argmin_z G(z, x), G = mean_i G_i(z, x), F = mean_j F_j(z, x).

    An author must write ``lower`` and ``upper``; the derivatives come from autograd unless overridden. z and x are flat
    vectors, G is strongly convex in z.

    Args:
        lower_samples, upper_samples: numbers of terms of G and F.
        lower_start: (n,) first z.
        upper_start: (p,) first x.

    Raises:
        ValueError: if there is no term, or a start is not a flat floating point vector.
    """

    def __init__(self, lower_samples: int, upper_samples: int, lower_start: Tensor, upper_start: Tensor) -> None:
        for name, count in (("lower_samples", lower_samples), ("upper_samples", upper_samples)):
            if count < 1:
                raise ValueError(f"{name}: found {count}, expected at least 1")
        for name, start in (("lower_start", lower_start), ("upper_start", upper_start)):
            if start.ndim != 1 or not start.is_floating_point():
                raise ValueError(
                    f"{name}: found shape {tuple(start.shape)} of {start.dtype}, expected a flat floating point vector"
                )
        self.lower_samples, self.upper_samples = lower_samples, upper_samples
        self.lower_start, self.upper_start = lower_start, upper_start

    @abstractmethod
    def lower(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean of G_i over the samples ``index`` (all if None), a scalar differentiable twice in z and once in x."""

    @abstractmethod
    def upper(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """Mean of F_j over the samples ``index`` (all if None), a scalar differentiable in z and x."""

    def lower_gradient(self, z: Tensor, x: Tensor, index: Tensor | None) -> Tensor:
        """(n,) grad_z G of a batch."""
        with torch.enable_grad():
            point = z.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.lower(point, x.detach(), index), point)
        return gradient

    def lower_parts(self, z: Tensor, x: Tensor, v: Tensor, index: Tensor | None) -> LowerParts:
        """Gradient, Hessian product and cross product of a batch, with one graph."""
        with torch.enable_grad():
            point, outer = z.detach().requires_grad_(True), x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.lower(point, outer, index), point, create_graph=True)
            product, cross = torch.autograd.grad(gradient, (point, outer), v, materialize_grads=True)
        return LowerParts(gradient.detach(), product, cross)

    def hessian_product(self, z: Tensor, x: Tensor, v: Tensor, index: Tensor | None) -> Tensor:
        """(n,) grad_zz G v of a batch."""
        with torch.enable_grad():
            point = z.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.lower(point, x.detach(), index), point, create_graph=True)
            (product,) = torch.autograd.grad(gradient, point, v, materialize_grads=True)
        return product

    def cross_product(self, z: Tensor, x: Tensor, v: Tensor, index: Tensor | None) -> Tensor:
        """(p,) grad_xz G v of a batch: the gradient in x of <grad_z G, v>."""
        return self.lower_parts(z, x, v, index).cross

    def curvature(self, x: Tensor) -> Curvature:
        """Constants of G in z at x; unknown unless declared."""
        return Curvature()

    def upper_parts(self, z: Tensor, x: Tensor, index: Tensor | None) -> UpperParts:
        """Both gradients of F of a batch."""
        with torch.enable_grad():
            point, outer = z.detach().requires_grad_(True), x.detach().requires_grad_(True)
            value = self.upper(point, outer, index)
            lower, upper = torch.autograd.grad(value, (point, outer), materialize_grads=True)
        return UpperParts(lower, upper)
