"""What a regularizer R(x) is, and sums of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn._spectral import Basis
from bilearn.curvature import Curvature
from bilearn.energy import Advance, Hessian, derivative_columns

#: Learned numbers up to which the cross derivative of a regularizer is computed column by column.
_FEW_COLUMNS = 16


class TermHessian(Hessian):
    """Second derivative of one term, with the structure that direct solvers and preconditioners can use."""

    @abstractmethod
    def select(self, index: Tensor) -> TermHessian:
        """The Hessian of the samples ``index``."""

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += H v, in place; returns out."""
        return out.add_(self(v))

    def diagonal(self) -> Tensor | None:
        """Diagonal of H, shape of x, or None."""
        return None

    def off_diagonal(self) -> Tensor | None:
        """(B, ..., n-1) coupling of neighbors along the last axis where H is tridiagonal there, else None."""
        return None

    def symbol(self, basis: Basis, like: Tensor) -> Symbol | None:
        """Eigenvalues of H in ``basis``, or a nonnegative approximation of them, or None."""
        return None

    def averaged(self, like: Tensor) -> tuple[Basis, Tensor] | None:
        """A basis and the nonnegative eigenvalues in it of H with its coefficients averaged over the image, or None.

        Offered where dividing by them between square roots of the diagonal is a better preconditioner than the diagonal.
        """
        return None

    def cast(self, dtype: torch.dtype) -> TermHessian | None:
        """The same map for vectors of another precision, or None."""
        return None

    @property
    def decoupled(self) -> bool:
        """Whether H is diagonal."""
        return False


@dataclass(frozen=True)
class Symbol:
    """Eigenvalues of a Hessian in a basis.

    Attributes:
        values: broadcast against transformed images, one leading axis per sample or none.
        exact: whether the basis diagonalizes the Hessian and these are its eigenvalues.
    """

    values: Tensor
    exact: bool


class Regularizer(nn.Module):
    """R(x), one number per sample. An author must write ``forward``; closed forms override the rest.

    Shapes: x (B, C, H, W), or (B, C, n) or (B, n) for signals.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x) -> (B,)")

    def grad(self, x: Tensor) -> Tensor:
        """Gradient. Where grad mode is on, the result is differentiable in x and the parameters."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if create_graph and x.requires_grad else x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(
                self(point).sum(), point, create_graph=create_graph, materialize_grads=True
            )
        return gradient

    def add_grad(self, out: Tensor, x: Tensor) -> Tensor:
        """out + grad R(x); may reuse the memory of ``out`` where grad mode is off."""
        return out + self.grad(x)

    def add_value_and_grad(self, out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """R(x) (B,) and out + grad R(x); may reuse the memory of ``out`` where grad mode is off."""
        return self(x), self.add_grad(out, x)

    def directional(self, x: Tensor, v: Tensor) -> Tensor:
        """sum_i <grad R(x_i), v_i>, a scalar that is differentiable in the parameters in grad mode."""
        return (self.grad(x) * v).sum()

    def samples_at_once(self, x: Tensor) -> int:
        """How many of the samples of x to differentiate at once: all, unless temporaries would be large."""
        return max(1, _batch.size(x))

    def hessian(self, x: Tensor) -> TermHessian:
        """Second derivative at x."""
        return AutogradTermHessian(self, x)

    def newton_model(self, x: Tensor, memory: Any) -> tuple[TermHessian, Advance]:
        """See :meth:`bilearn.energy.Energy.newton_model`."""
        return self.hessian(x), lambda direction: None

    def curvature(self, like: Tensor) -> Curvature:
        """Constants valid for all x shaped like ``like``; unknown unless declared."""
        return Curvature()

    def hessian_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound on |(H(x') - H(x)) v| over |x' - x| <= radius (B,); v (B, ...) or (K, B, ...)."""
        moved = radius * _batch.norm(v, lead=v.ndim - x.ndim + 1)
        return torch.where(moved > 0, self.curvature(x).hessian_lipschitz.per_sample(x) * moved, 0 * radius)

    def cross_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the change of d/dtheta <grad R(x), v> over |x' - x| <= radius (2-norm over theta)."""
        moved = radius * _batch.norm(v)
        return torch.where(moved > 0, self.curvature(x).cross_lipschitz.per_sample(x) * moved, 0 * radius)

    def column_variation(self, x: Tensor, radius: Tensor) -> Tensor:
        """Bound (B,) on the spectral norm of the change of d(grad R)/dtheta over |x' - x| <= radius."""
        constant = self.curvature(x).cross_lipschitz.per_sample(x)
        return torch.where(radius > 0, constant * radius, torch.zeros_like(radius))

    def cross_norm(self, x: Tensor) -> Tensor | None:
        """Bound (B,) on the spectral norm of d(grad R)/dtheta at x: the Frobenius norm for few parameters, else None."""
        learned = [p for p in self.parameters() if p.requires_grad]
        if not learned:
            return torch.zeros_like(_batch.norm(x))
        if sum(p.numel() for p in learned) > _FEW_COLUMNS:
            return None
        columns = derivative_columns(self.grad, x, learned)
        return torch.linalg.vector_norm(_batch.norm(columns, lead=2), dim=0)

    def rounding(self, x: Tensor) -> Tensor:
        """Bound (B,) on the rounding error of ``grad``; here 8 unit roundoffs of L |x|, or of |x| where L is unknown."""
        smoothness = self.curvature(x).smoothness
        scale = smoothness.per_sample(x) if smoothness.known else torch.ones_like(_batch.norm(x))
        return 8 * torch.finfo(x.dtype).eps * scale * _batch.norm(x)


class AutogradTermHessian(TermHessian):
    """Hessian products by differentiating ``regularizer.grad`` once more."""

    def __init__(self, regularizer: Regularizer, x: Tensor) -> None:
        self._regularizer = regularizer
        with torch.enable_grad():
            self._x = x.detach().requires_grad_(True)
            self._gradient = regularizer.grad(self._x)

    def __call__(self, v: Tensor) -> Tensor:
        if v.ndim > self._x.ndim:
            return torch.stack([self(part) for part in v])
        (product,) = torch.autograd.grad(self._gradient, self._x, v, retain_graph=True, materialize_grads=True)
        return product

    def select(self, index: Tensor) -> TermHessian:
        return AutogradTermHessian(self._regularizer, _batch.select(self._x.detach(), index))


def _sum(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [p for p in parts if p is not None]
    return reduce(torch.add, present) if len(present) == len(parts) else None


class SumHessian(TermHessian):
    """Hessian of a sum of terms."""

    def __init__(self, parts: Sequence[TermHessian]) -> None:
        self._parts = list(parts)

    def __call__(self, v: Tensor) -> Tensor:
        return self.add_to(torch.zeros_like(v), v)

    def add_to(self, out: Tensor, v: Tensor) -> Tensor:
        """out += H v."""
        return reduce(lambda acc, part: part.add_to(acc, v), self._parts, out)

    def select(self, index: Tensor) -> TermHessian:
        return SumHessian([p.select(index) for p in self._parts])

    def diagonal(self) -> Tensor | None:
        """Sum of the diagonals where all are known."""
        return _sum([p.diagonal() for p in self._parts])

    def off_diagonal(self) -> Tensor | None:
        """Sum of the couplings where all terms are tridiagonal."""
        return _sum([p.off_diagonal() for p in self._parts])

    def symbol(self, basis: Basis, like: Tensor) -> Symbol | None:
        """Sum of the symbols where all are known."""
        symbols = [p.symbol(basis, like) for p in self._parts]
        values = _sum([None if s is None else s.values for s in symbols])
        return None if values is None else Symbol(values, all(s is not None and s.exact for s in symbols))

    def cast(self, dtype: torch.dtype) -> TermHessian | None:
        """Where every part can be cast."""
        parts = [p.cast(dtype) for p in self._parts]
        known = [p for p in parts if p is not None]
        return SumHessian(known) if len(known) == len(parts) else None

    @property
    def decoupled(self) -> bool:
        """Whether every part is diagonal."""
        return all(p.decoupled for p in self._parts)


class Sum(Regularizer):
    """R_1(x) + R_2(x) + ..."""

    def __init__(self, *terms: Regularizer) -> None:
        super().__init__()
        if not terms:
            raise ValueError("Sum: found no terms, expected at least one regularizer")
        self.terms = nn.ModuleList(terms)

    def _each(self) -> list[Regularizer]:
        return [t for t in self.terms if isinstance(t, Regularizer)]

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,)."""
        return reduce(torch.add, [t(x) for t in self._each()])

    def grad(self, x: Tensor) -> Tensor:
        """Sum of the gradients."""
        return reduce(torch.add, [t.grad(x) for t in self._each()])

    def add_grad(self, out: Tensor, x: Tensor) -> Tensor:
        """Adds every term in turn."""
        return reduce(lambda acc, t: t.add_grad(acc, x), self._each(), out)

    def add_value_and_grad(self, out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Adds every term in turn."""
        values = []
        for term in self._each():
            value, out = term.add_value_and_grad(out, x)
            values.append(value)
        return reduce(torch.add, values), out

    def directional(self, x: Tensor, v: Tensor) -> Tensor:
        """Sum over the terms."""
        return reduce(torch.add, [t.directional(x, v) for t in self._each()])

    def samples_at_once(self, x: Tensor) -> int:
        """The smallest number of any term."""
        return min(t.samples_at_once(x) for t in self._each())

    def hessian(self, x: Tensor) -> TermHessian:
        """Sum of the Hessians."""
        return SumHessian([t.hessian(x) for t in self._each()])

    def newton_model(self, x: Tensor, memory: Any) -> tuple[TermHessian, Advance]:
        """Sum of the models; each term has its own memory."""
        terms = self._each()
        memories = [None] * len(terms) if memory is None else memory
        models = [t.newton_model(x, kept) for t, kept in zip(terms, memories, strict=True)]
        return (
            SumHessian([hessian for hessian, _ in models]),
            lambda direction: tuple(advance(direction) for _, advance in models),
        )

    def curvature(self, like: Tensor) -> Curvature:
        """Sum of the constants (for mu: the sum of lower bounds is a lower bound)."""
        return reduce(lambda a, b: a + b, [t.curvature(like) for t in self._each()])

    def hessian_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Sum of the bounds."""
        return reduce(torch.add, [t.hessian_variation(x, v, radius) for t in self._each()])

    def cross_variation(self, x: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Sum of the bounds, which dominates the 2-norm over all parameters."""
        return reduce(torch.add, [t.cross_variation(x, v, radius) for t in self._each()])

    def column_variation(self, x: Tensor, radius: Tensor) -> Tensor:
        """Sum of the bounds, which dominates the spectral norm over all parameters."""
        return reduce(torch.add, [t.column_variation(x, radius) for t in self._each()])

    def rounding(self, x: Tensor) -> Tensor:
        """Sum of the bounds."""
        return reduce(torch.add, [t.rounding(x) for t in self._each()])
