"""Energies h(x; theta, y): what a lower-level problem minimizes over x, one number per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Curvature

Apply = Callable[[Tensor], Tensor]
#: Turns a Newton direction into what the energy remembers for the next step: nested tuples of (B, ...) tensors, or None.
Advance = Callable[[Tensor], Any]


class Hessian(ABC):
    """Second derivative of an energy in x at a fixed point, as a linear map.

    An author must write ``__call__`` and ``select``, and may write ``direct``, ``preconditioner`` and ``rotated``.
    """

    @abstractmethod
    def __call__(self, v: Tensor) -> Tensor:
        """Product with ``v`` of shape (B, ...) or, for K right-hand sides, (K, B, ...)."""

    @abstractmethod
    def select(self, index: Tensor) -> Hessian:
        """The Hessian of the samples ``index``."""

    def direct(self) -> Apply | None:
        """A solver for H q = g exact up to rounding, or None where the structure allows none."""
        return None

    def preconditioner(self) -> Apply | None:
        """A symmetric positive definite approximation of the inverse, or None."""
        return None

    def rotated(self, single: bool) -> Rotated | None:
        """The same map in a basis in which products and preconditioner cost less, or None.

        Args:
            single: in single precision, where the map can be computed in it.
        """
        return None


@dataclass(frozen=True)
class Rotated:
    """Q H Q' for an orthonormal basis Q.

    Attributes:
        hessian: Q H Q', in the dtype of its vectors.
        enter: Q, from the image's dtype to that of the vectors.
        leave: Q', back.
        single: whether the vectors have less precision than the image.
    """

    hessian: Hessian
    enter: Apply
    leave: Apply
    single: bool


class AutogradHessian(Hessian):
    """Hessian products by differentiating ``energy.grad`` once more; the graph of grad is kept and reused."""

    def __init__(self, energy: Energy, x: Tensor, y: Tensor) -> None:
        self._energy, self._y = energy, y
        with torch.enable_grad():
            self._x = x.detach().requires_grad_(True)
            self._gradient = energy.grad(self._x, y)

    def __call__(self, v: Tensor) -> Tensor:
        if v.ndim > self._x.ndim:
            return torch.stack([self(part) for part in v])
        if not self._gradient.requires_grad:
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(self._gradient, self._x, v, retain_graph=True, materialize_grads=True)
        return product

    def select(self, index: Tensor) -> Hessian:
        return AutogradHessian(self._energy, _batch.select(self._x.detach(), index), _batch.select(self._y, index))


class Energy(nn.Module):
    """h(x; theta, y), one number per sample. theta is every learnable parameter of the module.

    What an author must write: ``forward``. What an author may write, because autograd or an 'unknown' stands in:
    ``grad``, ``value_and_grad``, ``hessian``, ``newton_model``, ``curvature``, ``start``, ``rounding``,
    ``hessian_variation``, ``cross_variation``, ``column_variation``, ``cross_norm``.

    Shapes: x (B, ...), y (B, ...) of any other shape, result (B,). Sample i of the result depends on sample i only.

    Attributes:
        has_potential: whether ``grad`` is the gradient of ``forward``; False for fields such as x - T(x), which
            :mod:`bilearn.fixed_points` defines and methods that need residuals only can solve.
    """

    has_potential: bool = True

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Energy (B,) of each sample."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, y) -> (B,)")

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient in x, same shape as x. Where grad mode is on, the result is differentiable in x and theta."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if create_graph and x.requires_grad else x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(
                self(point, y).sum(), point, create_graph=create_graph, materialize_grads=True
            )
        return gradient

    def value_and_grad(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (B,) and gradient in x; override it where they share work."""
        return self(x, y), self.grad(x, y)

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        """Second derivative in x at ``x``."""
        return AutogradHessian(self, x, y)

    def newton_model(self, x: Tensor, y: Tensor, memory: Any) -> tuple[Hessian, Advance]:
        """Positive definite matrix of the next Newton step, and how to update ``memory`` with that step's direction.

        The Hessian unless an energy knows a linearization that is valid in a larger neighborhood. It must approach the
        Hessian as the steps go to zero. ``memory`` is None at the first step.
        """
        return self.hessian(x, y), lambda direction: None

    def directional(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """sum_i <grad h(x_i), v_i>, a scalar that is differentiable in theta and v in grad mode."""
        return _batch.dot(self.grad(x, y), v).sum()

    def cross_vjp(self, x: Tensor, y: Tensor, v: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
        """d/dtheta of sum_i <grad h(x_i), v_i>, one tensor per parameter, summed over the batch."""
        with torch.enable_grad():
            directional = self.directional(x.detach(), y, v.detach())
            if not directional.requires_grad:
                return tuple(torch.zeros_like(p) for p in parameters)
            return torch.autograd.grad(directional, list(parameters), materialize_grads=True)

    def cross_columns(self, x: Tensor, y: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Columns d(grad h(x))/d(theta_p), shape (P, B, ...), for few parameters: P + 2 gradient-like passes.

        Differentiates v -> cross_vjp(v), which is linear, with respect to v (reverse over reverse).
        """
        return derivative_columns(lambda point: self.grad(point, y), x, parameters)

    def curvature(self, y: Tensor) -> Curvature:
        """Constants valid for all x, at the current theta; unknown unless declared."""
        return Curvature()

    def start(self, y: Tensor) -> Tensor:
        """Where a solve begins without a warm start; ``y`` itself unless an energy knows better."""
        return y.detach().clone()

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """Bound (B,) on the rounding error of ``grad`` at x in x's dtype.

        The default scales the unit roundoff with L|x| + |y| (1 in place of an unknown L); energies whose gradient cancels
        larger numbers must override it.
        """
        unit = torch.finfo(x.dtype).eps
        smoothness = self.curvature(y).smoothness
        scale = smoothness.per_sample(x) if smoothness.known else torch.ones_like(_batch.norm(x))
        return 8 * unit * (scale * _batch.norm(x) + _batch.norm(y))

    def hessian_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on |(H(x') - H(x)) v| over all |x' - x| <= radius (B,); v may be (K, B, ...), then (K, B).

        The default is Lipschitz constant times radius times |v|, infinite where the constant is unknown.
        """
        norm = _batch.norm(v, lead=v.ndim - x.ndim + 1)
        return _scaled(self.curvature(y).hessian_lipschitz.per_sample(x), radius * norm)

    def cross_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the 2-norm over theta of the change of d/dtheta <grad h(x), v> while x moves by at most radius."""
        return _scaled(self.curvature(y).cross_lipschitz.per_sample(x), radius * _batch.norm(v))

    def column_variation(self, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the spectral norm of the change of d(grad h)/d(theta) while x moves by at most radius."""
        return _scaled(self.curvature(y).cross_lipschitz.per_sample(x), radius)

    def cross_norm(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Bound (B,) on the spectral norm of d(grad h)/d(theta) at x, or None where none is declared.

        Asked for only where there are too many parameters to compute the norm from ``cross_columns``.
        """
        return None


def _scaled(constant: Tensor, factor: Tensor) -> Tensor:
    return torch.where(factor > 0, constant * factor, torch.zeros_like(factor))


def derivative_columns(gradient: Apply, x: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Columns d(gradient(x))/d(theta_p), shape (P, B, ...), of a gradient that is differentiable in the parameters."""
    with torch.enable_grad():
        dummy = torch.zeros_like(x).requires_grad_(True)
        directional = (gradient(x.detach()) * dummy).sum()
        rows = torch.autograd.grad(directional, list(parameters), create_graph=True, materialize_grads=True)
        entries = torch.cat([r.reshape(-1) for r in rows])
        columns = [torch.autograd.grad(entry, dummy, retain_graph=True, materialize_grads=True)[0] for entry in entries]
    return torch.stack(columns).detach()
