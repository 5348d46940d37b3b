"""Learned energies as deepinv reconstruction models, learned regularizers as deepinv priors."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from deepinv.models.base import Reconstructor
from deepinv.optim import Prior
from torch import Tensor

from bilearn.hypergradient import argmin_layer
from bilearn.interop.operators import as_operator, tensors_of
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.operators import ForwardOperator
from bilearn.regularizers import Regularizer
from bilearn.solution import Solution, Tolerance
from bilearn.variational import VariationalEnergy


class VariationalReconstructor(Reconstructor):
    """A ``deepinv.models.Reconstructor``: (y, physics) -> argmin_x D(A x, y) + R(x).

    With grad mode on, the output is differentiable in the energy's parameters (implicit differentiation), so that it can
    be trained by ``deepinv.Trainer``; otherwise the certificate of the last call is kept in ``solution``.

    What ``as_operator`` makes of a physics is kept until another object, or other tensors in the same object, are given.

    Args:
        energy: the learned energy.
        solver: lower-level method; chosen from the energy if None.
        tolerance: accuracy of a reconstruction; that of :func:`bilearn.lower.minimize` if None.
        throw: raise if the accuracy is not reached; without gradients, the floor of the dtype counts as reached.
    """

    def __init__(
        self,
        energy: VariationalEnergy,
        solver: LowerSolver | None = None,
        tolerance: Tolerance | None = None,
        throw: bool = True,
    ) -> None:
        super().__init__()
        self.energy, self.solver, self.tolerance, self.throw = energy, solver, tolerance, throw
        self.solution: Solution | None = None
        self._converted: _Converted | None = None

    def forward(self, y: Tensor, physics: Any = None, **_: Any) -> Tensor:
        """Reconstruct.

        Args:
            y: (B, ...) data.
            physics: forward operator; the one the energy was learned with if None.
        """
        energy = self.energy if physics is None else with_operator(self.energy, self._operator(physics, y))
        if torch.is_grad_enabled() and any(p.requires_grad for p in energy.parameters()):
            return argmin_layer(energy, y, solver=self.solver, tolerance=self.tolerance, throw=self.throw)
        self.solution = minimize(energy, y, self.solver, tolerance=self.tolerance, throw=False)
        if self.throw and not self.solution.settled:
            self.solution.raise_for_status()
        return self.solution.x

    def _operator(self, physics: Any, y: Tensor) -> ForwardOperator:
        tensors = tensors_of(physics)
        kept = self._converted
        if kept is None or not kept.holds(physics, tensors, y.dtype):
            with torch.no_grad():
                image_shape = tuple(physics.A_adjoint(y).shape[1:])
            operator = as_operator(physics, image_shape, dtype=y.dtype)
            kept = _Converted(physics, [t.detach().clone() for t in tensors], y.dtype, operator)
            self._converted = kept
        return kept.operator


@dataclass(frozen=True)
class _Converted:
    """A physics, copies of its tensors when it was converted, and what it became."""

    physics: Any
    tensors: list[Tensor]
    dtype: torch.dtype
    operator: ForwardOperator

    def holds(self, physics: Any, tensors: list[Tensor], dtype: torch.dtype) -> bool:
        """Whether converting again would give the same operator."""
        return (
            physics is self.physics
            and dtype == self.dtype
            and len(tensors) == len(self.tensors)
            and all(a.device == b.device and torch.equal(a, b) for a, b in zip(tensors, self.tensors, strict=True))
        )


def with_operator(energy: VariationalEnergy, operator: ForwardOperator) -> VariationalEnergy:
    """The same fidelity and regularizer (shared, not copied) with another forward operator."""
    other = copy.copy(energy)
    other._modules = dict(energy._modules)
    other.operator = operator
    return other


class LearnedPrior(Prior):
    """A learned regularizer as a ``deepinv.optim.Prior`` with explicit value and closed-form gradient.

    deepinv minimizes f + lambda * g: pass lambda_reg=1 to use the learned weight.

    Args:
        regularizer: the regularizer.
    """

    def __init__(self, regularizer: Regularizer) -> None:
        super().__init__()
        self.explicit_prior = True
        self.regularizer = regularizer

    def fn(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """R(x), shape (B,)."""
        return self.regularizer(x)

    def grad(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Gradient of R."""
        return self.regularizer.grad(x)
