"""What an upper-level loss is: a number per sample, its gradient, and how much both change inside a ball."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from bilearn import _batch


class UpperLoss(ABC):
    """loss(x, target), one number per sample.

    An author must write ``__call__``. ``grad`` and ``gauss_newton`` come from autograd; ``interval`` and
    ``grad_variation`` say "unknown" (infinite) and ``residual`` says "no such structure" (None) unless overridden.

    Shapes: x and target (B, ...), radius (B,) in the 2-norm, results (B,) unless said otherwise.
    """

    @property
    def name(self) -> str:
        """Name used in records."""
        return type(self).__name__

    @abstractmethod
    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss (B,), differentiable in x."""

    def grad(self, x: Tensor, target: Tensor) -> Tensor:
        """Gradient in x, shape of x."""
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            value = self(point, target).sum()
            if not value.requires_grad:
                return torch.zeros_like(x)
            (gradient,) = torch.autograd.grad(value, point, materialize_grads=True)
        return gradient

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest value the loss can take within ``radius`` of ``x``; infinite where unknown."""
        infinite = torch.full_like(radius, torch.inf)
        return -infinite, infinite

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on |grad(x') - grad(x)| over all |x' - x| <= radius; infinite where unknown."""
        return torch.full_like(radius, torch.inf)

    def residual(self, x: Tensor, target: Tensor) -> Tensor | None:
        """|x - target| (B,) where loss = factor * residual^2, else None."""
        return None

    def gauss_newton(self, x: Tensor, target: Tensor, v: Tensor) -> Tensor:
        """Product of the loss's Hessian, or of a positive semidefinite stand-in, with v (K, B, ...).

        The default differentiates ``__call__`` twice.
        """
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(
                self(point, target).sum(), point, create_graph=True, materialize_grads=True
            )
            if not gradient.requires_grad:
                return torch.zeros_like(v)
            products = [
                torch.autograd.grad(gradient, point, part, retain_graph=True, materialize_grads=True)[0] for part in v
            ]
        return torch.stack(products)


def slack(value: Tensor, x: Tensor) -> Tensor:
    """Rounding allowance for a number computed by a sum over one sample of ``x``."""
    return 16 * torch.finfo(x.dtype).eps * value.abs()


def smooth_interval(
    value: Tensor, gradient_norm: Tensor, smoothness: float, lipschitz: float, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Interval of a function with known gradient norm here, gradient Lipschitz constant and Lipschitz constant.

    |f(x') - f(x)| <= min(|grad f(x)| R + smoothness R^2 / 2, lipschitz R); either constant may be infinite.
    """
    change = torch.minimum(_times(smoothness, radius.square()) / 2 + gradient_norm * radius, _times(lipschitz, radius))
    return value - change, value + change


def _times(constant: float, factor: Tensor) -> Tensor:
    return torch.where(factor > 0, constant * factor, torch.zeros_like(factor))


def scaled_variation(smoothness: float, lipschitz: float, radius: Tensor) -> Tensor:
    """Bound on the change of a gradient: min(smoothness R, 2 lipschitz)."""
    return torch.minimum(_times(smoothness, radius), _times(2 * lipschitz, torch.ones_like(radius)))


def check_pair(x: Tensor, target: Tensor) -> None:
    """Raise ValueError unless x and target have the same shape."""
    if x.shape != target.shape:
        raise ValueError(
            f"target: found shape {tuple(target.shape)} for reconstructions of shape {tuple(x.shape)}; "
            "expected the same shape, one target per reconstruction"
        )


def distance(x: Tensor, target: Tensor) -> Tensor:
    """|x - target| (B,)."""
    check_pair(x, target)
    return _batch.norm(x - target)
