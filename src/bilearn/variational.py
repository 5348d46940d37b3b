"""Variational energies h(x) = D(A x, y) + R(x): composition of a fidelity, a forward operator and a regularizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn._dense import LARGEST, dense_solver
from bilearn._rotated import rotate
from bilearn._spectral import Cosine, Fourier
from bilearn._tridiagonal import solve_tridiagonal
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Advance, Apply, Energy, Hessian, Rotated
from bilearn.fidelities import Fidelity
from bilearn.operators import ForwardOperator, Identity
from bilearn.regularizers import Regularizer, TermHessian


class VariationalEnergy(Energy):
    """h(x; theta, y) = D(A x, y) + R(x).

    Args:
        fidelity: D, separable in the data.
        regularizer: R.
        operator: A; None means identity (denoising). ``bilearn.interop.as_operator`` makes one from any
            ``deepinv.physics.LinearPhysics`` or any object with ``A`` and ``A_adjoint``.
    """

    def __init__(self, fidelity: Fidelity, regularizer: Regularizer, operator: ForwardOperator | None = None) -> None:
        super().__init__()
        self.fidelity = fidelity
        self.regularizer = regularizer
        self.operator = Identity() if operator is None else operator

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """D(A x, y) + R(x), shape (B,)."""
        return self.fidelity(self.operator.A(x), y) + self.regularizer(x)

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        """A' D'(A x, y) + R'(x)."""
        data = self.operator.A_adjoint(self.fidelity.grad(self.operator.A(x), y))
        return self.regularizer.add_grad(data, x)

    def value_and_grad(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As the two methods, with A x and what the regularizer shares computed once."""
        z = self.operator.A(x)
        value, gradient = self.regularizer.add_value_and_grad(self.operator.A_adjoint(self.fidelity.grad(z, y)), x)
        return self.fidelity(z, y) + value, gradient

    def directional(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """<D'(A x, y), A v> + <R'(x), v>: needs no adjoint of A, nor of the filters of a regularizer."""
        slope = self.fidelity.grad(self.operator.A(x), y)
        return _batch.dot(slope, self.operator.A(v)).sum() + self.regularizer.directional(x, v)

    def cross_vjp(self, x: Tensor, y: Tensor, v: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
        """As many samples at a time as the regularizer wishes."""
        count = self.regularizer.samples_at_once(x)
        if _batch.size(x) <= count:
            return super().cross_vjp(x, y, v, parameters)
        parts = [
            super(VariationalEnergy, self).cross_vjp(*rows, parameters)
            for rows in zip(x.split(count), y.split(count), v.split(count), strict=True)
        ]
        return tuple(reduce(torch.add, part) for part in zip(*parts, strict=True))

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        """A' diag(D'') A + R''(x)."""
        return self._with(self.regularizer.hessian(x), x, y)

    def newton_model(self, x: Tensor, y: Tensor, memory: Any) -> tuple[Hessian, Advance]:
        """The Hessian of D with the Newton model of R."""
        prior, advance = self.regularizer.newton_model(x, memory)
        return self._with(prior, x, y), advance

    def _with(self, prior: TermHessian, x: Tensor, y: Tensor) -> VariationalHessian:
        with torch.no_grad():
            weight = self.fidelity.second(self.operator.A(x), y)
        return VariationalHessian(self.operator, weight, prior, x)

    def curvature(self, y: Tensor) -> Curvature:
        """Constants of D scaled by those of A, plus the constants of R.

        mu = max(0, mu_D) lambda_min(A'A) + mu_R (a negative mu_D scales with |A|^2), L = L_D |A|^2 + L_R,
        Hessian: L_H,D |A|^3 + L_H,R, cross: L_B,D |A|^2 + L_B,R.
        """
        data, norm = self.fidelity.curvature(y), self.operator.norm_squared()
        prior = self.regularizer.curvature(self.operator.start(y))
        convex = bool(torch.as_tensor(data.strong_convexity.value >= 0).all())
        least = self.operator.smallest_squared() if convex else norm
        root = Constant(norm.value**0.5, norm.source)
        return Curvature(
            data.strong_convexity.times(least) + prior.strong_convexity,
            data.smoothness.times(norm) + prior.smoothness,
            _vanishing(data.hessian_lipschitz, norm.times(root)) + prior.hessian_lipschitz,
            _vanishing(data.cross_lipschitz, norm) + prior.cross_lipschitz,
        )

    def start(self, y: Tensor) -> Tensor:
        """An image made from the data by the operator."""
        return self.operator.start(y)

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        """Rounding of D', of the two operator applications and of R'."""
        with torch.no_grad():
            z = self.operator.A(x)
            norm = self.operator.norm_squared()
            root = math.sqrt(float(norm.value)) if norm.known else 1.0
            unit = torch.finfo(x.dtype).eps
            amplification = self.operator.rounding_factor * unit
            smoothness = self.fidelity.curvature(y).smoothness.per_sample(x)
            through = (
                amplification * root * smoothness * (2 * root * _batch.norm(x) + _batch.norm(y))
                if amplification
                else 0.0
            )
            return root * self.fidelity.rounding(z, y) + through + self.regularizer.rounding(x)

    def hessian_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """|A| times the bound of D along A v within |A| radius, plus the bound of R."""
        with torch.no_grad():
            root = self._norm(x)
            data = self.fidelity.second_variation(self.operator.A(x), y, self.operator.A(v), root * radius)
            return root * data + self.regularizer.hessian_variation(x, v, radius)

    def cross_variation(self, x: Tensor, y: Tensor, v: Tensor, radius: Tensor) -> Tensor:
        """Bound of D along A v within |A| radius, plus the bound of R."""
        with torch.no_grad():
            data = self.fidelity.cross_variation(self.operator.A(x), y, self.operator.A(v), self._norm(x) * radius)
            return data + self.regularizer.cross_variation(x, v, radius)

    def column_variation(self, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """|A| times the bound of D within |A| radius, plus the bound of R."""
        with torch.no_grad():
            root = self._norm(x)
            data = self.fidelity.column_variation(self.operator.A(x), y, root * radius)
            return root * data + self.regularizer.column_variation(x, radius)

    def cross_norm(self, x: Tensor, y: Tensor) -> Tensor | None:
        """|A| times the bound of D, plus the bound of R."""
        with torch.no_grad():
            data = self.fidelity.cross_norm(self.operator.A(x), y)
        prior = None if data is None else self.regularizer.cross_norm(x)
        return None if data is None or prior is None else self._norm(x) * data + prior

    def _norm(self, x: Tensor) -> Tensor:
        return self.operator.norm_squared().per_sample(x).sqrt()


def _vanishing(constant: Constant, factor: Constant) -> Constant:
    """Product that is a declared zero where the constant is zero, whatever is known of the factor."""
    if constant.declared and bool((torch.as_tensor(constant.value) == 0).all()):
        return constant
    return constant.times(factor)


class VariationalHessian(Hessian):
    """A' diag(weight) A + R''.

    Args:
        operator: A.
        weight: (B, ...) second derivative of the fidelity at A x.
        prior: Hessian of the regularizer.
        like: (B, ...) any tensor shaped like x.
    """

    def __init__(self, operator: ForwardOperator, weight: Tensor, prior: TermHessian, like: Tensor) -> None:
        self._operator, self._weight, self._prior, self._like = operator, weight, prior, like
        self._identity = isinstance(operator, Identity)

    def __call__(self, v: Tensor) -> Tensor:
        if self._identity:
            out = self._weight * v
        else:
            out = self._operator.normal(v, self._weight)
        return self._prior.add_to(out, v)

    def select(self, index: Tensor) -> Hessian:
        # a weight that all samples and channels share stays one, which tells operators that they diagonalize it
        shared = self._weight.stride(0) == 0 and self._weight.shape[0] > 0
        rest = self._weight.shape[1:]
        weight = self._weight[:1].expand(len(index), *rest) if shared else _batch.select(self._weight, index)
        return VariationalHessian(self._operator, weight, self._prior.select(index), _batch.select(self._like, index))

    def direct(self) -> Apply | None:
        """Division where everything is diagonal, a tridiagonal solve for signals, division in a cosine or Fourier basis.

        Small samples in a basis that diagonalizes the data term only are factorized.
        """
        return self._direct

    @cached_property
    def _direct(self) -> Apply | None:
        data = self._operator.normal_diagonal(self._weight)
        if data is not None:
            off = self._prior.off_diagonal()
            diagonal = self._prior.diagonal() if self._prior.decoupled or off is not None else None
            if diagonal is not None and self._prior.decoupled:
                inverse = 1 / (data + diagonal)
                return lambda v: inverse * v
            if diagonal is not None and off is not None:
                return self._tridiagonal(data + diagonal, off)
        inverse = self._own_spectrum(self._weight, exact=True)
        if inverse is None and _uniform(self._weight):
            inverse = self._spectral(self._weight, exact=True)
        if inverse is None and _batch.samples(self._like) <= LARGEST:
            small = self._operator.normal_spectrum(self._weight, self._like) is not None
            inverse = dense_solver(lambda index, v: self.select(index)(v), self._like) if small else None
        return inverse

    def preconditioner(self) -> Apply | None:
        """Inverse diagonal where A'A is diagonal, else the inverse of a symbol in a basis that diagonalizes A' diag(weight) A
        or A'A. With :meth:`TermHessian.averaged`, the inverse of that symbol between square roots of the diagonal.

        Negative second derivatives of a fidelity that is not convex count as zero here, so that the result is positive.
        """
        weight = self._weight.clamp(min=0.0)
        data, diagonal = self._operator.normal_diagonal(weight), self._prior.diagonal()
        if data is None or diagonal is None:
            own = self._own_spectrum(weight, exact=False)
            return self._spectral(weight, exact=False) if own is None else own
        averaged = self._prior.averaged(self._like)
        if averaged is None:
            inverse = 1 / (data + diagonal)
            return lambda v: inverse * v
        basis, values = averaged
        total = (data + diagonal).expand_as(self._like)
        root = torch.sqrt(_batch.expand(_batch.total(total) / _batch.samples(total), total) / total)
        mean = _batch.expand(_batch.total(data.expand_as(total)) / _batch.samples(total), total)
        multiplier = 1 / (mean + values)
        return lambda v: root * basis.multiply(root * v, multiplier)

    def rotated(self, single: bool) -> Rotated | None:
        """In the basis in which the operator diagonalizes A' diag(weight) A exactly."""
        data = self._operator.normal_spectrum(self._weight, self._like)
        transform = None if data is None or not data.exact else data.basis.transform()
        if data is None or transform is None:
            return None
        prior = self._prior.symbol(data.basis, self._like)
        if prior is None:
            return None
        inverse = 1 / (data.values.clamp(min=0.0) + prior.values)
        return rotate(transform, data.values, inverse, self._prior, single)

    def _tridiagonal(self, diagonal: Tensor, off: Tensor) -> Apply:
        shape = self._like.shape
        n = shape[-1]
        main = diagonal.expand(shape).reshape(-1, n)
        side = off.expand(*shape[:-1], n - 1).reshape(-1, n - 1)

        def solve(v: Tensor) -> Tensor:
            flat = v.reshape(-1, n) if v.ndim == len(shape) else v.reshape(v.shape[0], -1, n)
            return solve_tridiagonal(main, side, flat).reshape(v.shape)

        return solve

    def _own_spectrum(self, weight: Tensor, exact: bool) -> Apply | None:
        """Division in the basis in which the operator diagonalizes its weighted normal matrix."""
        data = self._operator.normal_spectrum(weight, self._like)
        prior = None if data is None else self._prior.symbol(data.basis, self._like)
        if data is None or prior is None or (exact and not (data.exact and prior.exact)):
            return None
        return partial(data.basis.multiply, multiplier=1 / (data.values + prior.values))

    def _spectral(self, weight: Tensor, exact: bool) -> Apply | None:
        axes = max(self._like.ndim - 2, 1)
        for basis in (Cosine(axes), Fourier(axes)):
            data, prior = self._operator.normal_symbol(basis, self._like), self._prior.symbol(basis, self._like)
            if data is not None and prior is not None and (prior.exact or not exact):
                mean = _batch.total(weight) / _batch.samples(weight)
                inverse = 1 / (_batch.expand(mean, self._like) * data + prior.values)
                return partial(basis.multiply, multiplier=inverse)
        return None


def _uniform(weight: Tensor) -> bool:
    """Whether all entries are one number, by construction (an expanded scalar)."""
    return all(stride == 0 for stride in weight.stride())
