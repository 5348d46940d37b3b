"""Learned energies as deepinv reconstruction models, learned regularizers as deepinv priors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from deepinv.models.base import Reconstructor
from deepinv.optim import Prior
from torch import Tensor

from bilearn.hypergradient import argmin_layer
from bilearn.interop.operators import as_operator
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.regularizers import Regularizer
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy


class VariationalReconstructor(Reconstructor):
    """A ``deepinv.models.Reconstructor``: (y, physics) -> argmin_x D(A x, y) + R(x).

    With grad mode on, the output is differentiable in the energy's parameters (implicit differentiation), so that it can
    be trained by ``deepinv.Trainer``; otherwise the certificate of the last call is kept in ``solution``.

    Args:
        energy: the learned energy.
        solver: lower-level method; chosen from the energy if None.
        tolerance: accuracy of a reconstruction; that of :func:`bilearn.lower.minimize` if None.
        throw: raise if the accuracy is not reached.
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
        self.solution: Any = None

    def forward(self, y: Tensor, physics: Any = None, **_: Any) -> Tensor:
        """Reconstruct.

        Args:
            y: (B, ...) data.
            physics: forward operator; the one the energy was learned with if None.
        """
        energy = self.energy if physics is None else with_physics(self.energy, physics)
        if torch.is_grad_enabled() and any(p.requires_grad for p in energy.parameters()):
            return argmin_layer(energy, y, solver=self.solver, tolerance=self.tolerance, throw=self.throw)
        self.solution = minimize(energy, y, self.solver, tolerance=self.tolerance, throw=self.throw)
        return self.solution.x


def with_physics(energy: VariationalEnergy, physics: Any) -> VariationalEnergy:
    """The same fidelity and regularizer (shared, not copied) with another forward operator."""
    other = copy.copy(energy)
    other._modules = dict(energy._modules)
    other.operator = as_operator(physics)
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
